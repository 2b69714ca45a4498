"""Everybody who may come along, at every address of the gateway: programs by keys, the console by session (T1)."""

from datetime import UTC, datetime, timedelta

import httpx2 as httpx
from django.conf import settings

from accounts.models import ApiKey, Membership, ProjectRole, Role, Scope, User
from accounts.services.api_keys import issue_key, revoke_key
from accounts.services.members import remove_member
from billing.models import Reservation, UsageEvent
from inference.models import Receipt
from portal.lib.key_format import KeyKind
from tests.browser import session_of
from tests.factories.accounts import (
    lock_behind_sso,
    make_directory_token,
    make_key,
    make_membership,
    make_organization,
    make_project_membership,
    make_sso_identity,
    make_user,
)
from tests.inference.conftest import ServedGateway

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
TOKEN = "t" * 32
ADDRESSES = {
    "/v1/chat/completions": "POST",
    "/v1/completions": "POST",
    "/v1/embeddings": "POST",
    "/v1/responses": "POST",
    "/v1/messages": "POST",
    "/v1/models": "GET",
    "/v1/models/demo-chat": "GET",
    "/o/{slug}/stream/playground": "POST",
}
BODY = {"model": "demo-chat", "prompt": "Hello", "messages": [{"role": "user", "content": "Hello"}], "input": "Hello"}


def people(gateway: ServedGateway, owner: Membership) -> dict[str, tuple[User | None, int]]:
    """Return everybody with what the console's stream answers them."""

    def flagged(**flags: bool) -> User:
        user = make_user()
        User.objects.filter(pk=user.pk).update(**flags)
        return user

    def with_a_part(part: ProjectRole) -> User:
        member = make_membership(gateway.organization, role=Role.VIEWER)
        make_project_membership(member, gateway.project, part)
        return member.user

    left = make_membership(gateway.organization, role=Role.DEVELOPER)
    remove_member(membership=left, by=owner, now=datetime.now(UTC))
    out = make_membership(gateway.organization, role=Role.DEVELOPER).user
    User.objects.filter(pk=out.pk).update(is_active=False)
    stranger = make_user()
    make_organization("Theirs", owner=stranger)
    return {
        "a visitor": (None, 401),
        "somebody deactivated": (out, 401),
        "a stranger": (stranger, 404),
        "a former member": (left.user, 404),
        "staff": (flagged(is_staff=True), 404),
        "a superuser": (flagged(is_staff=True, is_superuser=True), 404),
        "a viewer who leads a project": (with_a_part(ProjectRole.PRINCIPAL_INVESTIGATOR), 403),
        "a viewer who works in a project": (with_a_part(ProjectRole.MEMBER), 403),
        "a member for the money": (make_membership(gateway.organization, role=Role.BILLING).user, 403),
    }


def secrets(gateway: ServedGateway, owner: Membership) -> dict[str, tuple[str, int]]:
    """Return bearers with what /v1 answers them."""
    now = datetime.now(UTC)
    expired, revoked = make_key(gateway.project, now=now), make_key(gateway.project, now=now)
    ApiKey.objects.filter(pk=expired.api_key.pk).update(expires_at=now - timedelta(1))
    revoke_key(api_key=revoked.api_key, now=now)
    managing = issue_key(
        project=gateway.project,
        name="keys",
        scopes=[Scope.KEYS_WRITE],
        created_by=None,
        now=now,
        kind=KeyKind.MANAGEMENT,
    )
    return {
        "an expired key": (expired.secret, 401),
        "a revoked key": (revoked.secret, 401),
        "a key that manages keys": (managing.secret, 401),
        "a directory's token": (make_directory_token(owner, now=now).secret, 401),
        "a key without the scope": (make_key(gateway.project, scopes=(Scope.USAGE_READ,), now=now).secret, 403),
    }


def test_nobody_gets_past_the_gateway_s_doors(gateway: ServedGateway):
    owner = Membership.objects.get(organization=gateway.organization, user=gateway.owner)
    sessions, keys = people(gateway, owner), secrets(gateway, owner)
    barred = make_membership(gateway.organization, role=Role.DEVELOPER)
    cookies = {who: (session_of(user) if user else "", status) for who, (user, status) in sessions.items()}
    cookies["the owner of a key"] = (session_of(gateway.owner), 401)
    barred_cookie = session_of(barred.user)
    gateway.start()
    wrong: list[str] = []

    with httpx.Client(base_url=gateway.url, timeout=30) as client:

        def ask(who: str, address: str, wanted: int, allowed: str, **headers: str) -> None:
            lines = {"host": "localhost", "x-csrftoken": TOKEN, **headers}
            for method in METHODS:
                where = address.format(slug=gateway.organization.slug)
                answer = client.request(method, where, json=BODY, headers=lines)
                expected = {wanted} if method == allowed else {404, 405}
                if answer.status_code not in expected:
                    wrong.append(f"{who}: {method} {address} answered {answer.status_code}")

        for address, method in ADDRESSES.items():
            is_stream = "{slug}" in address
            for who, (secret, status) in keys.items():
                # A key opens no page: whoever only has one is a visitor there.
                ask(who, address, 401 if is_stream else status, method, authorization=f"Bearer {secret}")
            for who, (session, status) in cookies.items():
                if is_stream and who == "the owner of a key":
                    continue
                cookie = f"{settings.CSRF_COOKIE_NAME}={TOKEN}; {settings.SESSION_COOKIE_NAME}={session}"
                # And a session opens nothing of programs.
                ask(who, address, status if is_stream else 401, method, cookie=cookie)

        make_sso_identity(lock_behind_sso(owner), barred, "u-2")
        cookie = f"{settings.CSRF_COOKIE_NAME}={TOKEN}; {settings.SESSION_COOKIE_NAME}={barred_cookie}"
        ask("who has to come through single sign-on", "/o/{slug}/stream/playground", 403, "POST", cookie=cookie)
    gateway.stop()

    assert not wrong
    assert not Receipt.objects.exists()
    assert not UsageEvent.objects.exists()
    assert not Reservation.objects.exists()
