"""Pages of staff: credit as a goodwill, which one of finance proposes and another gives."""

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import Organization, User
from billing.admin.reading import ReadingAdmin
from billing.forms.finance import GoodwillForm
from billing.models import Goodwill
from billing.selectors.staff_invoices import find_goodwill, goodwill_rows
from billing.services.goodwill import DECIDE, PROPOSE, decline_goodwill, give_goodwill, propose_goodwill
from portal.lib.errors import DomainError
from portal.lib.tenancy import as_platform

LIST = "admin:billing_goodwill_changelist"


@admin.register(Goodwill)
class GoodwillAdmin(ReadingAdmin):
    """Proposals of all organizations: those that wait for a second person, then the newest."""

    def get_urls(self) -> list[URLPattern]:
        return [path("", self.admin_site.admin_view(self.goodwill), name=LIST.removeprefix("admin:"))]

    def goodwill(self, request: HttpRequest) -> HttpResponse:
        """List proposals; POST makes one, gives or declines one."""
        self.check_reading(request)
        form = GoodwillForm(request.POST if request.POST.get("step") == "propose" else None)
        may_propose, may_decide = request.user.has_perm(PROPOSE), request.user.has_perm(DECIDE)
        if request.method == "POST":
            by = self.check_changing(request, is_allowed=may_propose if form.is_bound else may_decide)
            with as_platform():
                is_done = _proposed(form, by) if form.is_bound else _decided(request, by)
            if is_done:
                messages.success(request, _("Done. It is in the organization's audit log."))
                return redirect(LIST)
        with as_platform():
            rows = goodwill_rows()
        context = {
            "title": _("Goodwill"),
            "rows": rows,
            "form": form if may_propose else None,
            "may_decide": may_decide,
            "me": self.staff(request).public_id,
        }
        return self.answer(request, "admin/goodwill.html", context)


def _proposed(form: GoodwillForm, by: User) -> bool:
    """Propose what the form says; False, with the form saying why, when that is refused."""
    if not form.is_valid():
        return False
    organization = Organization.objects.filter(slug=form.cleaned_data["organization"]).first()
    if organization is None:
        form.add_error("organization", _("There is no organization with this address."))
        return False
    try:
        propose_goodwill(
            organization=organization,
            amount_cents=form.amount_cents(),
            reason=form.cleaned_data["reason"],
            by=by,
            now=timezone.now(),
        )
    except DomainError as error:
        form.add_error(None, str(error))
        return False
    return True


def _decided(request: HttpRequest, by: User) -> bool:
    """Give or decline a proposal; False, with a message, when that is refused. Raises Http404."""
    goodwill = find_goodwill(request.POST.get("goodwill", ""))
    if goodwill is None:
        raise Http404
    decide = {"give": give_goodwill, "decline": decline_goodwill}.get(request.POST.get("step", ""))
    if decide is None:
        return False
    try:
        decide(goodwill=goodwill, by=by, now=timezone.now())
    except DomainError as error:
        messages.error(request, str(error))
        return False
    return True
