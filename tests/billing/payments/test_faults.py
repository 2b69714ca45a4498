"""Whatever fails, hangs up, repeats itself or is killed on the way: one page, one charge, credit once (W4, W6)."""

import os
import random
import signal
import subprocess
import sys
from contextlib import suppress
from datetime import timedelta

import pytest
import stripe
from django.utils import timezone

from billing.gateways.payment_provider import ProviderTrouble
from billing.models import CreditGrant, Payment, SpendCap
from billing.selectors import budget_of, prove_ledger
from billing.services.payments import look_after_payments
from billing.services.stripe_events import fetch_messages, work_events
from billing.services.top_ups import start_top_up
from dev.paths import ROOT
from portal.lib.money import NANO_PER_USD
from portal.lib.tenancy import as_platform
from tests.doubles.provider import message, selling_through, tell
from tests.doubles.stripe_double import KEY, SIGNING_SECRET
from tests.factories.accounts import make_membership, make_organization
from tests.own_database import SUPERUSER, OwnDatabase

PROVE = bool(os.environ.get("PROVE"))
SEED = int(os.environ.get("SEED", "20261125"))
SAGAS = 400 if PROVE else 12
POINTS = [
    "payment_after_open",
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


SCRIPT = """
import sys
from datetime import datetime

import django

django.setup()
from billing.models import Payment
from billing.services.stripe_events import work_events
from billing.services.top_ups import WaysBack, open_payment_page
from portal.lib.tenancy import as_platform

with as_platform():
    payment = Payment.objects.select_related("organization").get()
    if payment.stripe_session_id is None:
        open_payment_page(payment=payment, back=WaysBack("http://127.0.0.1:9/", "http://127.0.0.1:9/"))
    else:
        work_events(now=datetime.fromisoformat(sys.argv[1]))
"""


def run(database: OwnDatabase, url: str, now: str, **more: str) -> int:
    """Do the next step of the payment in a process of its own; return how that ended."""
    provider = {"STRIPE_SECRET_KEY": KEY, "STRIPE_API_URL": url, "STRIPE_WEBHOOK_SECRETS": SIGNING_SECRET}
    known = {**os.environ, **database.environment, **provider, "DJANGO_SETTINGS_MODULE": "portal.settings", **more}
    return subprocess.run([sys.executable, "-c", SCRIPT, now], cwd=ROOT, env=known, timeout=120).returncode


@pytest.mark.parametrize("time", range(TIMES))
@pytest.mark.parametrize("point", POINTS if PROVE else POINTS[3:4])
def test_a_process_that_is_killed_loses_nothing(running_double, own_database: OwnDatabase, point, time):
    running_double.control("reset")
    now = timezone.now()
    with own_database.in_use(SUPERUSER), selling_through(running_double):
        organization = make_organization(name="Acme")
        payer = make_membership(organization).user
        payment = start_top_up(organization=organization, user=payer, amount_cents=2500, now=now)
        if point == "payment_after_open":
            assert run(own_database, running_double.url, now.isoformat(), CRASH_AT=point) == -signal.SIGKILL
        assert run(own_database, running_double.url, now.isoformat()) == 0
        payment.refresh_from_db()
        running_double.control("checkout", session=payment.stripe_session_id)
        with as_platform():
            fetch_messages(now=now)
        if point != "payment_after_open":
            assert run(own_database, running_double.url, now.isoformat(), CRASH_AT=point) == -signal.SIGKILL
        later = (now + timedelta(seconds=11)).isoformat()
        assert run(own_database, running_double.url, later) == 0

        payment.refresh_from_db()
        assert payment.state == "succeeded"
        assert len(running_double.v1.checkout.sessions.list().data) == 1
        assert SpendCap.objects.of_organization(organization.pk).get().limit_nano == STARTER + BOUGHT
        assert CreditGrant.objects.filter(source=f"payment:{payment.public_id}").count() == 1
        assert not prove_ledger().differences
    assert running_double.look("drift") == []
