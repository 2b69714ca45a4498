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
from accounts.forms.operator import NewOperatorKeyForm, OperatorKeyForm
from accounts.forms.rate_limits import OrganizationRatesForm
from accounts.models import OperatorKey, OperatorScope, Organization, Overlap, RateLimit, User
from accounts.selectors.operator_keys import operator_key_rows
from accounts.selectors.rate_limits import rate_rows_of_organizations
from accounts.services.legal_holds import PERMISSION, UnableToChangeHold, clear_legal_hold, set_legal_hold
from accounts.services.operator_keys import PERMISSION as OPERATOR_KEYS
from accounts.services.operator_keys import (
    UnableToChangeOperatorKey,
    issue_operator_key,
    revoke_operator_key,
    rotate_operator_key,
)
from accounts.services.rate_limits import PERMISSION as RATE_LIMITS
from accounts.services.rate_limits import UnableToSetRates, set_rates_of_organization
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


@admin.register(OperatorKey)
class OperatorKeyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # as above
    """One page: the keys of the owner's own systems, what was done to them, and forms that issue, rotate and revoke."""

    def get_urls(self) -> list[URLPattern]:
        return [path("", self.admin_site.admin_view(self.keys), name="accounts_operatorkey_changelist")]

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def keys(self, request: HttpRequest) -> HttpResponse:
        """Show the keys; change one by who signed in lately. A new secret is in the answer and nowhere else."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            _check_changing(request, OPERATOR_KEYS)
        action = request.POST.get("action", "")
        issuing = NewOperatorKeyForm(request.POST if action == "issue" else None)
        changing = OperatorKeyForm(request.POST if action in ("rotate", "revoke") else None)
        secret = None
        chosen = next((form for form in (issuing, changing) if form.is_bound), None)
        if chosen is not None and chosen.is_valid() and isinstance(request.user, User):
            try:
                with as_platform():
                    secret = _change_key(chosen, request.user)
            except UnableToChangeOperatorKey as error:
                chosen.add_error(None, str(error))
            else:
                issuing, changing = NewOperatorKeyForm(), OperatorKeyForm()
        with as_platform():
            rows = operator_key_rows(timezone.now())
        context = {**self.admin_site.each_context(request), "title": _("Operator keys"), "rows": rows}
        context |= {"issuing": issuing, "changing": changing, "secret": secret}
        context["may_change"] = request.user.has_perm(OPERATOR_KEYS)
        refused = issuing.is_bound or changing.is_bound
        answer = TemplateResponse(request, "admin/operator_keys.html", context, status=422 if refused else 200)
        answer["Cache-Control"] = "no-store"
        return answer


def _check_changing(request: HttpRequest, permission: str) -> None:
    if not request.user.has_perm(permission):
        raise PermissionDenied
    if not is_sign_in_recent(request, time.time()):
        raise ReauthenticationRequired


def _change_key(form: NewOperatorKeyForm | OperatorKeyForm, by: User) -> str | None:
    """Do what the form says and return the new secret, if there is one."""
    given, now = form.cleaned_data, timezone.now()
    if isinstance(form, NewOperatorKeyForm):
        scopes = [OperatorScope(scope) for scope in given["scopes"]]
        return issue_operator_key(name=given["name"], scopes=scopes, by=by, now=now).secret
    if given["action"] == "rotate":
        overlap = Overlap(given["overlap"])
        return rotate_operator_key(public_id=given["key"], overlap=overlap, by=by, now=now).secret
    revoke_operator_key(public_id=given["key"], by=by, now=now)
    return None


@admin.register(RateLimit)
class RateLimitAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # as above
    """One page: which organizations may call models faster or slower than all, and a form that changes one."""

    def get_urls(self) -> list[URLPattern]:
        return [path("", self.admin_site.admin_view(self.rates), name="accounts_ratelimit_changelist")]

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def rates(self, request: HttpRequest) -> HttpResponse:
        """Show the organizations with rates of their own; change those of one by who signed in lately."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        form = OrganizationRatesForm(request.POST or None)
        if request.method == "POST":
            _check_changing(request, RATE_LIMITS)
        if form.is_valid() and isinstance(request.user, User):
            try:
                with as_platform():
                    _change_rates(form, request.user)
            except UnableToSetRates as error:
                form.add_error(None, str(error))
            else:
                messages.success(request, _("Done. It is in the organization's audit log."))
                return redirect("admin:accounts_ratelimit_changelist")
        with as_platform():
            rows = rate_rows_of_organizations()
        context = {**self.admin_site.each_context(request), "title": _("Rate limits"), "form": form, "rows": rows}
        context["may_change"] = request.user.has_perm(RATE_LIMITS)
        return TemplateResponse(request, "admin/rate_limits.html", context, status=422 if form.is_bound else 200)


def _change_rates(form: OrganizationRatesForm, by: User) -> None:
    organization = Organization.objects.filter(slug=form.cleaned_data["organization"]).first()
    if organization is None:
        raise UnableToSetRates(_("There is no organization with this address."))
    set_rates_of_organization(organization=organization, rates=form.rates(), by=by, now=timezone.now())
