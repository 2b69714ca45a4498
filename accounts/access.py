"""The only door to an organization: it finds who is asking, sets whose rows may be touched, and checks the right.

Pages come through `organization_required`, programs through `KeyAPIView`. A stranger gets 404, whatever the
method; a member or key with too small a role or scope gets 403.
"""

import base64
import binascii
import time
from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any, ClassVar, Concatenate
from urllib.parse import urlsplit

from allauth.account.authentication import get_authentication_records
from allauth.core.exceptions import ReauthenticationRequired
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render, resolve_url
from django.urls import Resolver404, resolve
from django.utils import timezone
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts import selectors
from accounts.models import (
    PERMISSION_OF_SCOPE,
    ApiKey,
    DirectoryToken,
    Membership,
    Organization,
    Permission,
    Scope,
    SsoConnection,
    User,
)
from accounts.services.api_keys import IssuedKey, KeyUse, touch_key
from accounts.services.audit import person
from accounts.services.directory_tokens import token_of, touch_directory_token
from accounts.services.idempotency import Answer, claim_answer, give_claim_back, keep_answer
from accounts.services.sessions import rename_session
from accounts.services.suspension import OrganizationSuspended, refuse_while_stopped
from portal.lib.context import NOWHERE, Actor, Origin, current_origin, remember_actor
from portal.lib.http import PortalHttpRequest
from portal.lib.key_format import API_KEY_KINDS, digest_of, kind_of
from portal.lib.one_time import put_secret, take_secret
from portal.lib.tenancy import set_organization, set_user


class SignedInRequest(PortalHttpRequest):
    """A request of a person who signed in."""

    user: User


class OrganizationRequest(SignedInRequest):
    """A request that came through the door."""

    organization: Organization
    membership: Membership
    memberships: list[Membership]  # all of the person's, by name of the organization
    # What is left to spend, in nano-dollars, where a view had to know it; the page's frame asks for it otherwise.
    balance_nano: int


type View[**P] = Callable[Concatenate[OrganizationRequest, P], HttpResponse]


def organization_required[**P](
    permission: Permission, *, in_projects: bool = False, open_while_stopped: bool | None = None
) -> Callable[[View[P]], Callable[..., HttpResponse]]:
    """Enter the organization that the URL's `organization` slug names. The outermost decorator of a view.

    404 for people outside it, for every method, so that it does not leak that it exists; 403 for members
    whose role lacks `permission` and for those who must come through single sign-on and did not; visitors are sent
    to sign in. in_projects: members come in too who have it in one of the projects only, and the view calls
    `require_in` for the project that it works on. open_while_stopped: whether the view may change something while the
    organization's work is stopped for an unpaid bill, where that is not as `CLOSED_WHILE_STOPPED` says.
    """

    def decorate(view: View[P]) -> Callable[..., HttpResponse]:
        @wraps(view)
        def enter(request: HttpRequest, organization: str, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            if not isinstance(request.user, User):
                return _ask_to_sign_in(request)
            set_user(request.user.pk)
            # All of them in the one query that finds this one: every page lists them in its frame.
            memberships = selectors.memberships_of(request.user)
            membership = next((one for one in memberships if one.organization.slug == organization), None)
            if membership is None:
                raise Http404
            set_organization(membership.organization_id)
            # The request gains what OrganizationRequest declares, so from here on it is one.
            entered: OrganizationRequest = request  # type: ignore[assignment]
            entered.organization = membership.organization
            entered.membership = membership
            entered.memberships = memberships
            remember_actor(person(request.user))
            if (connection := barred_by(request, membership, time.time())) is not None:
                return _ask_for_single_sign_on(request, membership, connection)
            if not (membership.may_somewhere(permission) if in_projects else membership.may(permission)):
                raise PermissionDenied
            try:
                refuse_while_stopped(entered.organization, permission, request.method, is_open=open_while_stopped)
            except OrganizationSuspended as error:
                return _show_the_way_back(entered, error)
            return view(entered, *args, **kwargs)

        enter.permission = permission  # type: ignore[attr-defined]  # read by the tenancy sweep
        enter.in_projects = in_projects  # type: ignore[attr-defined]  # as above
        return enter

    return decorate


def require_in(request: OrganizationRequest, permission: Permission, project_id: int) -> None:
    """Refuse members with 403 who have the permission neither by their role nor by their part in this project."""
    if not request.membership.may_in(permission, project_id):
        raise PermissionDenied


SIGNED_IN_AT = "signed_in_at"


def remember_sign_in(request: HttpRequest, seconds: float) -> None:
    """Note in the session that the person just proved who they are. seconds: since the epoch."""
    request.session[SIGNED_IN_AT] = seconds


def remember_proof(request: SignedInRequest, seconds: float) -> None:
    """Note that who is signed in proved it again, in a session of a new name: the former may be known to somebody."""
    remember_sign_in(request, seconds)
    rename_session(user=request.user, session=request.session)


def is_sign_in_recent(request: HttpRequest, seconds: float) -> bool:
    """Whether this session proved who it is, by signing in or again, within ACCOUNT_REAUTHENTICATION_TIMEOUT."""
    proofs: list[float] = [record["at"] for record in get_authentication_records(request, request.user)]
    proofs.append(request.session.get(SIGNED_IN_AT, 0))
    age: float = seconds - max(proofs)
    return age < settings.ACCOUNT_REAUTHENTICATION_TIMEOUT


SSO_PROOFS = "sso_proofs"
GLASS_BROKEN = "glass_broken"
# Whom an identity provider no longer knows is out within a day.
SSO_SECONDS = 24 * 3600
GLASS_SECONDS = 4 * 3600


def remember_single_sign_on(request: HttpRequest, membership: Membership, connection: SsoConnection, at: float) -> None:
    """Note in the session that the member came through a connection. at: seconds since the epoch."""
    proofs = _proofs(request, membership.user_id) | {connection.public_id: at}
    request.session[SSO_PROOFS] = {"user": membership.user_id, "through": proofs}


def remember_broken_glass(request: HttpRequest, membership: Membership, at: float) -> None:
    """Note in the session that a break-glass owner entered without single sign-on, which was written down."""
    request.session[GLASS_BROKEN] = {**request.session.get(GLASS_BROKEN, {}), membership.public_id: at}


def barred_by(request: HttpRequest, membership: Membership, seconds: float) -> SsoConnection | None:
    """Return the connection that the member has to come through and in this session did not, or None.

    The organization has been entered. seconds: now, since the epoch. Asks the database only where single sign-on is
    required.
    """
    connection = selectors.must_come_through(membership)
    if connection is None:
        return None
    through = _proofs(request, membership.user_id).get(connection.public_id, 0)
    broken = request.session.get(GLASS_BROKEN, {}).get(membership.public_id, 0) if membership.is_break_glass else 0
    if seconds - through < SSO_SECONDS or seconds - broken < GLASS_SECONDS:
        return None
    return connection


def _proofs(request: HttpRequest, user_id: int) -> dict[str, float]:
    kept = request.session.get(SSO_PROOFS, {})
    proofs: dict[str, float] = kept.get("through", {}) if kept.get("user") == user_id else {}
    return proofs


def _ask_for_single_sign_on(request: HttpRequest, membership: Membership, connection: SsoConnection) -> HttpResponse:
    slug = membership.organization.slug
    if request.headers.get("HX-Request") == "true" and request.headers.get("HX-Boosted") != "true":
        return HttpResponse(status=401, headers={"HX-Redirect": resolve_url("accounts:sso-organization", slug)})
    context = {
        "organization": membership.organization,
        "issuer": connection.host,
        "next": request.get_full_path() if request.method == "GET" else "",
        "may_break_glass": membership.is_break_glass,
    }
    return render(request, "accounts/sso_required.html", context, status=HTTPStatus.FORBIDDEN)


def _show_the_way_back(request: OrganizationRequest, error: OrganizationSuspended) -> HttpResponse:
    invoices = resolve_url("billing:invoice-list", request.organization.slug)
    if request.htmx and not request.htmx.boosted:
        # Nothing is swapped in for a refusal: the sentence is on the page that it leads to.
        messages.error(request, str(error))
        return HttpResponse(status=error.status, headers={"HX-Redirect": invoices})
    return render(request, "accounts/suspended.html", {"sentence": str(error)}, status=error.status)


def keep_starter_key(request: HttpRequest, issued: IssuedKey) -> None:
    """Keep the secret of a new organization's first key for the one page that shows it, the quickstart."""
    put_secret(request.session, _starter_slot(issued.api_key.organization), issued.secret)


def take_starter_key(request: OrganizationRequest) -> str | None:
    """Return the secret that was kept for this organization and forget it, or None."""
    return take_secret(request.session, _starter_slot(request.organization))


def _starter_slot(organization: Organization) -> str:
    return f"starter_key:{organization.public_id}"


def is_invitation(address: str | None) -> bool:
    """Whether somebody is on the way to an invitation's page."""
    try:
        return resolve(urlsplit(address or "").path).view_name == "accounts:invitation"
    except Resolver404:
        return False


def recent_sign_in_required[R: SignedInRequest, **P](
    view: Callable[Concatenate[R, P], HttpResponse],
) -> Callable[Concatenate[R, P], HttpResponse]:
    """Before a change that outlives the session, ask people whose sign-in is old to prove again who they are.

    Stands below `organization_required`, or below `login_required` on pages of a person. The POST is kept and goes
    through after the proof: password, second factor, passkey, or for who has none of them a code by mail
    (accounts.adapter).
    """

    @wraps(view)
    def check(request: R, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if request.method == "POST" and not is_sign_in_recent(request, time.time()):
            raise ReauthenticationRequired
        return view(request, *args, **kwargs)

    return check


def _ask_to_sign_in(request: HttpRequest) -> HttpResponse:
    if request.headers.get("HX-Request") == "true" and request.headers.get("HX-Boosted") != "true":
        # Never a sign-in page inside a table cell.
        return HttpResponse(status=401, headers={"HX-Redirect": resolve_url(settings.LOGIN_URL)})
    return redirect_to_login(request.get_full_path())


class KeyRequest(Request):
    """An API request that came through the door."""

    organization: Organization
    api_key: ApiKey


class KeyAPIView(APIView):
    """The base of every view of /api/v1: a key, as a bearer token or as the user name of HTTP Basic."""

    scope: ClassVar[Scope | None]  # None: any valid key
    # What is open while the organization's work is stopped for an unpaid bill, whatever the scope: what ends something.
    open_while_stopped: ClassVar[frozenset[str]] = frozenset({"DELETE"})
    request: KeyRequest

    def get_authenticate_header(self, request: Request) -> str:
        # Without one, REST framework would turn 401 into 403.
        return InvalidApiKey.auth_header

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        api_key = authenticate_key(secret_in(request), current_origin())
        if self.scope is not None and self.scope not in api_key.scopes:
            raise PermissionDenied(f"This key needs the scope {self.scope.value}.")
        # From here on the request is a KeyRequest.
        request.api_key = api_key  # type: ignore[attr-defined]
        request.organization = api_key.organization  # type: ignore[attr-defined]
        remember_actor(Actor(kind="key", public_id=api_key.public_id, via="key"))
        if self.scope is not None and hasattr(self, (method := request.method or "").lower()):
            is_open = method in self.open_while_stopped or None
            refuse_while_stopped(api_key.organization, PERMISSION_OF_SCOPE[self.scope], method, is_open=is_open)


def idempotent[V: KeyAPIView, **P](
    create: Callable[Concatenate[V, Request, P], HttpResponse],
) -> Callable[Concatenate[V, Request, P], HttpResponse]:
    """Let programs repeat a creating POST with the same Idempotency-Key and body: they get the first answer.

    On every `post` of a KeyAPIView that creates something. Answers are kept for a day, sealed with the caller's
    API key; refusals are not kept, so that the same request may succeed later.
    """

    @wraps(create)
    def once(view: V, request: Request, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return create(view, request, *args, **kwargs)
        secret = secret_in(request)
        claim = claim_answer(
            organization=view.request.organization,
            route=f"{request.method} {request.path}",
            key=key,
            request_body=request.body,
            secret=secret,
            now=timezone.now(),
        )
        if claim.earlier is not None:
            earlier = claim.earlier
            replayed = {"Idempotent-Replayed": "true"}
            return HttpResponse(
                earlier.body, status=earlier.status, content_type=earlier.content_type, headers=replayed
            )
        answer = create(view, request, *args, **kwargs)
        if answer.status_code < HTTPStatus.BAD_REQUEST:
            kept = Answer(answer.status_code, answer.headers["Content-Type"], answer.content)
            keep_answer(claim=claim, answer=kept, secret=secret)
        else:
            give_claim_back(claim=claim)
        return answer

    return once


def is_former_secret(request: KeyRequest) -> bool:
    """Whether the caller shows a secret that its key had before a rotation, and that will stop."""
    return digest_of(secret_in(request), settings.API_KEY_PEPPER) != bytes(request.api_key.digest)


class InvalidApiKey(exceptions.AuthenticationFailed):
    status_code = 401
    default_code = "invalid_api_key"
    default_detail = "The API key is missing, mistyped, expired or revoked. Make one under API keys in the console."
    auth_header = 'Bearer realm="api"'


class AddressNotAllowed(exceptions.APIException):
    status_code = 403
    default_code = "address_not_allowed"
    default_detail = "This key may not be used from this address."


def secret_in(request: Request) -> str:
    """Return the key of an Authorization header, or an empty string."""
    kind, _, value = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return ""


def authenticate_key(secret: str, origin: Origin = NOWHERE) -> ApiKey:
    """Return the key and enter its organization; one that is malformed or no API key never reaches the database.

    Raises InvalidApiKey with one and the same answer for every reason, AddressNotAllowed for a good key that may
    not be used from there.
    """
    if kind_of(secret, settings.KEY_BRAND) not in API_KEY_KINDS:
        raise InvalidApiKey
    organization_id = selectors.organization_id_of_key(digest := digest_of(secret, settings.API_KEY_PEPPER))
    if organization_id is None:
        raise InvalidApiKey
    set_organization(organization_id)
    now = timezone.now()
    keys = ApiKey.objects.select_related("organization", "project", "service_account")
    api_key = keys.filter(digest=digest).first() or keys.opened_by(digest, now).first()
    if api_key is None or not api_key.is_usable(now):
        raise InvalidApiKey
    if not api_key.may_be_used_from(origin.address):
        raise AddressNotAllowed
    touch_key(api_key=api_key, use=KeyUse(origin.address, origin.browser), now=now)
    return api_key


def authenticate_directory(secret: str) -> DirectoryToken | None:
    """Return the token of a directory and enter its organization, or None for whatever reason it opens nothing."""
    now = timezone.now()
    token = token_of(secret, now)
    if token is not None:
        touch_directory_token(token=token, now=now)
        remember_actor(Actor(kind="scim", public_id=token.public_id, via="scim"))
    return token
