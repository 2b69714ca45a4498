"""Whoever reads the whole database finds nothing that opens anything (security N9).

Secrets of every kind are made the way people and programs make them; then every value of every row is searched for
them, as it stands and behind the encodings that a row may hide it in.
"""

import base64
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from django.conf import settings as django_settings
from django.contrib.sessions.backends import db as django_sessions
from django.core import mail
from django.db import connection
from django.test import Client
from django.urls import reverse

from accounts.models import Membership, Organization, Overlap, Role, Scope, User
from accounts.models.api_key import OperatorScope
from accounts.services.api_keys import issue_key
from accounts.services.audit_endpoints import add_endpoint, rotate_endpoint_secret
from accounts.services.directory_tokens import LONGEST_LIFE, issue_directory_token
from accounts.services.invitations import invite_member, mail_invitation
from accounts.services.key_rotation import rotate_key
from accounts.services.operator_keys import issue_operator_key
from accounts.services.sso_connections import set_up_sso
from compute.services.ssh_keys import generate_ssh_key
from portal.lib.key_format import KeyKind
from portal.lib.one_time import put_secret
from portal.lib.tenancy import as_platform
from tests.doubles.identity_provider import running_provider
from tests.factories.accounts import make_domain, make_membership, make_organization, make_user
from tests.searching import dump, layers, places_of

pytestmark = pytest.mark.django_db

NOW = datetime.now(UTC)
PASSWORD = "correct horse battery staple"
CLIENT_SECRET = "what the provider gave us, once"
UNGUESSABLE = re.compile(r"[A-Za-z0-9_-]{16,}")


@pytest.fixture(autouse=True)
def real_sessions(settings: Any) -> None:
    settings.SESSION_ENGINE = "portal.lib.sessions"


# --- Making --------------------------------------------------------------------------------------


def make_person(email: str) -> User:
    user = make_user(email, PASSWORD)
    EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=True)
    return user


def sign_in(user: User) -> Client:
    client = Client()
    client.post(reverse("account_login"), {"login": user.email, "password": PASSWORD})
    return client


def cookie_of(client: Client) -> str:
    return client.cookies[django_settings.SESSION_COOKIE_NAME].value


def second_factors(client: Client, user: User) -> dict[str, str]:
    """Turn TOTP on as the page does, and take recovery codes."""
    address = reverse("mfa_activate_totp")
    client.post(reverse("account_reauthenticate"), {"password": PASSWORD})
    page = client.get(address).content.decode()
    [seed] = set(re.findall(r"\b[A-Z2-7]{32}\b", page))
    assert client.session["mfa.totp.secret"] == seed
    waiting = places_of({"TOTP seed on its page": seed})
    counter = next(iter(yield_hotp_counters_from_time()))
    answer = client.post(address, {"code": format_hotp_value(hotp_value(seed, counter))})
    assert answer.status_code == 302
    assert Authenticator.objects.filter(user=user, type="totp").exists()
    assert not waiting
    client.post(reverse("mfa_generate_recovery_codes"))
    recovery = Authenticator.objects.get(user=user, type="recovery_codes")
    codes = {f"recovery code {number}": code for number, code in enumerate(recovery.wrap().get_unused_codes())}
    assert len(codes) == 10
    return {"TOTP seed": seed, "recovery seed": get_adapter().decrypt(recovery.data["seed"]), **codes}


def keys(organization: Organization, owner: User) -> dict[str, str]:
    project = organization.projects.get()

    def issue(kind: KeyKind, *scopes: Scope, is_personal: bool = False) -> Any:
        return issue_key(
            project=project,
            name=kind.value,
            scopes=scopes,
            created_by=owner,
            now=NOW,
            kind=kind,
            is_personal=is_personal,
        )

    live, management = issue(KeyKind.LIVE, Scope.INFERENCE), issue(KeyKind.MANAGEMENT, Scope.KEYS_WRITE)
    with as_platform():
        operator = issue_operator_key(name="scheduler", scopes=[OperatorScope.POOLS_READ], by=None, now=NOW)
    answer = Client().post(
        "/api/v1/keys",
        json.dumps({"name": "made by a program", "scopes": ["inference"]}),
        content_type="application/json",
        headers={"Authorization": f"Bearer {management.secret}", "Idempotency-Key": "once"},
    )
    assert answer.status_code == 201
    return {
        "live key": live.secret,
        "rotated key": rotate_key(api_key=live.api_key, overlap=Overlap.WEEK, now=NOW).secret,
        "personal key": issue(KeyKind.LIVE, Scope.INFERENCE, is_personal=True).secret,
        "management key": management.secret,
        "operator key": operator.secret,
        "key in a kept answer": re.findall(r"hr_live_\w+", answer.content.decode())[0],
    }


def endpoints(organization: Organization) -> dict[str, str]:
    signed = add_endpoint(organization=organization, url="https://log.example.com/", from_start=True, now=NOW)
    rotated = rotate_endpoint_secret(endpoint=signed.endpoint, overlap=Overlap.WEEK, now=NOW)
    secrets = {"former signing secret": signed.secret, "signing secret": rotated.secret}
    # Whoever keeps the bytes of the key keeps the secret.
    return secrets | {f"{name} without its prefix": secret.removeprefix("whsec_") for name, secret in secrets.items()}


def directory_token(owner: Membership) -> str:
    make_domain(owner.organization, "acme.example")
    return issue_directory_token(name="Okta", life=LONGEST_LIFE, by=owner, now=NOW).secret


def invitation(owner: Membership) -> str:
    waiting = invite_member(email="guest@example.com", role=Role.VIEWER, by=owner, now=NOW)
    assert mail_invitation(invitation_id=waiting.pk, now=NOW)
    [token] = re.findall(r"/invitations/([^/\s]+)/", str(mail.outbox[-1].body))
    return str(token)


def single_sign_on(owner: Membership) -> dict[str, str]:
    """Connect a provider, begin to sign in through it and with GitHub; return the client's secret and what waits."""
    with running_provider() as provider:
        set_up_sso(
            issuer=provider.issuer,
            client_id=provider.client_id,
            client_secret=CLIENT_SECRET,
            default_role=Role.VIEWER,
            by=owner,
            now=NOW,
        )
        through, github = Client(), Client()
        assert through.post(f"/sso/{owner.organization.slug}/").status_code == 200
    assert github.post("/sign-in-with/github/").status_code == 200
    waiting = {text for client in (through, github) for text in _texts_in(dict(client.session.items()))}
    # A public id names the connection, and opens nothing.
    unguessable = {text for text in waiting if UNGUESSABLE.fullmatch(text) and not text.startswith("sso_")}
    secrets = {f"of a sign-in that began: {text}": text for text in unguessable}
    # State, nonce and verifier of the one, and at least the state of the other.
    assert len(secrets) >= 4
    return secrets | {"client secret of an identity provider": CLIENT_SECRET}


def _texts_in(found: Any) -> Iterator[str]:
    """Yield every text in nested dictionaries and lists, names too."""
    if isinstance(found, str):
        yield found
    elif isinstance(found, dict):
        for name, value in found.items():
            yield from _texts_in(name)
            yield from _texts_in(value)
    elif isinstance(found, list | tuple):
        for value in found:
            yield from _texts_in(value)


# --- The tests -----------------------------------------------------------------------------------


@pytest.mark.asvs("11.4.2")
def test_no_secret_is_found_in_the_whole_database():
    user = make_person("ada@example.com")
    organization = make_organization(owner=user)
    client = sign_in(user)
    opening = Client()
    opening.post(reverse("account_request_login_code"), {"email": make_person("bob@example.com").email})
    session = client.session
    put_secret(session, "starter_key", "hr_live_waiting_for_its_page")
    session.save()
    secrets = {
        "password": PASSWORD,
        "session": cookie_of(client),
        "session that waits for a code": cookie_of(opening),
        "secret that waits for its page": "hr_live_waiting_for_its_page",
        "token of an invitation": invitation(organization.memberships.get(user=user)),
        "private SSH key": generate_ssh_key(
            organization=organization, name="laptop", created_by=user, now=NOW
        ).private_key.splitlines()[2],
        **second_factors(client, user),
        **keys(organization, user),
        **endpoints(organization),
        **single_sign_on(organization.memberships.get(user=user)),
        "token of a directory": directory_token(organization.memberships.get(user=user)),
    }
    assert all(len(secret) >= 8 for secret in secrets.values())
    assert client.get("/data/").status_code == 200, "the session still opens"

    assert places_of(secrets) == set()


def test_codes_that_wait_in_a_session_cannot_be_read():
    """Six digits may turn up anywhere, so that nothing of a session is readable is looked at instead."""
    client = Client()
    client.post(reverse("account_request_login_code"), {"email": make_person("ada@example.com").email})
    [code] = re.findall(r"\b\d{6}\b", str(mail.outbox[0].body))
    assert code in json.dumps(dict(client.session.items()))

    stored = [value for place, value in dump() if place == "django_session.session_data"]

    assert len(stored) == 1
    assert all(value.startswith(b"sealed:") for value in stored)
    assert not any(b"account_login" in layer for value in stored for layer in layers(value))


# --- That the search finds -------------------------------------------------------------------------

CANARY = "hr_live_canary0canary0canary0canary0canary0canary0"


def put_in_text(organization: Organization) -> None:
    Organization.objects.filter(pk=organization.pk).update(name=f"named {CANARY}")


def put_in_json(organization: Organization) -> None:
    Authenticator.objects.create(user=make_user(), type="totp", data={"secret": CANARY})


def put_in_bytes(organization: Organization) -> None:
    endpoint = add_endpoint(organization=organization, url="https://a.example.com/", from_start=False, now=NOW).endpoint
    type(endpoint).objects.update(secret=b"\x00" + CANARY.encode() + b"\xff")


def put_in_base64(organization: Organization) -> None:
    packed = base64.urlsafe_b64encode(CANARY.encode()).decode()
    Authenticator.objects.create(user=make_user(), type="totp", data={"secret": packed.rstrip("=")})


def put_in_hex(organization: Organization) -> None:
    Organization.objects.filter(pk=organization.pk).update(name=CANARY.encode().hex())


def put_in_a_session_of_django(organization: Organization) -> None:
    session = django_sessions.SessionStore()
    session["seed"] = CANARY
    session["filling"] = "so that it is worth packing " * 20
    session.save()


@pytest.mark.parametrize(
    "put", [put_in_text, put_in_json, put_in_bytes, put_in_base64, put_in_hex, put_in_a_session_of_django]
)
def test_the_search_finds_what_is_readable(put: Any):
    organization = make_organization()
    assert not places_of({"canary": CANARY})

    put(organization)

    assert {name for name, _place in places_of({"canary": CANARY})} == {"canary"}


def test_the_search_finds_the_row_of_a_session_that_is_called_what_opens_it():
    session = django_sessions.SessionStore()
    session.save()

    assert {place for _, place in places_of({"key": session.session_key or ""})} == {"django_session.session_key"}


def test_the_search_looks_at_every_table():
    make_membership(make_organization())
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        count = cursor.fetchone()[0]
        cursor.execute(
            "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
        )
        assert cursor.fetchone()[0] == count
