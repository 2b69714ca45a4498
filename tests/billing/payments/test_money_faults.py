"""Killed while a kept card is charged, or while a dispute is read: charged once, frozen and owed once (W4, W6)."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from accounts.models import AuditEvent
from billing.models import AccountKind, Dispute, LedgerAccount, Payment, Standing
from billing.selectors import prove_ledger
from billing.selectors.debts import debts_of
from billing.services.auto_reload import start_reload
from billing.services.cards import read_cards, start_card_setup
from billing.services.customers import customer_of
from dev.paths import ROOT
from portal.lib.money import NANO_PER_USD
from portal.lib.tenancy import as_platform
from tests.billing.payments.test_faults import STARTER
from tests.billing.payments.test_refunds import spend
from tests.billing.payments.test_top_ups import limit_nano
from tests.doubles.provider import selling_through
from tests.doubles.stripe_double import KEY, SIGNING_SECRET, StripeDouble
from tests.factories.accounts import make_organization
from tests.factories.billing import make_auto_reload, make_bought_credit
from tests.own_database import SUPERUSER, OwnDatabase

PROVE = bool(os.environ.get("PROVE"))
TIMES = 3 if PROVE else 1
CHARGES = ["charge_after_prepare", "charge_before_confirm", "charge_after_confirm", "payment_before_commit"]
DISPUTES = ["dispute_after_read", "dispute_before_commit"]

# What the beat does, of which a killed process leaves the rest to the next.
SCRIPT = """
import sys
from datetime import datetime

import django

django.setup()
from billing.services.disputes import look_after_disputes, read_dispute
from billing.services.payments import look_after_payments
from portal.lib.tenancy import as_platform

now = datetime.fromisoformat(sys.argv[1])
with as_platform():
    look_after_payments(now=now)
    look_after_disputes(now=now)
    for stripe_id in sys.argv[2:]:
        read_dispute(stripe_id=stripe_id, now=now)
"""


def run(database: OwnDatabase, url: str, now: datetime, *disputes: str, crash_at: str = "") -> int:
    """Look after what is unfinished, and hear of disputes, in a process of its own; return how that ended."""
    provider = {"STRIPE_SECRET_KEY": KEY, "STRIPE_API_URL": url, "STRIPE_WEBHOOK_SECRETS": SIGNING_SECRET}
    known = {**os.environ, **database.environment, **provider, "DJANGO_SETTINGS_MODULE": "portal.settings"}
    command = [sys.executable, "-c", SCRIPT, now.isoformat(), *disputes]
    return subprocess.run(command, cwd=ROOT, env=known | {"CRASH_AT": crash_at}, timeout=120).returncode


@contextmanager
def selling(double: StripeDouble, database: OwnDatabase) -> Iterator[None]:
    double.control("reset")
    with database.in_use(SUPERUSER), selling_through(double):
        yield
    assert double.look("drift") == []


@pytest.mark.parametrize("time", range(TIMES))
@pytest.mark.parametrize("point", CHARGES if PROVE else CHARGES[2:3])
def test_a_charge_that_is_killed_charges_once(running_double, own_database: OwnDatabase, point, time):
    now = timezone.now()
    with selling(running_double, own_database):
        organization = make_organization(name="Acme")
        start_card_setup(organization=organization, now=now)
        running_double.v1.payment_methods.attach("pm_card_visa", {"customer": customer_of(organization)})
        make_auto_reload(organization, now=now)
        with as_platform():
            read_cards(organization_id=organization.pk, now=now)
            assert start_reload(organization_id=organization.pk, now=now) is not None
        for _twice in range(2):
            assert run(own_database, running_double.url, now, crash_at=point) == -signal.SIGKILL
            now += timedelta(minutes=11)
            if point == "charge_after_confirm":
                break  # what is confirmed is read, and not confirmed again
        for _twice in range(2):
            assert run(own_database, running_double.url, now) == 0
            now += timedelta(minutes=11)

        payment = Payment.objects.get()
        (intent,) = running_double.v1.payment_intents.list().data
        assert (payment.state, intent.status, intent.amount_received) == ("succeeded", "succeeded", 5000)
        assert payment.stripe_payment_intent_id == intent.id
        assert limit_nano(organization) == STARTER + 50 * NANO_PER_USD
        assert AuditEvent.objects.filter(action="payment.succeeded").count() == 1
        assert not prove_ledger().differences


@pytest.mark.skipif(not PROVE, reason="begins processes: in the full proof")
@pytest.mark.parametrize("time", range(TIMES))
@pytest.mark.parametrize("outcome", ["won", "lost"])
@pytest.mark.parametrize("point", DISPUTES)
def test_a_dispute_that_is_killed_freezes_and_owes_once(
    running_double, own_database: OwnDatabase, point, outcome, time
):
    now = timezone.now()
    with selling(running_double, own_database):
        organization = make_organization(name="Acme")
        intent = running_double.pay(running_double.customer("pm_card_createDispute"), amount=2500)
        make_bought_credit(organization, intent_id=intent.id, now=now)
        spend(organization, 9)
        (theirs,) = running_double.v1.disputes.list().data
        assert run(own_database, running_double.url, now, theirs.id, crash_at=point) == -signal.SIGKILL
        assert not Dispute.objects.exists()
        assert run(own_database, running_double.url, now, theirs.id) == 0
        dispute = Dispute.objects.get()
        assert (dispute.state, dispute.frozen_cents, Standing.objects.get().state) == ("disputed", 2100, "disputed")
        running_double.control("dispute", dispute=theirs.id, outcome=outcome)
        now += timedelta(minutes=11)
        assert run(own_database, running_double.url, now, crash_at=point) == -signal.SIGKILL
        for _twice in range(2):
            assert run(own_database, running_double.url, now, theirs.id) == 0

        dispute.refresh_from_db()
        is_lost = outcome == "lost"
        balances = {one.kind: one.balance_nano for one in LedgerAccount.objects.owned_by(organization)}
        assert (dispute.state, balances[AccountKind.DISPUTES]) == (outcome, 0)
        assert balances.get(AccountKind.RECEIVABLE, 0) == (4 * NANO_PER_USD if is_lost else 0)
        assert debts_of(organization.pk).cents == (400 if is_lost else 0)
        assert Standing.objects.get().state == ("past_due" if is_lost else "good")
        assert limit_nano(organization) == (9 * NANO_PER_USD if is_lost else STARTER + 25 * NANO_PER_USD)
        assert AuditEvent.objects.filter(action=f"dispute.{outcome}").count() == 1
        assert not prove_ledger().differences
