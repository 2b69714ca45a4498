"""Whatever fails, hangs up, repeats itself or is killed on the way: one page, one charge, credit once (W4, W6)."""

import json
import os
import random
from contextlib import suppress
from datetime import timedelta

import pytest
import stripe
from django.utils import timezone

from accounts.models import AuditEvent
from billing.gateways.payment_provider import ProviderTrouble
from billing.models import CreditGrant, Payment, SpendCap, StripeEvent
from billing.selectors import budget_of, prove_ledger
from billing.services.payments import look_after_payments
from billing.services.stripe_events import fetch_messages, work_events
from billing.services.top_ups import start_top_up
from portal.lib.money import NANO_PER_USD
from tests.doubles.provider import message, signed, tell
from tests.factories.accounts import make_membership, make_organization

PROVE = bool(os.environ.get("PROVE"))
SEED = int(os.environ.get("SEED", "20261125"))
SAGAS = 400 if PROVE else 12
POINTS = [
    "payment_after_open",
    "webhook_before_commit",
    "webhook_before_answer",
    "stripe_event_after_claim",
    "payment_after_read",
    "payment_before_commit",
    "stripe_event_after_work",
]
TIMES = 5 if PROVE else 1
STARTER, BOUGHT = 5 * NANO_PER_USD, 25 * NANO_PER_USD


@pytest.fixture
def impatient(monkeypatch):
    """Let Stripe's library try again at once."""
    monkeypatch.setattr(stripe.HTTPClient, "INITIAL_DELAY", 0.001)
    monkeypatch.setattr(stripe.HTTPClient, "MAX_DELAY", 0.001)


@pytest.mark.parametrize("number", range(SAGAS))
def test_a_provider_in_trouble_charges_once_and_gives_once(double, browser, organization, impatient, number):
    chance = random.Random(SEED + number)
    begun = browser.post(f"/o/{organization.slug}/credit/add/", {"amount": "25"})
    payment = Payment.objects.get()
    now = timezone.now()
    for _ in range(chance.randrange(1, 5)):
        trouble(double, chance)
    for _ in range(12):
        if browser.get(begun.url).status_code == 200 and chance.random() < 0.7:
            break
    payment.refresh_from_db()
    page = payment.stripe_session_id
    is_paid = page is not None
    if page:
        double.control("checkout", session=page)
    trouble(double, chance)
    if page and chance.random() < 0.6:
        told = [message(f"checkout.session.{kind}", page) for kind in ("completed", "expired")]
        chance.shuffle(told)
        for each in told * chance.randrange(1, 3):
            tell(browser, each)
    for minute in range(0, 200, 5):
        later = now + timedelta(minutes=minute)
        tend(later, chance)

    payment.refresh_from_db()
    sessions = surely(lambda: double.v1.checkout.sessions.list().data)
    assert len(sessions) == (1 if is_paid else 0)
    assert len(surely(lambda: double.v1.customers.list().data)) <= 1
    assert payment.state == ("succeeded" if is_paid else "canceled")
    budget = budget_of(organization)
    assert budget.limit_nano == STARTER + (BOUGHT if is_paid else 0)
    assert CreditGrant.objects.filter(kind=CreditGrant.Kind.PREPAID).count() == int(is_paid)
    assert not prove_ledger().differences


def surely(ask):
    """Ask the double until what it was told to fail at is behind it."""
    for _ in range(20):
        with suppress(stripe.StripeError):
            return ask()
    raise AssertionError("the double fails for ever")


def trouble(double, chance):
    """Let some of the next calls fail, some of them after their work."""
    kind = chance.choice(["500", "500", "drop", "429"])
    double.control(
        "fail",
        kind=kind,
        count=chance.randrange(1, 4),
        after=kind != "429" and chance.random() < 0.5,
        path=chance.choice(["/v1/", "/v1/customers", "/v1/checkout"]),
        method=chance.choice(["post", "post", "get"]),
    )


def tend(now, chance):
    """Do what the beat would have done by then, each of it now and then."""
    for work in (work_events, fetch_messages, look_after_payments):
        if chance.random() < 0.7:
            # A job that fails is named again by the beat.
            with suppress(ProviderTrouble):
                work(now=now)


OPEN = """
from billing.models import Payment
from billing.services.top_ups import WaysBack, open_payment_page
from portal.lib.tenancy import as_platform

with as_platform():
    payment = Payment.objects.select_related("organization").get()
    open_payment_page(payment=payment, back=WaysBack("http://127.0.0.1:9/", "http://127.0.0.1:9/"))
"""
HEAR = """
import sys

from django.test import RequestFactory

from billing.webhooks import stripe

body, signature = sys.argv[2:]
told = RequestFactory().post("/", body, content_type="application/json", headers={"stripe-signature": signature})
assert stripe(told).status_code == 200
"""
WORK = """
import sys
from datetime import datetime

from billing.services.stripe_events import work_events
from portal.lib.tenancy import as_platform

with as_platform():
    work_events(now=datetime.fromisoformat(sys.argv[1]))
"""


@pytest.mark.parametrize("time", range(TIMES))
@pytest.mark.parametrize("point", POINTS if PROVE else POINTS[5:6])
def test_a_process_that_is_killed_loses_nothing(portal, point, time):
    now = timezone.now()
    with portal.selling() as double:
        organization = make_organization(name="Acme")
        payer = make_membership(organization).user
        payment = start_top_up(organization=organization, user=payer, amount_cents=2500, now=now)
        if point == "payment_after_open":
            portal.kill(OPEN, now, at=point)
        portal.run(OPEN, now)
        payment.refresh_from_db()
        page = str(payment.stripe_session_id)
        double.control("checkout", session=page)
        body = json.dumps(message("checkout.session.completed", page)).encode()
        told = body.decode(), signed(body)
        if point.startswith("webhook_"):
            portal.kill(HEAR, now, *told, at=point)
        # The provider says again what was not answered.
        portal.run(HEAR, now, *told)
        now = timezone.now()
        if point.startswith(("stripe_event_", "payment_")) and point != "payment_after_open":
            portal.kill(WORK, now, at=point)
        portal.run(WORK, now + timedelta(seconds=11))

        payment.refresh_from_db()
        assert payment.state == "succeeded"
        assert StripeEvent.objects.get().state == "done"
        assert len(double.v1.checkout.sessions.list().data) == 1
        assert SpendCap.objects.of_organization(organization.pk).get().limit_nano == STARTER + BOUGHT
        assert CreditGrant.objects.filter(source=f"payment:{payment.public_id}").count() == 1
        assert AuditEvent.objects.filter(action="payment.succeeded").count() == 1
        assert not prove_ledger().differences
