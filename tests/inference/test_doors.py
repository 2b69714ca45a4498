"""Keys at the door: what the database hears of, how fast a change is felt, and what is noted."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest
from django.conf import settings
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import ApiKey, Overlap, Project, RetiredSecret
from accounts.services.api_keys import KeyLimits, change_key, revoke_key
from accounts.services.key_rotation import rotate_key
from billing.models import UsageEvent
from dev.services import free_port
from inference.gateway.app import LOOK_SECONDS
from inference.gateway.keys import _load_caller
from inference.models import Receipt
from portal.lib.key_format import KeyKind, digest_of, kind_of
from portal.lib.tenancy import GATEWAY_ALIAS
from tests.factories.accounts import make_key, make_organization
from tests.inference.conftest import ROOT, ServedGateway, wait_until
from tests.mutants import SENT_MUTANTS, UNKNOWN, fits_a_header, mutants, unknown_keys
from tests.own_database import OwnDatabase

# Those that the gateway takes.
KINDS = (KeyKind.LIVE, KeyKind.TEST)
BODY = {"model": "demo-chat", "messages": [{"role": "user", "content": "Hello there"}], "max_tokens": 5}


def malformed(secret: str) -> list[str]:
    typo = secret[:-1] + ("a" if secret[-1] != "a" else "b")
    return ["x", typo, secret.lower(), secret + "0", secret.replace("_live_", "_mgmt_"), "hr_live_", "é" * 48]


@contextmanager
def gateway_without_database() -> Iterator[None]:
    """Point the gateway's role at a port where nobody listens."""
    before = connections.settings[GATEWAY_ALIAS]
    connections.settings[GATEWAY_ALIAS] = before | {"PORT": free_port(), "HOST": "127.0.0.1"}
    try:
        yield
    finally:
        connections.settings[GATEWAY_ALIAS] = before


@pytest.mark.asvs("16.5.3")
def test_refuses_a_malformed_key_without_a_database(gateway: ServedGateway):
    with gateway_without_database():
        gateway.start()
        refused = [
            httpx.get(f"{gateway.url}/v1/models", headers={b"authorization": b"Bearer " + secret.encode()})
            for secret in malformed(gateway.key.secret)
        ]
        whole = httpx.get(f"{gateway.url}/v1/models", headers={"authorization": f"Bearer {gateway.key.secret}"})
        gateway.stop()

    assert {(answer.status_code, answer.json()["error"]["code"]) for answer in refused} == {(401, "invalid_api_key")}
    # Proof that there was no database to ask.
    assert (whole.status_code, whole.headers["retry-after"]) == (503, "1")


@pytest.mark.asvs("6.3.1")
def test_no_mutated_key_reaches_the_database(gateway: ServedGateway):
    secret = gateway.key.secret
    fit = [one for one in mutants(secret, SENT_MUTANTS) if fits_a_header(one)]
    # Well-formed ones of kinds that are no gateway's are told without asking, too.
    fit += unknown_keys(("mgmt", "op", "scim"), UNKNOWN)
    with gateway_without_database():
        gateway.start()
        with httpx.Client(base_url=gateway.url) as client:
            answers = {ask_with(client, mutant) for mutant in fit if kind_of(mutant, "hr") not in KINDS}
            assert ask_with(client, secret)[0] == 503
        gateway.stop()

    # One answer for all of them, and no database that could have been asked.
    assert {status for status, _ in answers} == {401}
    assert len(answers) == 1


@pytest.mark.asvs("6.3.1")
def test_a_key_that_nobody_has_is_answered_like_a_malformed_one(gateway: ServedGateway):
    gateway.start()
    with httpx.Client(base_url=gateway.url) as client:
        answers = {ask_with(client, secret) for secret in unknown_keys(KINDS, UNKNOWN)}
        assert ask_with(client, gateway.key.secret)[0] == 200
        assert answers == {ask_with(client, "malformed")}

    [(status, _)] = answers
    assert status == 401


@pytest.mark.django_db
def test_the_gateway_asks_once_about_a_key():
    key = make_key(make_organization().projects.get(), now=datetime.now(UTC))
    former, current = key.secret, rotate_key(api_key=key.api_key, overlap=Overlap.DAY, now=datetime.now(UTC)).secret
    opens = {former: True, current: True} | dict.fromkeys(unknown_keys(KINDS, 20), False)

    for secret, is_known in opens.items():
        with CaptureQueriesContext(connection) as queries:
            caller = _load_caller(digest_of(secret, settings.API_KEY_PEPPER))
        assert (caller is not None, len(queries)) == (is_known, 1)


def ask_with(client: httpx.Client, secret: str) -> tuple[int, bytes]:
    answer = client.get("/v1/models", headers={b"authorization": b"Bearer " + secret.encode()})
    return answer.status_code, answer.content


@pytest.mark.django_db
def test_asks_no_database_about_a_malformed_key_on_the_api(client: Client):
    project: Project = make_organization().projects.in_order()[0]
    secret = make_key(project, now=datetime.now(UTC)).secret

    def asked_about(secret: str) -> tuple[int, list[str]]:
        with CaptureQueriesContext(connection) as queries:
            answer = client.get("/api/v1/keys", headers={"authorization": f"Bearer {secret}"})
        # Less what the suite itself does to serve the request as the app's role.
        own = ("SET ROLE", "SELECT current_user", "SELECT set_config('app.organization_id', ''")
        transactions = ("SAVEPOINT", "RELEASE SAVEPOINT", "ROLLBACK TO SAVEPOINT")
        return answer.status_code, [
            query["sql"] for query in queries if not query["sql"].startswith(own + transactions)
        ]

    assert [asked_about(each) for each in malformed(secret)] == [(401, [])] * len(malformed(secret))
    assert asked_about(secret)[1]


def test_revokes_within_a_second_while_requests_run(gateway: ServedGateway):
    gateway.start()
    headers = {"authorization": f"Bearer {gateway.key.secret}"}
    with httpx.Client(base_url=gateway.url, headers=headers) as client:
        assert client.get("/v1/models").status_code == 200

        revoke_key(api_key=gateway.key.api_key, now=datetime.now(UTC))
        revoked = time.monotonic()
        accepted_last = revoked
        while time.monotonic() < revoked + 1.5:
            if client.get("/v1/models").status_code == 200:
                accepted_last = time.monotonic()
            time.sleep(0.02)

    assert accepted_last - revoked < 1


def test_lets_a_key_in_from_its_addresses_only(gateway: ServedGateway, settings):
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = 1
    ApiKey.objects.update(allowed_addresses=["203.0.113.0/24", "2001:db8::/32"])
    gateway.start()
    bearer = (b"authorization", b"Bearer " + gateway.key.secret.encode())

    def ask(*forwarded: str) -> tuple[int, str | None]:
        headers = [bearer, *((b"x-forwarded-for", address.encode()) for address in forwarded)]
        answer = httpx.get(f"{gateway.url}/v1/models", headers=headers)
        return answer.status_code, answer.json().get("error", {}).get("code")

    assert ask("203.0.113.7") == ask("192.0.2.1, 203.0.113.7") == ask("2001:db8::1") == (200, None)
    refused = (403, "address_not_allowed")
    # What stands further left, or in a header before, anybody may have written.
    assert ask("192.0.2.1") == ask("203.0.113.7, 192.0.2.1") == ask("203.0.113.7", "192.0.2.1") == refused
    # 127.0.0.1 itself; and nobody.
    assert ask() == ask("unknown") == refused


@pytest.mark.asvs("4.1.3")
def test_does_not_listen_to_proxies_that_it_has_none_of(gateway: ServedGateway):
    ApiKey.objects.update(allowed_addresses=["203.0.113.0/24"])
    gateway.start()
    headers = {"authorization": f"Bearer {gateway.key.secret}", "x-forwarded-for": "203.0.113.7"}

    answer = httpx.post(f"{gateway.url}/v1/chat/completions", json=BODY, headers=headers)

    assert (answer.status_code, answer.json()["error"]) == (
        403,
        {
            "message": "This key may not be used from this address.",
            "type": "permission_error",
            "param": None,
            "code": "address_not_allowed",
        },
    )
    assert not Receipt.objects.exists()


def test_notes_the_last_use_of_a_key_at_most_once_a_minute(gateway: ServedGateway, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("inference.gateway.app.NOTE_SECONDS", 0.1)
    gateway.start()
    headers = {"authorization": f"Bearer {gateway.key.secret}"}

    def last_use() -> datetime | None:
        return ApiKey.objects.get(pk=gateway.key.api_key.pk).last_used_at

    assert last_use() is None
    httpx.get(f"{gateway.url}/v1/models", headers=headers)
    wait_until(lambda: last_use() is not None)
    noted = last_use()
    key = ApiKey.objects.get(pk=gateway.key.api_key.pk)
    assert (key.last_used_address, key.last_used_agent[:14]) == ("127.0.0.1", "python-httpx2/"[:14])
    httpx.get(f"{gateway.url}/v1/models", headers=headers)
    time.sleep(0.5)

    assert last_use() == noted


def test_notes_a_use_when_it_stops(gateway: ServedGateway):
    gateway.start()
    httpx.get(f"{gateway.url}/v1/models", headers={"authorization": f"Bearer {gateway.key.secret}"})

    gateway.stop()

    assert ApiKey.objects.get(pk=gateway.key.api_key.pk).last_used_at is not None


def test_repeats_a_request_id_that_is_fit_and_bills_every_request_that_carries_it(gateway: ServedGateway):
    gateway.start()
    headers = {"authorization": f"Bearer {gateway.key.secret}"}

    def ask(given: str) -> httpx.Response:
        url = f"{gateway.url}/v1/chat/completions"
        return httpx.post(url, json=BODY, headers=headers | {"x-request-id": given})

    answers = [ask("trace-0123456789") for _ in range(2)]
    unfit = ask("short")
    gateway.stop()

    assert [answer.headers["x-request-id"] for answer in answers] == ["trace-0123456789"] * 2
    assert unfit.headers["x-request-id"] == unfit.headers["x-receipt-id"]
    receipts = {answer.headers["x-receipt-id"] for answer in [*answers, unfit]}
    assert receipts == set(Receipt.objects.values_list("request_id", flat=True))
    assert len(receipts) == 3
    assert UsageEvent.objects.count() == 6


@pytest.mark.parametrize("path", ["completions", "chat/completions", "embeddings"])
def test_calls_nesting_without_end_bad_json(gateway: ServedGateway, path: str):
    gateway.start()

    answer = httpx.post(
        f"{gateway.url}/v1/{path}",
        content=b'{"model": "demo-chat", "messages": [{"content": "x"}], "stop": ' + b"[" * 200_000,
        headers={"authorization": f"Bearer {gateway.key.secret}"},
    )

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")


# --- Several processes -----------------------------------------------------------------------------

PROCESSES = 4


@contextmanager
def gateway_processes(own: OwnDatabase, count: int = PROCESSES) -> Iterator[list[str]]:
    """Run the portal's own entry in several processes on one database; yields their addresses."""
    ports = [free_port() for _ in range(count)]
    environment = {**os.environ, **own.environment, "DJANGO_SETTINGS_MODULE": "tests.process_settings"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "portal.asgi:application", "--no-proxy-headers", "--port", str(port)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for port in ports
    ]
    try:
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        for url in urls:
            wait_until(partial(answers, url), seconds=60)
        yield urls
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(30)


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", timeout=1).status_code == 200
    except httpx.TransportError:
        return False


def refuse_everywhere(urls: list[str], secret: str, act: Callable[[], object]) -> None:
    """Use a secret on every process, do something, and wait until none takes it any more.

    That this is within a second follows from how often each process looks (LOOK_SECONDS).
    """
    headers = {"authorization": f"Bearer {secret}"}
    with ExitStack() as clients:
        opened = [clients.enter_context(httpx.Client(base_url=url, headers=headers)) for url in urls]

        def statuses() -> set[int]:
            return {client.get("/v1/models").status_code for client in opened}

        assert statuses() == {200}
        act()
        wait_until(lambda: statuses() == {401})


def test_processes_look_for_changes_twice_in_a_second():
    assert LOOK_SECONDS <= 0.5


@pytest.mark.processes
@pytest.mark.asvs("8.3.2")
def test_what_changes_of_a_key_holds_on_every_process(gateway: ServedGateway, own_database: OwnDatabase):
    key = gateway.key.api_key
    with gateway_processes(own_database) as urls:

        def statuses(secret: str) -> set[int]:
            headers = {"authorization": f"Bearer {secret}"}
            return {httpx.get(f"{url}/v1/models", headers=headers).status_code for url in urls}

        def rotate(overlap: Overlap) -> str:
            return rotate_key(api_key=key, overlap=overlap, now=datetime.now(UTC)).secret

        second = rotate(Overlap.HOUR)
        assert statuses(gateway.key.secret) == statuses(second) == {200}

        secrets: list[str] = []
        refuse_everywhere(urls, gateway.key.secret, lambda: secrets.append(rotate(Overlap.NONE)))
        assert (statuses(second), statuses(secrets[0])) == ({401}, {200})

        change = partial(change_key, api_key=key, name="here", now=datetime.now(UTC))
        change(limits=KeyLimits(allowed_addresses=["203.0.113.0/24"]))
        wait_until(lambda: statuses(secrets[0]) == {403})
        change(limits=KeyLimits(), now=datetime.now(UTC))
        wait_until(lambda: statuses(secrets[0]) == {200})

        former, present = secrets[0], rotate(Overlap.DAY)
        assert statuses(present) == {200}
        refuse_everywhere(urls, former, lambda: revoke_key(api_key=key, now=datetime.now(UTC)))
        assert statuses(present) == {401}
        # What ended within the gateway ended on the pages' side of the same processes too.
        headers = {"authorization": f"Bearer {former}"}
        assert {httpx.get(f"{url}/api/v1/projects", headers=headers).status_code for url in urls} == {401}


def test_a_key_that_ends_while_a_body_is_on_its_way_opens_nothing(gateway: ServedGateway):
    gateway.start()
    secret, where = gateway.key.secret, urlsplit(gateway.url)
    body = json.dumps(BODY).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {where.netloc}\r\nAuthorization: Bearer {secret}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode()
    with socket.create_connection((where.hostname, where.port), timeout=30) as connection:
        connection.sendall(head + body[:10])
        # Known by now: this one came over the same door later.
        assert httpx.get(f"{gateway.url}/v1/models", headers={"authorization": f"Bearer {secret}"}).status_code == 200
        revoke_key(api_key=gateway.key.api_key, now=datetime.now(UTC))
        headers = {"authorization": f"Bearer {secret}"}
        wait_until(lambda: httpx.get(f"{gateway.url}/v1/models", headers=headers).status_code == 401)

        connection.sendall(body[10:])
        answer = b"".join(iter(lambda: connection.recv(65536), b""))

    assert answer.startswith(b"HTTP/1.1 401"), answer[:200]
    assert not Receipt.objects.exists()


def test_a_former_secret_ends_at_its_second_without_anybody_saying_so(gateway: ServedGateway):
    rotated = rotate_key(api_key=gateway.key.api_key, overlap=Overlap.HOUR, now=datetime.now(UTC))
    until = datetime.now(UTC) + timedelta(seconds=2)
    RetiredSecret.objects.update(valid_until=until)
    gateway.start()

    def status(secret: str) -> int:
        return httpx.get(f"{gateway.url}/v1/models", headers={"authorization": f"Bearer {secret}"}).status_code

    assert (status(gateway.key.secret), status(rotated.secret)) == (200, 200)
    wait_until(lambda: datetime.now(UTC) > until)
    assert (status(gateway.key.secret), status(rotated.secret)) == (401, 200)
