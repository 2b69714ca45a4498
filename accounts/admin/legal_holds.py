"""The page of staff that sets and clears legal holds."""

from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.admin.reading import ReadingAdmin
from accounts.forms import LegalHoldForm
from accounts.models import Organization, User
from accounts.services.legal_holds import PERMISSION, UnableToChangeHold, clear_legal_hold, set_legal_hold
from portal.lib.tenancy import as_platform

ADDRESS = "admin:accounts_organization_changelist"


@admin.register(Organization)
class LegalHoldAdmin(ReadingAdmin):
    """One page: who is held, and a form that sets and clears a hold. Nothing else of organizations is changed here."""

    def get_urls(self) -> list[URLPattern]:
        return [path("", self.admin_site.admin_view(self.holds), name=ADDRESS.removeprefix("admin:"))]

    def has_view_permission(self, request: HttpRequest, obj: Organization | None = None) -> bool:
        return bool(request.user.has_perm(PERMISSION))

    def holds(self, request: HttpRequest) -> HttpResponse:
        """Show who is held; set or clear a hold with a reason, by who signed in lately."""
        self.check_reading(request)
        form = LegalHoldForm(request.POST or None)
        if request.method == "POST":
            by = self.check_changing(request, is_allowed=True)
            if form.is_valid():
                try:
                    with as_platform():
                        _change(form, by)
                except UnableToChangeHold as error:
                    form.add_error(None, str(error))
                else:
                    messages.success(request, _("Done. It is in the organization's audit log."))
                    return redirect(ADDRESS)
        with as_platform():
            held = list(Organization.objects.filter(legal_hold=True).order_by("name", "pk"))
        return self.answer(request, "admin/legal_holds.html", {"title": _("Legal holds"), "form": form, "held": held})


def _change(form: LegalHoldForm, by: User) -> None:
    organization = Organization.objects.filter(slug=form.cleaned_data["organization"]).first()
    if organization is None:
        raise UnableToChangeHold(_("There is no organization with this address."))
    change = set_legal_hold if form.cleaned_data["action"] == "set" else clear_legal_hold
    change(organization=organization, reason=form.cleaned_data["reason"], by=by, now=timezone.now())
