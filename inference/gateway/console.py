"""The console's door to the gateway: a session cookie and a CSRF token instead of a key."""

import io
import re
import time
from collections.abc import Mapping
from urllib.parse import parse_qs

import msgspec
from django.contrib.auth import get_user
from django.core.handlers.asgi import ASGIRequest
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware

from accounts import selectors
from accounts.access import barred_by
from accounts.models import Permission, Project, User
from accounts.selectors.rate_limits import rates_in_console
from inference.gateway.asgi import Scope, header
from inference.gateway.database import UNREACHABLE, Database
from inference.gateway.errors import ApiError, invalid, no_database
from inference.gateway.keys import Caller
from inference.gateway.limits import subjects_of
from inference.gateway.requests import UNREADABLE, Endpoint, ModelRequest, parse_request
from portal.lib.context import remember_organization
from portal.lib.sessions import SessionMiddleware
from portal.lib.tenancy import set_organization, set_user

# What a form says in words and a program says as a number.
_DIGITS = re.compile(r"[0-9]{1,9}")


class PlaygroundDoor:
    """Lets a member who may call models run a prompt; the organization's first project pays."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def enter(self, scope: Scope, body: bytes, slug: str) -> tuple[Caller, ModelRequest]:
        """Return who asks for what. Raises ApiError 400, 401, 403, 404 or 503."""
        caller = await self.caller_of(scope, slug)
        return caller, parse_request(Endpoint.CHAT_COMPLETIONS, _completion_body(scope, body))

    async def caller_of(self, scope: Scope, slug: str) -> Caller:
        """Return who asks. Raises ApiError 401, 403, 404 or 503."""
        try:
            return await self._database.run_as_app(_caller_of_session, scope, slug)
        except UNREACHABLE as error:
            raise no_database() from error


def _caller_of_session(scope: Scope, slug: str) -> Caller:
    """Do what Django's middleware and `accounts.access` do for a page, in the same order."""
    # The body is read already and holds no token: pages send it as a header.
    # Without its type either, nobody looks for one in a body that is not there.
    headers = [(name, value) for name, value in scope["headers"] if name not in (b"content-type", b"content-length")]
    request = ASGIRequest({**scope, "headers": headers}, io.BytesIO())
    try:
        with transaction.atomic():
            SessionMiddleware(_no_view).process_request(request)
            user = get_user(request)
            if not isinstance(user, User) or not user.is_active:
                raise ApiError(401, "Sign in again.", code="signed_out", kind="authentication_error")
            _check_csrf(request)
            set_user(user.pk)
            membership = selectors.membership_in(user, slug)
            if membership is None:
                raise ApiError(404, "There is no such stream.", code="unknown_url")
            set_organization(membership.organization_id)
            if barred_by(request, membership, time.time()) is not None:
                raise ApiError(
                    403, "Sign in through single sign-on first.", code="sso_required", kind="permission_error"
                )
            if not membership.may(Permission.USE_MODELS):
                raise ApiError(403, "Your role may not call models.", code="forbidden", kind="permission_error")
            project = Project.objects.owned_by(membership.organization).in_order().first()
            if project is None:
                raise ApiError(404, "This organization has no project.", code="no_project")
            rates = rates_in_console(organization_id=membership.organization_id, project_id=project.pk)
            organization = membership.organization.public_id
            return Caller(
                organization_id=membership.organization_id,
                project_id=project.pk,
                user_id=user.pk,
                name=user.public_id,
                region=project.region_name,
                subjects=subjects_of("person", user.public_id, project.public_id, organization, rates),
            )
    finally:
        remember_organization(None)


def _check_csrf(request: HttpRequest) -> None:
    middleware = CsrfViewMiddleware(_no_view)
    middleware.process_request(request)
    if middleware.process_view(request, _no_view, (), {}) is not None:
        raise ApiError(403, "The page is too old: reload it.", code="csrf_failed", kind="permission_error")


def _no_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


def _completion_body(scope: Scope, body: bytes) -> bytes:
    """Return the chat completion that a page asks for.

    body: a form or a JSON object with `model`, `prompt` (or `messages`) and perhaps `max_tokens`.
    """
    if header(scope, b"content-type").startswith("application/x-www-form-urlencoded"):
        fields: Mapping[str, object] = {
            name: values[-1] for name, values in parse_qs(body.decode(errors="replace")).items()
        }
    else:
        try:
            fields = msgspec.json.decode(body, type=dict[str, object])
        except UNREADABLE as error:
            raise invalid("The body is not valid JSON.", code="invalid_json") from error
    prompt = fields.get("prompt")
    asked: dict[str, object] = {
        "model": fields.get("model"),
        "messages": fields.get("messages") or [{"role": "user", "content": prompt}],
        "stream": True,
    }
    if limit := fields.get("max_tokens"):
        asked["max_tokens"] = int(limit) if isinstance(limit, str) and _DIGITS.fullmatch(limit) else limit
    if prompt is None and "messages" not in fields:
        raise invalid("prompt is required.", "prompt")
    return msgspec.json.encode(asked)
