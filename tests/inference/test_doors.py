"""Keys at the door: what the database hears of, how fast a change is felt, and what is noted."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import httpx2 as httpx
import pytest
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import ApiKey, Project
from accounts.services.api_keys import revoke_key
from billing.models import UsageEvent
from dev.services import free_port
from inference.models import Receipt
from portal.lib.tenancy import GATEWAY_ALIAS
from tests.factories.accounts import make_key, make_organization
from tests.inference.conftest import ServedGateway, wait_until

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
