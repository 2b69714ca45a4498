"""Signing in through an organization's identity provider: there, back, and what went wrong on the way."""

import time
from http import HTTPStatus
from urllib.parse import urljoin, urlsplit

import structlog
from allauth.account.adapter import get_adapter
from allauth.account.utils import perform_login
from allauth.core import ratelimit
from django.conf import settings
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import selectors
from accounts.access import (
    SignedInRequest,
    recent_sign_in_required,
    remember_broken_glass,
    remember_sign_in,
    remember_single_sign_on,
)
from accounts.forms.sign_on import SsoEntryForm
from accounts.gateways.oidc import Attempt
from accounts.models import Membership, SsoConnection
from accounts.services.sso_sign_in import (
    UnableToBreakGlass,
    UnableToSignIn,
    begin_sign_in,
    break_glass,
    finish_sign_in,
)
from accounts.views.sign_in import landing
from portal.lib.http import PortalHttpRequest
from portal.lib.tenancy import set_organization, set_user

log = structlog.get_logger(__name__)

ATTEMPTS = "sso_attempts"
ATTEMPT_SECONDS = 600
MOST_ATTEMPTS = 5


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
    connection = _connection(slug)
    if request.method == "POST":
        return _leave(request, connection)
    context = {
        "organization": connection.organization,
        "issuer": urlsplit(connection.issuer).netloc,
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
        attempt, address = begin_sign_in(
            connection=connection, redirect_uri=redirect_uri(connection.organization.slug), login_hint=login_hint
        )
    except UnableToSignIn as error:
        return _refused(request, connection, str(error))
    attempts = request.session.get(ATTEMPTS, {})
    attempts[attempt.state] = {
        "connection": connection.public_id,
        "nonce": attempt.nonce,
        "verifier": attempt.verifier,
        "at": time.time(),
        "next": request.POST.get("next", ""),
    }
    request.session[ATTEMPTS] = dict(list(attempts.items())[-MOST_ATTEMPTS:])
    context = {"address": address, "issuer": urlsplit(connection.issuer).netloc}
    return render(request, "accounts/sso_leave.html", context)


@require_safe
def callback(request: PortalHttpRequest, slug: str) -> HttpResponse:
    """Take back whom the provider sends, once for each time that this browser was sent there."""
    connection = _connection(slug)
    kept = request.session.get(ATTEMPTS, {})
    state = request.GET.get("state", "")
    begun = kept.pop(state, None)
    request.session[ATTEMPTS] = kept
    is_ours = begun is not None and begun["connection"] == connection.public_id
    if not is_ours or time.time() - begun["at"] > ATTEMPT_SECONDS:
        return _refused(request, connection, _("This sign-in was not begun here, is too old, or was used already."))
    if request.GET.get("iss", connection.issuer) != connection.issuer:
        return _refused(request, connection, _("Another identity provider has answered."))
    if not (code := request.GET.get("code", "")):
        return _refused(request, connection, _("Your identity provider did not let you in."))
    try:
        membership = finish_sign_in(
            connection=connection,
            attempt=Attempt(state, begun["nonce"], begun["verifier"]),
            code=code,
            redirect_uri=redirect_uri(slug),
            now=timezone.now(),
        )
    except UnableToSignIn as error:
        return _refused(request, connection, str(error))
    return _enter(request, membership, connection, _next(request, membership, begun["next"]))


def redirect_uri(slug: str) -> str:
    """Return where providers send people back to: an address of each organization's own, so that none is mixed up."""
    return urljoin(settings.PORTAL_URL, reverse("accounts:sso-callback", args=[slug]))


def _enter(request: PortalHttpRequest, membership: Membership, connection: SsoConnection, address: str) -> HttpResponse:
    """Sign the person in; a second factor that they have set up is asked for all the same."""
    at = time.time()
    if request.user == membership.user:
        remember_single_sign_on(request, membership, connection, at)
        remember_sign_in(request, at)
        return HttpResponseRedirect(address)
    # Whoever was signed in here before leaves nothing behind.
    logout(request)
    remember_single_sign_on(request, membership, connection, at)
    answer: HttpResponse = perform_login(request, membership.user, redirect_url=address)
    return answer


def _next(request: PortalHttpRequest, membership: Membership, wanted: str) -> str:
    is_inside = wanted.startswith(f"/o/{membership.organization.slug}/")
    if is_inside and get_adapter(request).is_safe_url(wanted):
        return wanted
    return landing(membership.organization, is_new=False)


def _refused(request: PortalHttpRequest, connection: SsoConnection, reason: str) -> HttpResponse:
    log.warning("accounts.sso.refused", connection=connection.public_id, reason=reason)
    context = {"reason": reason, "organization": connection.organization}
    return render(request, "accounts/sso_refused.html", context, status=HTTPStatus.FORBIDDEN)


def _connection(slug: str) -> SsoConnection:
    """Return the connection and enter its organization; one answer for no organization and for one without."""
    found = selectors.sso_connection_of(slug)
    if found is None:
        raise Http404
    return found


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
