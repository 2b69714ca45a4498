"""Pages of staff: payments, to find and to read."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext as _

from accounts.admin.reading import ReadingAdmin
from billing.forms.finance import StaffSearchForm
from billing.models import Payment
from billing.selectors.staff_invoices import payment_page_of
from portal.lib.tenancy import as_platform


@admin.register(Payment)
class PaymentAdmin(ReadingAdmin):
    """Payments of all organizations, newest first."""

    def get_urls(self) -> list[URLPattern]:
        return [path("", self.admin_site.admin_view(self.payments), name="billing_payment_changelist")]

    def payments(self, request: HttpRequest) -> HttpResponse:
        self.check_reading(request)
        form = StaffSearchForm(request.GET, states=list(Payment.State.choices))
        page = None
        if form.is_valid():
            with as_platform():
                page = payment_page_of(form.search())
        context = {"title": _("Payments"), "form": form, "page": page, "more": more_of(request, page)}
        answer = self.page(request, "admin/payments.html", context)
        answer.status_code = 200 if page else 422
        return answer


def more_of(request: HttpRequest, page: object) -> str:
    """Return the query of the page behind this one, with everything that was searched for; empty on the last."""
    before = getattr(page, "before", None)
    if before is None:
        return ""
    query = request.GET.copy()
    query["before"] = str(before)
    return query.urlencode()
