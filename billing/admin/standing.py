"""Who does not stand good, and whose suspension waits for a person."""

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.admin.reading import ReadingAdmin
from accounts.models import Organization, User
from billing.forms.finance import SuspensionForm
from billing.models import Standing
from billing.selectors.standing import standing_rows
from billing.services.standing import APPROVE, UnableToSuspend, approve_suspension
from portal.lib.tenancy import as_platform

LIST = "admin:billing_standing_changelist"


@admin.register(Standing)
class StandingAdmin(ReadingAdmin):
    """One page: organizations with overdue bills, and a form that approves a suspension."""

    def get_urls(self) -> list[URLPattern]:
        return [path("", self.admin_site.admin_view(self.standings), name=LIST.removeprefix("admin:"))]

    def standings(self, request: HttpRequest) -> HttpResponse:
        """List who does not stand good; POST suspends one that waits for a person."""
        self.check_reading(request)
        may_approve = request.user.has_perm(APPROVE)
        form = SuspensionForm(request.POST or None)
        if request.method == "POST":
            by = self.check_changing(request, is_allowed=may_approve)
            if form.is_valid() and _suspended(form, by):
                messages.success(request, _("Suspended. It is in the organization's audit log."))
                return redirect(LIST)
        with as_platform():
            rows = standing_rows(timezone.now())
        context = {"title": _("Standings"), "rows": rows, "form": form if may_approve else None}
        return self.answer(request, "admin/standings.html", context)


def _suspended(form: SuspensionForm, by: User) -> bool:
    """Suspend the organization; False, with the form saying why, when that is refused."""
    with as_platform():
        organization = Organization.objects.filter(slug=form.cleaned_data["organization"]).first()
        if organization is None:
            form.add_error("organization", _("There is no organization with this address."))
            return False
        try:
            approve_suspension(organization=organization, by=by, now=timezone.now())
        except UnableToSuspend as error:
            form.add_error(None, str(error))
            return False
    return True
