"""Pages of staff: revenue and margin by SKU and month, and what SKUs cost ourselves."""

from datetime import UTC, datetime

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.admin.reading import ReadingAdmin
from accounts.models import User
from billing.forms.finance import SkuCostForm
from billing.models import SkuCost
from billing.selectors.staff_revenue import newest_month, revenue_of
from billing.services.costs import ENTER, enter_cost
from portal.lib.errors import DomainError
from portal.lib.money import usd_to_nano
from portal.lib.periods import month_of
from portal.lib.tenancy import as_platform

LIST = "admin:billing_skucost_changelist"


@admin.register(SkuCost)
class SkuCostAdmin(ReadingAdmin):
    """What the invoices of a month come to, SKU by SKU, and a form for a cost."""

    def get_urls(self) -> list[URLPattern]:
        return [path("", self.admin_site.admin_view(self.revenue), name=LIST.removeprefix("admin:"))]

    def revenue(self, request: HttpRequest) -> HttpResponse:
        """Show a month, the newest without one; POST enters a cost, by who signed in lately."""
        self.check_reading(request)
        form = SkuCostForm(request.POST or None)
        may_enter = request.user.has_perm(ENTER)
        if request.method == "POST":
            by = self.check_changing(request, is_allowed=may_enter)
            if form.is_valid() and _entered(form, by):
                messages.success(request, _("Done. It is in the log of the admin."))
                return redirect(LIST)
        with as_platform():
            month = _month_in(request) or newest_month()
            revenue = None if month is None else revenue_of(month_of(month))
        context = {
            "title": _("Revenue and margin"),
            "month": month,
            "revenue": revenue,
            "form": form if may_enter else None,
        }
        return self.answer(request, "admin/revenue.html", context)


def _month_in(request: HttpRequest) -> datetime | None:
    """Return the month of the address, such as 2026-10. Raises Http404 for one that is none."""
    given = request.GET.get("month", "")
    try:
        return datetime.strptime(given, "%Y-%m").replace(tzinfo=UTC) if given else None
    except ValueError as error:
        raise Http404 from error


def _entered(form: SkuCostForm, by: User) -> bool:
    """Enter what the form says; False, with the form saying why, when that is refused."""
    given = form.cleaned_data
    try:
        with as_platform():
            cost_nano = usd_to_nano(given["cost"])
            enter_cost(sku=given["sku"], from_month=given["from_month"], cost_nano=cost_nano, by=by, now=timezone.now())
    except DomainError as error:
        form.add_error(None, str(error))
        return False
    return True
