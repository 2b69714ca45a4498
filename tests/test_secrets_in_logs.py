"""Secrets that come with a request stay out of logs, rows, cache and mails, wherever they were put (security G6).

Five kinds of secret, each in a header, in the address, in the body and in a request that fails on our side, at the
portal and at the gateway. Each place has a secret of its own, so that what is found says where it came in.
"""

import base64
import io
import json
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

import httpx2 as httpx
import pytest
import redis
from django.conf import settings as django_settings
from django.core import mail
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from django.utils.crypto import get_random_string

from accounts.models.invitation import new_invitation_token
from dev.paths import ROOT
from portal import urls
from portal.lib.key_format import KeyKind, new_secret
from portal.lib.public_ids import accepted_request_id
from portal.lib.webhook_signing import new_signing_secret
from tests.factories.accounts import make_key, make_organization, make_user
from tests.inference.conftest import (  # noqa: F401  # fixtures
    DemoUpstreamProcess,
    ServedGateway,
    gateway,
    shared_upstream,
)
from tests.logged import logged, read
from tests.own_database import SUPERUSER, OwnDatabase
from tests.searching import packed, places_of

PLACES = ["header", "address", "body", "failure"]


# --- What comes in --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Carried:
    """A secret and the ways in which a request carries one of its kind."""

    secret: str
    headers: Mapping[str, str]
    # As part of a path, and in a query or a form.
    parts: tuple[str, ...]
    field: tuple[str, str]


def api_key(secret: str = "") -> Carried:
    secret = secret or new_secret("hr", KeyKind.LIVE)
    headers = {"authorization": f"Bearer {secret}", "x-api-key": secret, "x-request-id": secret, "user-agent": secret}
    return Carried(secret, headers, (f"keys/{secret}", secret), ("key", secret))


def signing_secret() -> Carried:
    secret = new_signing_secret()
    return Carried(secret, {"x-signing-secret": secret, "referer": secret}, (quote(secret, ""),), ("secret", secret))


def credentials() -> Carried:
    password = secrets.token_hex(16)
    basic = base64.b64encode(f"ada:{password}".encode()).decode()
    headers = {"authorization": f"Basic {basic}", "proxy-authorization": f"Bearer {password}"}
    return Carried(password, headers, (quote(f"Bearer {password}"),), ("password", password))


def session_cookie() -> Carried:
    key = get_random_string(32, "abcdefghijklmnopqrstuvwxyz0123456789")
    name = django_settings.SESSION_COOKIE_NAME
    return Carried(key, {"cookie": f"{name}={key}; __Host-{name}={key}"}, (f"session={key}",), ("session", key))


def invitation() -> Carried:
    token = new_invitation_token()
    page = f"/invitations/{token}/"
    return Carried(token, {"referer": f"https://portal.example{page}"}, (page[1:], page[1:-1]), ("next", page))


KINDS = {
    "API key": api_key,
    "signing secret": signing_secret,
    "credentials": credentials,
    "session cookie": session_cookie,
    "invitation": invitation,
}


def all_cases() -> dict[str, Carried]:
    cases = {f"{kind} in {place}": make() for kind, make in KINDS.items() for place in PLACES}
    assert len(cases) == 20
    return cases


# --- What is kept ---------------------------------------------------------------------------------


def cached(url: str) -> Iterator[tuple[str, bytes]]:
    with redis.Redis.from_url(url) as store:
        for key in store.scan_iter():
            yield "cache", key + b" " + (store.get(key) or b"" if store.type(key) == b"string" else store.dump(key))


def leaks(cases: Mapping[str, Carried], logs: list[io.StringIO], *, cache: str) -> set[tuple[str, str]]:
    """Return which secret is found where."""
    wanted = {name: case.secret for name, case in cases.items()}
    lines = [("log", line.encode()) for log in logs for line in log.getvalue().splitlines()]
    mails = [("mail", message.message().as_bytes()) for message in mail.outbox]
    kept = [*lines, *mails, *cached(cache)]
    behind_base64 = {
        (name, place)
        for name, secret in wanted.items()
        for place, value in kept
        for code in packed(secret)
        if code in value
    }
    return places_of(wanted) | places_of(wanted, kept) | behind_base64


# --- The portal -----------------------------------------------------------------------------------


def fail(request: HttpRequest, **parts: str) -> HttpResponse:
    """Fail with all that was asked in the words of the failure, as the worst of libraries would."""
    asked = f"{request.get_full_path()} {request.headers} {request.COOKIES} {request.body!r}"
    raise RuntimeError(f"{asked} {json.dumps(request.POST.dict())}")


urlpatterns = [
    path("failure/<path:rest>", fail),
    path("invitations/<str:token>/failure", fail),
    *urls.urlpatterns,
]
handler403, handler404, handler500 = urls.handler403, urls.handler404, urls.handler500


def in_headers(client: Client, case: Carried, organization: str) -> None:
    for address in ("/", "/data/", "/api/v1/keys", "/scim/v2/Users", "/nowhere/", f"/o/{organization}/"):
        client.get(address, headers=case.headers)
    client.post("/api/v1/keys", "{", content_type="application/json", headers=case.headers)


def in_address(client: Client, case: Carried, organization: str) -> None:
    starts = ("/", "/api/v1/", "/scim/v2/Users/", "/models/", f"/o/{organization}/keys/", "/accounts/login/")
    for address in (f"{start}{part}" for start in starts for part in case.parts):
        client.get(address)
    for address in ("/", "/accounts/login/", "/api/v1/keys", f"/o/{organization}/"):
        client.get(f"{address}?{urlencode([case.field])}")


def in_body(client: Client, case: Carried, organization: str) -> None:
    name, value = case.field
    form = {name: value, "login": "ada@example.com", "password": value, "email": value, "code": value}
    for address in ("/accounts/login/", "/accounts/login/code/", "/accounts/password/reset/", "/sign-in/"):
        client.post(address, form)
    for body in (json.dumps({name: value, "name": [value], "scopes": [value]}), f'{{"{value}'):
        for address in ("/api/v1/keys", "/scim/v2/Users", "/accounts/login/"):
            client.post(address, body, content_type="application/json")


def in_failure(client: Client, case: Carried, organization: str) -> None:
    name, value = case.field
    for part in case.parts:
        address = f"/failure/{part}?{urlencode([case.field])}"
        assert client.post(address, {name: value}, headers=case.headers).status_code == 500
        body = json.dumps({name: value})
        assert client.put(address, body, "application/json", headers=case.headers).status_code == 500
        if part.startswith("invitations"):
            assert client.get(f"/{part.rstrip('/')}/failure").status_code == 500


ASK_PORTAL = {"header": in_headers, "address": in_address, "body": in_body, "failure": in_failure}


@pytest.mark.asvs("16.2.5")
@pytest.mark.asvs("16.3.4")
@pytest.mark.django_db
@pytest.mark.urls("tests.test_secrets_in_logs")
def test_no_secret_of_a_request_is_kept_by_the_portal(settings: Any):
    settings.SESSION_ENGINE = "portal.lib.sessions"
    owner = make_user("owner@example.com")
    organization = make_organization(owner=owner)
    issued = make_key(organization.projects.get(), now=datetime.now(UTC))
    cases = all_cases() | {"API key that opens in header": api_key(issued.secret)}

    with logged() as for_machines, logged(as_json=False) as for_people:
        for name, case in cases.items():
            # A new one each time: a session that was given is not kept, one that waits for its page is.
            ASK_PORTAL[name.rpartition(" ")[2]](Client(raise_request_exception=False), case, organization.slug)

    assert leaks(cases, [for_machines, for_people], cache=django_settings.REDIS_URL) == set()
    lines = read(for_machines)
    assert {line["event"] for line in lines} > {"portal.request"}
    assert sum("exception" in line for line in lines) >= 2 * len(KINDS)
    assert "***" in for_people.getvalue()


# --- The gateway ----------------------------------------------------------------------------------


def ask_gateway(place: str, case: Carried, url: str, organization: str) -> None:
    """Ask in every way that the gateway serves. For `failure` tables are gone, so that it fails where it looks."""
    name, value = case.field
    stream = f"/o/{organization}/stream/playground"
    headers = dict(case.headers) if place in ("header", "failure") else {}
    parts = case.parts if place in ("address", "failure") else ("",)
    body = {name: value, "user": value, "model": value} if place in ("body", "failure") else {"model": "demo-chat"}
    with httpx.Client(base_url=url, headers=headers) as client:
        for part in parts:
            client.get(f"/v1/models/{part}?{urlencode({name: value})}")
            client.get(f"/v1/{part}")
        for content in (json.dumps(body), json.dumps(body)[:-1]):
            for path in ("/v1/chat/completions", "/v1/responses", "/v1/messages"):
                client.post(path, content=content)
            client.post(stream, content=content)


@pytest.mark.asvs("16.2.5")
@pytest.mark.parametrize("fails", [False, True], ids=["served", "failing"])
def test_no_secret_of_a_request_is_kept_by_the_gateway(
    gateway: ServedGateway,  # noqa: F811
    own_database: OwnDatabase,
    fails: bool,
):
    keys = {place: make_key(gateway.project, now=datetime.now(UTC)).secret for place in PLACES}
    cases = all_cases() | {f"API key that opens in {place}": api_key(secret) for place, secret in keys.items()}
    asked = {name: case for name, case in cases.items() if (name.endswith("failure")) == fails}
    gateway.start()
    if fails:
        with own_database.connect(SUPERUSER) as connection:
            connection.execute("ALTER TABLE accounts_apikey RENAME TO gone")
            connection.execute("ALTER TABLE django_session RENAME TO gone_too")

    with logged() as for_machines, logged(as_json=False) as for_people:
        for name, case in asked.items():
            ask_gateway(name.rpartition(" ")[2], case, gateway.url, gateway.organization.slug)
        gateway.stop()

    cache = own_database.valkey.url(own_database.redis_database)
    assert leaks(cases, [for_machines, for_people], cache=cache) == set()
    lines = read(for_machines)
    assert {line["status"] for line in lines if line["event"] == "inference.request"} >= (
        {500} if fails else {404, 401}
    )
    assert any(line["event"] == "inference.request_failed" for line in lines) == fails


# --- Servers --------------------------------------------------------------------------------------

SERVERS = """
import logging.config, sys, granian.log, uvicorn.config
from portal.logs import logging_config
for theirs in (uvicorn.config.LOGGING_CONFIG, granian.log.LOGGING_CONFIG, logging_config(as_json=True)):
    logging.config.dictConfig(theirs)
for name in ("uvicorn.error", "_granian"):
    try:
        raise RuntimeError(sys.argv[1])
    except RuntimeError:
        logging.getLogger(name).exception("in the application")
"""


def test_what_servers_log_of_a_failure_is_masked_too():
    """They configure their loggers before the portal's settings are read."""
    secret = new_secret("hr", KeyKind.LIVE)

    done = subprocess.run([sys.executable, "-c", SERVERS, secret], cwd=ROOT, check=True, capture_output=True, text=True)

    lines = [json.loads(line) for line in (done.stdout + done.stderr).splitlines()]
    assert [line["logger"] for line in lines] == ["uvicorn.error", "_granian"]
    assert all("RuntimeError: hr_live_***" in line["exception"] for line in lines)
    assert secret not in done.stdout + done.stderr


# --- That the search finds ------------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.parametrize("kind", KINDS)
def test_the_search_finds_what_is_in_a_log_in_clear_and_in_base64(kind: str):
    case = KINDS[kind]()
    for text in (
        f"x {case.secret} y",
        base64.b64encode(case.secret.encode()).decode(),
        f"in {base64.b64encode(b'a:' + case.secret.encode() + b'!').decode()}",
    ):
        assert leaks({kind: case}, [io.StringIO(f"first\n{text}\n")], cache=django_settings.REDIS_URL) == {
            (kind, "log")
        }


def test_an_id_of_a_request_that_is_a_key_is_not_taken_over():
    assert accepted_request_id("a-trace-of-my-own") == "a-trace-of-my-own"
    assert accepted_request_id(new_secret("hr", KeyKind.LIVE)) is None
