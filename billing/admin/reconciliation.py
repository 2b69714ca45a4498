"""Pages of staff: what the comparisons of the night found. It must be empty; what is not, a person explains."""

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.admin.reading import ReadingAdmin
from accounts.models import User
from billing.forms.finance import ExplanationForm
from billing.models import Difference
from billing.selectors.nightly import agreement_page
from billing.services.reconciling import EXPLAIN, UnableToExplain, explain_difference
from portal.lib.tenancy import as_platform

LIST = "admin:billing_difference_changelist"


@admin.register(Difference)
class DifferenceAdmin(ReadingAdmin):
    """Differences that are open, those that were settled, and what every job compared."""

    def get_urls(self) -> list[URLPattern]:
        return [path("", self.admin_site.admin_view(self.differences), name=LIST.removeprefix("admin:"))]

    def differences(self, request: HttpRequest) -> HttpResponse:
        """Show what is open; POST explains one, by who signed in lately."""
        self.check_reading(request)
        form = ExplanationForm(request.POST or None)
        may_explain = request.user.has_perm(EXPLAIN)
        if request.method == "POST":
            by = self.check_changing(request, is_allowed=may_explain)
            if form.is_valid() and _explained(form, by):
                messages.success(request, _("Done. It is in the log of the admin."))
                return redirect(LIST)
        with as_platform():
            page = agreement_page()
        context = {"title": _("Nightly comparisons"), "page": page, "form": form if may_explain else None}
        return self.answer(request, "admin/differences.html", context)


def _explained(form: ExplanationForm, by: User) -> bool:
    """Explain what the form says; False, with the form saying why, when that is refused."""
    given = form.cleaned_data
    try:
        with as_platform():
            explain_difference(
                public_id=given["difference"], explanation=given["explanation"], by=by, now=timezone.now()
            )
    except UnableToExplain as error:
        form.add_error(None, str(error))
        return False
    return True
