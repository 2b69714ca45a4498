"""P1 and P6 at the gateway: a cap is a cap, and a retry never bills twice."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import httpx2 as httpx
import openai
import pytest

from billing.models import Reservation, UsageByHour, UsageEvent, WriteOff
from billing.services.limits import Payer
from billing.services.reservations import release, reserve
from inference.models import IdempotencyClaim, Receipt
from inference.services.claims import IdempotentRequest, claim_request
from tests.inference.conftest import ServedGateway, wait_until

HELLO = [{"role": "user", "content": "Hello there"}]
BODY = {"model": "demo-chat", "messages": HELLO, "max_tokens": 10}


def post(gateway: ServedGateway, body: dict[str, object] = BODY, key: str = "") -> httpx.Response:
    headers = {"authorization": f"Bearer {gateway.key.secret}"} | ({"idempotency-key": key} if key else {})
    return httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers, timeout=30)


@pytest.mark.asvs("2.3.2")
def test_refuses_with_402_when_the_credit_is_used_up(gateway: ServedGateway):
    gateway.set_cap(1_000)  # a token costs a thousand nano-dollars
    gateway.start()

    with pytest.raises(openai.APIStatusError) as refused:
        gateway.client().chat.completions.create(**BODY)

    error = refused.value.response.json()["error"]
    assert refused.value.status_code == 402
    assert (error["type"], error["code"]) == ("insufficient_quota", "budget_exceeded")
    assert (error["scope"], error["limit"], error["resets_at"]) == ("organization", "0.000001", None)
    gateway.stop()
    assert not Receipt.objects.exists()
    assert (gateway.cap.settled_nano, gateway.cap.reserved_nano) == (0, 0)


@pytest.mark.asvs("2.3.4")
def test_never_exceeds_the_cap_whatever_runs_at_once(gateway: ServedGateway):
    # Room for the worst case of a few requests at a time, and for some twenty real ones in all.
    limit_nano = 1_500_000
    gateway.set_cap(limit_nano)
    gateway.faulty_model("slow", "delay=50", gateway.deployment.base_url)
    gateway.start()

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: post(gateway, {**BODY, "model": "slow", "max_tokens": 40}), range(50)))

    assert {answer.status_code for answer in answers} == {200, 402}
    gateway.stop()
    served = [answer for answer in answers if answer.status_code == 200]
    assert Receipt.objects.count() == len(served)
    assert gateway.cap.settled_nano == sum(bucket.amount_nano for bucket in UsageByHour.objects.all())
    assert gateway.cap.settled_nano <= limit_nano
    assert gateway.cap.reserved_nano == 0
    assert not WriteOff.objects.exists()
    receipts = sum((receipt.cost_usd for receipt in Receipt.objects.all()), Decimal(0))
    assert receipts == Decimal(gateway.cap.settled_nano).scaleb(-9)


def test_spends_the_last_of_the_credit_in_single_requests(gateway: ServedGateway):
    # The worst case is about 390 tokens, the real one 14: the cap serves until less than a worst case is left.
    gateway.set_cap(600_000)
    gateway.start()

    statuses = [post(gateway).status_code for _ in range(40)]

    refused_from = statuses.index(402)
    assert set(statuses[:refused_from]) == {200}
    assert set(statuses[refused_from:]) == {402}
    gateway.stop()
    worst_case_nano = 600_000 - gateway.cap.settled_nano
    assert worst_case_nano < 400_000


def test_gives_an_idle_lease_back(gateway: ServedGateway):
    gateway.start()
    post(gateway)
    assert gateway.cap.reserved_nano > 0

    wait_until(lambda: gateway.cap.reserved_nano == 0)

    assert not Reservation.objects.held().exists()


def lease_of_another_process(gateway: ServedGateway, *, amount_nano: int, seconds: float) -> Reservation:
    now = datetime.now(UTC)
    return reserve(
        payer=Payer(gateway.organization.pk, gateway.project.pk),
        purpose=Reservation.Purpose.GATEWAY_LEASE,
        holder="another process",
        amount_nano=amount_nano,
        now=now,
        expires_at=now + timedelta(seconds=seconds),
    )


def test_refuses_as_long_as_another_process_keeps_what_it_holds(gateway: ServedGateway):
    """In which order it looks, waits and refuses: test_budget.py."""
    gateway.set_cap(600_000)
    other = lease_of_another_process(gateway, amount_nano=500_000, seconds=30)
    gateway.start()

    assert [post(gateway).status_code for _ in range(3)] == [402] * 3
    assert gateway.cap.reserved_nano == 500_000

    release(reservation_id=other.pk, now=datetime.now(UTC))
    assert post(gateway).status_code == 200


def test_keeps_a_lease_while_a_request_runs_longer_than_it_lives(gateway: ServedGateway, monkeypatch):
    monkeypatch.setattr("inference.gateway.budget.LEASE_SECONDS", 3)
    monkeypatch.setattr("inference.gateway.budget.RENEW_BELOW_SECONDS", 2.5)
    gateway.faulty_model("slow", "delay=4500", gateway.deployment.base_url)
    gateway.start()

    assert post(gateway, {**BODY, "model": "slow"}).status_code == 200

    gateway.stop()
    reservation = Reservation.objects.get()
    assert reservation.expires_at - reservation.created_at > timedelta(seconds=4)
    assert gateway.cap.settled_nano > 0


def test_replays_the_receipt_of_a_repeated_request_and_bills_once(gateway: ServedGateway):
    gateway.start()
    first = post(gateway, key="order-1")
    wait_until(Receipt.objects.exists)

    again = post(gateway, key="order-1")
    streamed = post(gateway, {**BODY, "stream": True}, key="order-2")
    wait_until(lambda: Receipt.objects.count() == 2)
    streamed_again = post(gateway, {**BODY, "stream": True}, key="order-2")

    assert again.status_code == 200
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json()["id"] == first.headers["x-request-id"]
    assert again.headers["x-cost"] == first.headers["x-cost"]
    assert again.json()["choices"] == []
    assert streamed.headers["x-request-id"] in streamed_again.text
    gateway.stop()
    assert Receipt.objects.count() == 2
    assert UsageEvent.objects.count() == 4
    assert not IdempotencyClaim.objects.exists()


def test_refuses_another_body_under_the_same_idempotency_key(gateway: ServedGateway):
    gateway.start()
    post(gateway, key="order-1")
    wait_until(Receipt.objects.exists)

    other = post(gateway, {**BODY, "max_tokens": 11}, key="order-1")

    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_key_reused")
    gateway.stop()
    assert Receipt.objects.count() == 1


def test_runs_one_of_many_requests_with_the_same_idempotency_key(gateway: ServedGateway):
    gateway.faulty_model("slow", "delay=500", gateway.deployment.base_url)
    gateway.start()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(gateway, {**BODY, "model": "slow"}, key="same"), range(8)))

    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    gateway.stop()
    assert Receipt.objects.count() == 1


def test_a_failed_request_may_be_repeated_under_its_idempotency_key(gateway: ServedGateway):
    gateway.faulty_model("broken", "status=500", gateway.deployment.base_url)
    gateway.start()

    first = post(gateway, {**BODY, "model": "broken"}, key="order-1")
    wait_until(lambda: Receipt.objects.exists() and not IdempotencyClaim.objects.exists())
    second = post(gateway, {**BODY, "model": "broken"}, key="order-1")

    assert (first.status_code, second.status_code) == (503, 503)
    wait_until(lambda: Receipt.objects.count() == 2)


def test_gives_up_the_claim_of_a_request_without_budget(gateway: ServedGateway):
    gateway.set_cap(1)
    gateway.start()

    assert [post(gateway, key="order-1").status_code for _ in range(2)] == [402, 402]

    assert not IdempotencyClaim.objects.exists()


def test_takes_over_the_claim_of_a_killed_gateway(gateway: ServedGateway):
    now = datetime.now(UTC)
    request = IdempotentRequest(gateway.organization.pk, gateway.project.pk, b"k" * 32, b"b" * 32)
    claim_request(request=request, request_id="req_dead", now=now - timedelta(minutes=16))

    assert claim_request(request=request, request_id="req_alive", now=now) is None

    assert IdempotencyClaim.objects.get().request_id == "req_alive"


@pytest.mark.asvs("16.5.2")
@pytest.mark.asvs("16.5.3")
def test_waits_for_the_database_and_loses_no_receipt(gateway: ServedGateway, own_database):
    gateway.faulty_model("slow", "delay=300", gateway.deployment.base_url)
    gateway.start()
    post(gateway)
    wait_until(Receipt.objects.exists)
    with own_database.postgres.connect() as admin:
        # This database only: others on the server are those of tests that run at the same time.
        admin.execute(f"ALTER DATABASE {own_database.name} CONNECTION LIMIT 0")
        try:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE usename = 'headroom_gateway' AND datname = %s",
                [own_database.name],
            )
            served = post(gateway)
            refused = post(gateway, {**BODY, "max_tokens": 16_000})
        finally:
            admin.execute(f"ALTER DATABASE {own_database.name} CONNECTION LIMIT -1")

    # The lease had room for the first; for the second the database would have been needed.
    assert served.status_code == 200
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    wait_until(lambda: Receipt.objects.count() == 2)
    gateway.stop()
    assert gateway.cap.settled_nano == sum(bucket.amount_nano for bucket in UsageByHour.objects.all())
