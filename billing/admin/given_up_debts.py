"""Pages of staff: what lost disputes left owed and nobody will pay, given up by two people."""

from functools import partial

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import Organization, User
from billing.admin.reading import ReadingAdmin, take_step
from billing.forms.finance import GivenUpDebtForm
from billing.models import GivenUpDebt
from billing.selectors.staff_invoices import find_given_up, given_up_rows
from billing.services.given_up_debts import DECIDE, PROPOSE, give_up_debt, keep_debt, propose_giving_up
from portal.lib.errors import DomainError
from portal.lib.tenancy import as_platform

LIST = "admin:billing_givenupdebt_changelist"
STEPS = {"give_up": give_up_debt, "decline": keep_debt}


@admin.register(GivenUpDebt)
class GivenUpDebtAdmin(ReadingAdmin):
    """Proposals of all organizations: those that wait for a second person, then the newest."""

    def get_urls(self) -> list[URLPattern]:
        return [path("", self.admin_site.admin_view(self.debts), name=LIST.removeprefix("admin:"))]

    def debts(self, request: HttpRequest) -> HttpResponse:
        """List proposals; POST makes one, or takes a decision about one."""
        self.check_reading(request)
        form = GivenUpDebtForm(request.POST if request.POST.get("step") == "propose" else None)
        may_propose, may_decide = request.user.has_perm(PROPOSE), request.user.has_perm(DECIDE)
        if request.method == "POST":
            by = self.check_changing(request, is_allowed=may_propose if form.is_bound else may_decide)
            with as_platform():
                if _proposed(form, by) if form.is_bound else _decided(request, by):
                    return redirect(LIST)
        with as_platform():
            rows = given_up_rows()
        context = {
            "title": _("Debts given up"),
            "rows": rows,
            "form": form if may_propose else None,
            "may_decide": may_decide,
            "me": self.staff(request).public_id,
        }
        return self.answer(request, "admin/given_up_debts.html", context)


def _proposed(form: GivenUpDebtForm, by: User) -> bool:
    """Propose what the form says; False, with the form saying why, when that is refused."""
    if not form.is_valid():
        return False
    organization = Organization.objects.filter(slug=form.cleaned_data["organization"]).first()
    if organization is None:
        form.add_error("organization", _("There is no organization with this address."))
        return False
    try:
        propose_giving_up(organization=organization, reason=form.cleaned_data["reason"], by=by, now=timezone.now())
    except DomainError as error:
        form.add_error(None, str(error))
        return False
    return True


def _decided(request: HttpRequest, by: User) -> bool:
    """Give up or keep what was proposed; False, with a message, when that is refused. Raises Http404."""
    debt = find_given_up(request.POST.get("debt", ""))
    if debt is None:
        raise Http404
    step = STEPS.get(request.POST.get("step", ""))
    return take_step(request, step and partial(step, debt=debt, by=by, now=timezone.now()))
