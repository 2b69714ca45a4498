"""The door that all single sign-on comes through: what the session knows of a try, going in, and being refused."""

import time
from http import HTTPStatus
from typing import TypedDict

import structlog
from allauth.account.adapter import get_adapter
from allauth.account.utils import perform_login
from django.contrib.auth import logout
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.shortcuts import render

from accounts import selectors
from accounts.access import remember_proof, remember_single_sign_on
from accounts.models import Membership, SsoConnection
from accounts.views.sign_in import landing
from portal.lib.http import PortalHttpRequest

log = structlog.get_logger(__name__)

ATTEMPTS = "sso_attempts"
ATTEMPT_SECONDS = 600
MOST_ATTEMPTS = 5


class Attempt(TypedDict):
    """What a session keeps of one try. secrets: what the protocol needs to know its answer by. at: since the epoch."""

    connection: str
    secrets: dict[str, str]
    at: float
    next: str


def keep_attempt(request: PortalHttpRequest, connection: SsoConnection, name: str, secrets: dict[str, str]) -> None:
    """Keep a try in the session under the name by which its answer will call it."""
    attempts = request.session.get(ATTEMPTS, {})
    attempts[name] = Attempt(
        connection=connection.public_id, secrets=secrets, at=time.time(), next=request.POST.get("next", "")
    )
    request.session[ATTEMPTS] = dict(list(attempts.items())[-MOST_ATTEMPTS:])


def take_attempt(request: PortalHttpRequest, connection: SsoConnection, name: str) -> Attempt | None:
    """Return a try of this session and connection and forget it; None if there is none or it is too old."""
    kept = request.session.get(ATTEMPTS, {})
    begun: Attempt | None = kept.pop(name, None)
    request.session[ATTEMPTS] = kept
    # What the program of before this one kept has no secrets; its people begin again.
    if begun is None or "secrets" not in begun or begun["connection"] != connection.public_id:
        return None
    return begun if time.time() - begun["at"] <= ATTEMPT_SECONDS else None


def connection_or_404(slug: str, protocol: SsoConnection.Protocol | None = None) -> SsoConnection:
    """Return the connection and enter its organization; one answer for no organization and for one without."""
    found = selectors.sso_connection_of(slug)
    if found is None or (protocol is not None and found.protocol != protocol):
        raise Http404
    return found


def enter(request: PortalHttpRequest, membership: Membership, connection: SsoConnection, wanted: str) -> HttpResponse:
    """Sign the person in and go where they wanted; a second factor that they have set up is asked for all the same."""
    at, address = time.time(), _inside(request, membership, wanted)
    if request.user == membership.user:
        remember_single_sign_on(request, membership, connection, at)
        remember_proof(request, at)  # type: ignore[arg-type]  # by somebody who is signed in
        return HttpResponseRedirect(address)
    # Whoever was signed in here before leaves nothing behind.
    logout(request)
    remember_single_sign_on(request, membership, connection, at)
    answer: HttpResponse = perform_login(request, membership.user, redirect_url=address)
    return answer


def _inside(request: PortalHttpRequest, membership: Membership, wanted: str) -> str:
    is_inside = wanted.startswith(f"/o/{membership.organization.slug}/")
    if is_inside and get_adapter(request).is_safe_url(wanted):
        return wanted
    return landing(membership.organization, is_new=False)


def refused(request: PortalHttpRequest, connection: SsoConnection, reason: str) -> HttpResponse:
    log.warning("accounts.sso.refused", connection=connection.public_id, reason=reason)
    context = {"reason": reason, "organization": connection.organization}
    return render(request, "accounts/sso_refused.html", context, status=HTTPStatus.FORBIDDEN)
