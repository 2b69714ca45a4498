"""Pages of staff. They work as the platform role, and what they change is in the organization's own log."""

import time
from typing import Any

from allauth.core.exceptions import ReauthenticationRequired
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.access import is_sign_in_recent
from accounts.forms import LegalHoldForm
from accounts.models import Organization, User
from accounts.services.legal_holds import PERMISSION, UnableToChangeHold, clear_legal_hold, set_legal_hold
from portal.lib.tenancy import as_platform

ADDRESS = "admin:accounts_organization_changelist"


@admin.register(Organization)
class LegalHoldAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic at run time
    """One page: who is held, and a form that sets and clears a hold. Nothing else of organizations is changed here."""

    def get_urls(self) -> list[URLPattern]:
        return [path("", self.admin_site.admin_view(self.holds), name=ADDRESS.removeprefix("admin:"))]

    def has_view_permission(self, request: HttpRequest, obj: Organization | None = None) -> bool:
        return bool(request.user.has_perm(PERMISSION))

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def holds(self, request: HttpRequest) -> HttpResponse:
        """Show who is held; set or clear a hold with a reason, by who signed in lately."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        form = LegalHoldForm(request.POST or None)
        if request.method == "POST" and not is_sign_in_recent(request, time.time()):
            raise ReauthenticationRequired
        if form.is_valid() and isinstance(request.user, User):
            try:
                with as_platform():
                    _change(form, request.user)
            except UnableToChangeHold as error:
                form.add_error(None, str(error))
            else:
                messages.success(request, _("Done. It is in the organization's audit log."))
                return redirect(ADDRESS)
        with as_platform():
            held = list(Organization.objects.filter(legal_hold=True).order_by("name", "pk"))
        context = {**self.admin_site.each_context(request), "title": _("Legal holds"), "form": form, "held": held}
        return TemplateResponse(request, "admin/legal_holds.html", context, status=422 if form.is_bound else 200)


def _change(form: LegalHoldForm, by: User) -> None:
    organization = Organization.objects.filter(slug=form.cleaned_data["organization"]).first()
    if organization is None:
        raise UnableToChangeHold(_("There is no organization with this address."))
    change = set_legal_hold if form.cleaned_data["action"] == "set" else clear_legal_hold
    change(organization=organization, reason=form.cleaned_data["reason"], by=by, now=timezone.now())
