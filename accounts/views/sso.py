"""Signing in through an organization's identity provider: there, back, and what went wrong on the way."""

import time
from urllib.parse import urljoin

from allauth.core import ratelimit
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import selectors
from accounts.access import SignedInRequest, recent_sign_in_required, remember_broken_glass
from accounts.forms.sign_on import SsoEntryForm
from accounts.gateways.oidc import Attempt
from accounts.models import SsoConnection
from accounts.services.saml_sign_in import begin_saml_sign_in
from accounts.services.sso_sign_in import (
    UnableToBreakGlass,
    UnableToSignIn,
    begin_sign_in,
    break_glass,
    finish_sign_in,
)
from accounts.views.saml import service_provider
from accounts.views.sign_in import landing
from accounts.views.sso_door import connection_or_404, enter, keep_attempt, refused, take_attempt
from portal.lib.http import PortalHttpRequest
from portal.lib.tenancy import set_organization, set_user


@require_http_methods(["GET", "HEAD", "POST"])
def entry(request: PortalHttpRequest) -> HttpResponse:
    """Take an address and lead to the identity provider of the organization that has verified its domain."""
    form = SsoEntryForm(request.POST or None)
    if form.is_valid():
        email = form.cleaned_data["email"]
        slug = selectors.sso_slug_of_address(email)
        connection = selectors.sso_connection_of(slug) if slug else None
        if connection is not None:
            return _leave(request, connection, login_hint=email)
        form.add_error("email", _("No organization has set up single sign-on for addresses like this."))
    return render(request, "accounts/sso_entry.html", {"form": form}, status=422 if form.is_bound else 200)


@require_http_methods(["GET", "HEAD", "POST"])
def organization(request: PortalHttpRequest, slug: str) -> HttpResponse:
    """The link that an organization gives its people; it takes a press, so that no other site can sign them in."""
    connection = connection_or_404(slug)
    if request.method == "POST":
        return _leave(request, connection)
    context = {
        "organization": connection.organization,
        "issuer": connection.host,
        "next": request.GET.get("next", ""),
    }
    return render(request, "accounts/sso_organization.html", context)


def _leave(request: PortalHttpRequest, connection: SsoConnection, *, login_hint: str = "") -> HttpResponse:
    """Answer with a page that goes on to the provider: a form may not be redirected to another site (form-action)."""
    # Each press asks the provider, over the network; the limit is that of any sign-in from one address.
    too_many: HttpResponse | None = ratelimit.consume_or_429(request, action="login")
    if too_many is not None:
        return too_many
    try:
        begin = _begin_saml if connection.protocol == SsoConnection.Protocol.SAML else _begin_oidc
        address = begin(request, connection, login_hint)
    except UnableToSignIn as error:
        return refused(request, connection, str(error))
    return render(request, "accounts/sso_leave.html", {"address": address, "issuer": connection.host})


def _begin_oidc(request: PortalHttpRequest, connection: SsoConnection, login_hint: str) -> str:
    back = redirect_uri(connection.organization.slug)
    attempt, address = begin_sign_in(connection=connection, redirect_uri=back, login_hint=login_hint)
    keep_attempt(request, connection, attempt.state, {"nonce": attempt.nonce, "verifier": attempt.verifier})
    return address


def _begin_saml(request: PortalHttpRequest, connection: SsoConnection, login_hint: str) -> str:
    us = service_provider(connection.organization.slug)
    begun, address = begin_saml_sign_in(connection=connection, us=us, now=timezone.now())
    keep_attempt(request, connection, begun.request_id, {"relay_state": begun.relay_state})
    return address


@require_safe
def callback(request: PortalHttpRequest, slug: str) -> HttpResponse:
    """Take back whom an OpenID Connect provider sends, once for each time that this browser was sent there."""
    connection = connection_or_404(slug, SsoConnection.Protocol.OIDC)
    state = request.GET.get("state", "")
    begun = take_attempt(request, connection, state)
    if begun is None:
        return refused(request, connection, _("This sign-in was not begun here, is too old, or was used already."))
    if request.GET.get("iss", connection.issuer) != connection.issuer:
        return refused(request, connection, _("Another identity provider has answered."))
    if not (code := request.GET.get("code", "")):
        return refused(request, connection, _("Your identity provider did not let you in."))
    kept = begun["secrets"]
    try:
        membership = finish_sign_in(
            connection=connection,
            attempt=Attempt(state, kept.get("nonce", ""), kept.get("verifier", "")),
            code=code,
            redirect_uri=redirect_uri(slug),
            now=timezone.now(),
        )
    except UnableToSignIn as error:
        return refused(request, connection, str(error))
    return enter(request, membership, connection, begun["next"])


def redirect_uri(slug: str) -> str:
    """Return where providers send people back to: an address of each organization's own, so that none is mixed up."""
    return urljoin(settings.PORTAL_URL, reverse("accounts:sso-callback", args=[slug]))


@login_required
@recent_sign_in_required
@require_POST
def enter_without(request: SignedInRequest, slug: str) -> HttpResponse:
    """Let a break-glass owner in for some hours, and every owner know."""
    set_user(request.user.pk)
    membership = selectors.membership_in(request.user, slug)
    if membership is None or not membership.is_break_glass:
        raise Http404
    set_organization(membership.organization_id)
    try:
        break_glass(membership=membership, now=timezone.now())
    except UnableToBreakGlass as error:
        raise Http404 from error
    remember_broken_glass(request, membership, time.time())
    return redirect(landing(membership.organization, is_new=False))
