"""Pages of staff: what the comparisons of the night found. It must be empty; what is not, a person explains."""

import time

from allauth.core.exceptions import ReauthenticationRequired
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.access import is_sign_in_recent
from accounts.models import User
from billing.admin.reading import ReadingAdmin
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
        if request.method == "POST" and not may_explain:
            raise PermissionDenied
        if request.method == "POST" and not is_sign_in_recent(request, time.time()):
            raise ReauthenticationRequired
        if form.is_valid() and isinstance(request.user, User) and _explained(form, request.user):
            messages.success(request, _("Done. It is in the log of the admin."))
            return redirect(LIST)
        with as_platform():
            page = agreement_page()
        context = {"title": _("Nightly comparisons"), "page": page, "form": form if may_explain else None}
        answer = self.page(request, "admin/differences.html", context)
        answer.status_code = 422 if form.is_bound else 200
        return answer


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
