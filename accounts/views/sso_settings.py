"""Pages on which owners set single sign-on up, require it, and name who may enter without it."""

from collections.abc import Callable

from django.contrib import messages
from django.forms import Form
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from accounts import selectors
from accounts.access import OrganizationRequest, organization_required, recent_sign_in_required
from accounts.forms.sign_on import BreakGlassForm, SamlForm, SsoForm
from accounts.gateways.saml_provider import certificate_lines
from accounts.models import Membership, Permission, SsoConnection
from accounts.services.sso_connections import (
    UnableToSetUpSso,
    name_break_glass,
    remove_sso,
    require_sso,
    set_up_saml,
    set_up_sso,
    stop_requiring_sso,
)
from accounts.views.saml import service_provider
from accounts.views.sso import redirect_uri
from portal.lib.errors import DomainError


@organization_required(Permission.MANAGE_SIGN_ON)
@recent_sign_in_required
@require_http_methods(["GET", "HEAD", "POST"])
def settings_page(request: OrganizationRequest) -> HttpResponse:
    """Show and change the connection by OpenID Connect; who has one by SAML comes here to leave it."""
    connection = selectors.connection_in(request.organization)
    is_saml = connection is not None and connection.protocol == SsoConnection.Protocol.SAML
    if is_saml and request.method != "POST" and "change" not in request.GET:
        return redirect("accounts:sso-saml", request.organization.slug)
    initial = _initial(connection)
    form = SsoForm(request.POST or None, initial=initial, has_secret=connection is not None and not is_saml)
    if form.is_valid():
        try:
            set_up_sso(
                issuer=form.cleaned_data["issuer"],
                client_id=form.cleaned_data["client_id"],
                client_secret=form.cleaned_data["client_secret"],
                default_role=form.chosen_role(),
                by=request.membership,
                now=timezone.now(),
            )
        except UnableToSetUpSso as error:
            form.add_error(None, str(error))
        else:
            return _saved(request, "accounts:sso-settings")
    return _page(request, connection, form, {"redirect_uri": redirect_uri(request.organization.slug)})


@organization_required(Permission.MANAGE_SIGN_ON)
@recent_sign_in_required
@require_http_methods(["GET", "HEAD", "POST"])
def saml_page(request: OrganizationRequest) -> HttpResponse:
    connection = selectors.connection_in(request.organization)
    form = SamlForm(request.POST or None, initial=_initial(connection))
    if form.is_valid():
        try:
            set_up_saml(
                entity_id=form.cleaned_data["entity_id"],
                sign_in_url=form.cleaned_data["sign_in_url"],
                certificates=form.cleaned_data["certificates"],
                default_role=form.chosen_role(),
                by=request.membership,
                now=timezone.now(),
            )
        except UnableToSetUpSso as error:
            form.add_error(None, str(error))
        else:
            return _saved(request, "accounts:sso-saml")
    lines = certificate_lines(connection.certificates) if connection else []
    us = service_provider(request.organization.slug)
    return _page(request, connection, form, {"us": us, "certificates": lines, "is_saml": True})


def _saved(request: OrganizationRequest, page: str) -> HttpResponse:
    messages.success(request, _("Saved. Now sign in through it once to see that it works."))
    return redirect(page, request.organization.slug)


def _page(
    request: OrganizationRequest, connection: SsoConnection | None, form: Form, more: dict[str, object]
) -> HttpResponse:
    context = {
        "form": form,
        "connection": connection,
        "domains": [row for row in selectors.domain_rows(request.organization) if row.state != "pending"],
        "owners": selectors.owner_rows(request.organization),
        **more,
    }
    return render(request, "accounts/sso_settings.html", context, status=422 if form.is_bound else 200)


def _initial(connection: SsoConnection | None) -> dict[str, str]:
    """Return what is stored, for either form; what is of the other protocol is left out."""
    if connection is None:
        return {}
    role = {"default_role": connection.default_role}
    if connection.protocol == SsoConnection.Protocol.SAML:
        return role | {
            "entity_id": connection.issuer,
            "sign_in_url": connection.sign_in_url,
            "certificates": "\n".join(connection.certificates),
        }
    return role | {"issuer": connection.issuer, "client_id": connection.client_id}


def _changed(request: OrganizationRequest, change: Callable[[], object], done: str) -> HttpResponse:
    try:
        change()
    except DomainError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, done)
    return redirect("accounts:sso-settings", request.organization.slug)


@organization_required(Permission.MANAGE_SIGN_ON)
@recent_sign_in_required
@require_POST
def remove(request: OrganizationRequest) -> HttpResponse:
    return _changed(
        request, lambda: remove_sso(by=request.membership, now=timezone.now()), _("Single sign-on is removed.")
    )


@organization_required(Permission.MANAGE_SIGN_ON)
@recent_sign_in_required
@require_POST
def require(request: OrganizationRequest) -> HttpResponse:
    return _changed(
        request, lambda: require_sso(by=request.membership, now=timezone.now()), _("Single sign-on is required now.")
    )


@organization_required(Permission.MANAGE_SIGN_ON)
@recent_sign_in_required
@require_POST
def make_optional(request: OrganizationRequest) -> HttpResponse:
    return _changed(
        request,
        lambda: stop_requiring_sso(by=request.membership, now=timezone.now()),
        _("Single sign-on is not required any more."),
    )


@organization_required(Permission.MANAGE_SIGN_ON)
@recent_sign_in_required
@require_POST
def set_break_glass(request: OrganizationRequest, public_id: str) -> HttpResponse:
    member = get_object_or_404(Membership.objects.owned_by(request.organization), public_id=public_id)
    form = BreakGlassForm(request.POST)
    if not form.is_valid():
        messages.error(request, _("Say whether they may enter without it."))
        return redirect("accounts:sso-settings", request.organization.slug)
    may_enter = form.cleaned_data["may_enter"]
    return _changed(
        request,
        lambda: name_break_glass(membership=member, may_enter=may_enter, by=request.membership, now=timezone.now()),
        _("Saved."),
    )
