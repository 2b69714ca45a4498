"""P1 at the gateway for the caps that people set: of a key, a project and a day, while requests run."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import httpx2 as httpx
import pytest
from django.db.models import Sum

from accounts.services.api_keys import IssuedKey
from billing.models import Reservation, SpendCap, WriteOff
from billing.services.caps import CapTarget, remove_cap, set_cap
from billing.services.limits import Payer
from billing.services.reservations import reserve
from inference.gateway.budget import _has_other_leases
from inference.models import Receipt
from tests.factories.accounts import make_key
from tests.inference.conftest import ServedGateway, wait_until

BODY = {"model": "demo-chat", "messages": [{"role": "user", "content": "Hello there"}], "max_tokens": 10}


def post(gateway: ServedGateway, key: IssuedKey, **more: object) -> httpx.Response:
    headers = {"authorization": f"Bearer {key.secret}"}
    return httpx.post(f"{gateway.url}/v1/chat/completions", json=BODY | more, headers=headers, timeout=30)


def cap(
    gateway: ServedGateway,
    limit_nano: int,
    *,
    key: IssuedKey | None = None,
    period: SpendCap.Period = SpendCap.Period.LIFETIME,
) -> SpendCap:
    organization = gateway.organization
    target = CapTarget(organization, None, key.api_key) if key else CapTarget(organization, gateway.project)
    return set_cap(target=target, period=period, limit_nano=limit_nano, stops=True, now=datetime.now(UTC))


def spent_by(key: IssuedKey) -> int:
    cost = Receipt.objects.filter(api_key=key.api_key).aggregate(Sum("cost_usd"))["cost_usd__sum"]
    return int((cost or Decimal(0)).scaleb(9))


@pytest.fixture
def other(gateway: ServedGateway) -> IssuedKey:
    """A key of the same project that nobody has capped."""
    return make_key(gateway.project, now=datetime.now(UTC))


def test_a_key_is_refused_at_its_own_cap_and_the_others_go_on(gateway: ServedGateway, other: IssuedKey):
    cap(gateway, 1_000, key=gateway.key)  # a token costs a thousand nano-dollars
    gateway.start()

    refused, served = post(gateway, gateway.key), post(gateway, other)

    error = refused.json()["error"]
    assert (refused.status_code, error["scope"], error["limit"]) == (402, "key", "0.000001")
    assert "API key" in error["message"]
    assert (served.status_code, served.headers["x-budget-remaining"][:3]) == (200, "4.9")


def test_a_key_at_its_cap_is_refused_at_once_and_makes_nobody_else_refused(gateway: ServedGateway, other: IssuedKey):
    """What other keys hold cannot help a key whose own cap is full: nothing is waited for, and nobody hears of it."""
    full = cap(gateway, 1_000, key=gateway.key)
    gateway.start()
    assert post(gateway, other).status_code == 200
    elsewhere = reserve(
        payer=Payer(gateway.organization.pk, gateway.project.pk),
        purpose=Reservation.Purpose.GATEWAY_LEASE,
        holder="another process",
        amount_nano=1_000_000,
        now=datetime.now(UTC),
        expires_at=datetime.now(UTC) + timedelta(seconds=30),
    )

    assert not _has_other_leases(full.pk, [], datetime.now(UTC))
    assert _has_other_leases(elsewhere.cap_id, [], datetime.now(UTC))
    assert [post(gateway, gateway.key).status_code, post(gateway, other).status_code] == [402, 200]


def test_says_what_the_tightest_cap_has_left(gateway: ServedGateway):
    cap(gateway, 2_000_000, period=SpendCap.Period.DAY)
    gateway.start()

    first, second = post(gateway, gateway.key), post(gateway, gateway.key)

    assert Decimal(first.headers["x-budget-remaining"]) <= Decimal("0.002")
    assert Decimal(second.headers["x-budget-remaining"]) < Decimal(first.headers["x-budget-remaining"])


def test_a_cap_that_is_set_or_removed_while_a_key_is_in_use_holds_soon(gateway: ServedGateway, other: IssuedKey):
    gateway.start()
    assert post(gateway, gateway.key).status_code == 200
    wait_until(Receipt.objects.exists)

    made = cap(gateway, spent_by(gateway.key) + 1, key=gateway.key)
    wait_until(lambda: post(gateway, gateway.key).status_code == 402)
    assert post(gateway, other).status_code == 200

    remove_cap(cap=made, now=datetime.now(UTC))
    wait_until(lambda: post(gateway, gateway.key).status_code == 200)


def test_no_cap_is_passed_whatever_runs_at_once(gateway: ServedGateway, other: IssuedKey):
    narrow = cap(gateway, 1_000_000, key=gateway.key, period=SpendCap.Period.DAY)
    wide = cap(gateway, 3_000_000, period=SpendCap.Period.MONTH)
    gateway.faulty_model("slow", "delay=50", gateway.deployment.base_url)
    gateway.start()

    def ask(number: int) -> int:
        key = (gateway.key, other)[number % 2]
        return post(gateway, key, model="slow", max_tokens=40).status_code

    with ThreadPoolExecutor(40) as pool:
        statuses = set(pool.map(ask, range(80)))

    gateway.stop()
    assert statuses == {200, 402}
    for made in (narrow, wide):
        made.refresh_from_db()
        assert made.settled_nano <= made.limit_nano
        assert made.reserved_nano == 0
    assert narrow.settled_nano == spent_by(gateway.key)
    assert wide.settled_nano == spent_by(gateway.key) + spent_by(other)
    assert not Reservation.objects.held().exists()
    assert not WriteOff.objects.exists()
