"""Killed while a kept card is charged, or while a dispute is read: charged once, frozen and owed once (W4, W6)."""

import os
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import AuditEvent
from billing.models import AccountKind, Dispute, LedgerAccount, Payment, Standing
from billing.selectors import prove_ledger
from billing.selectors.debts import debts_of
from billing.services.auto_reload import start_reload
from billing.services.cards import read_cards, start_card_setup
from billing.services.customers import customer_of
from billing.services.invoice_payments import collect_invoice
from portal.lib.money import NANO_PER_USD
from portal.lib.tenancy import as_platform
from tests.billing.payments.test_charges import open_invoice
from tests.billing.payments.test_faults import STARTER
from tests.billing.payments.test_refunds import spend
from tests.billing.payments.test_top_ups import limit_nano
from tests.factories.accounts import make_organization
from tests.factories.billing import make_auto_reload, make_bought_credit

PROVE = bool(os.environ.get("PROVE"))
TIMES = 3 if PROVE else 1
PURPOSES = ["reload", "invoice"] if PROVE else ["reload"]
# Before and after each of the two answers of the provider, and after what is written of them.
CHARGES = ["charge_after_prepare", "charge_before_confirm", "charge_after_confirm", "payment_before_commit"]
DISPUTES = ["dispute_after_read", "dispute_before_commit"]

# What the beat does, of which a killed process leaves the rest to the next.
LOOK = """
import sys
from datetime import datetime

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


@pytest.mark.parametrize("time", range(TIMES))
@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("point", CHARGES if PROVE else CHARGES[2:3])
def test_a_charge_that_is_killed_charges_once(portal, point, purpose, time):
    now = timezone.now()
    with portal.selling() as double:
        organization = make_organization(name="Acme")
        start_card_setup(organization=organization, now=now)
        double.v1.payment_methods.attach("pm_card_visa", {"customer": customer_of(organization)})
        make_auto_reload(organization, now=now)
        invoice = open_invoice(organization, 5000)
        with as_platform():
            read_cards(organization_id=organization.pk, now=now)
            if purpose == "reload":
                assert start_reload(organization_id=organization.pk, now=now) is not None
            else:
                collect_invoice(invoice=invoice, now=now)
        for _twice in range(2):
            portal.kill(LOOK, now, at=point)
            now += timedelta(minutes=11)
            if point == "charge_after_confirm":
                break  # what is confirmed is read, and not confirmed again
        for _twice in range(2):
            portal.run(LOOK, now)
            now += timedelta(minutes=11)

        payment = Payment.objects.get()
        (intent,) = double.v1.payment_intents.list().data
        assert (payment.state, intent.status, intent.amount_received) == ("succeeded", "succeeded", 5000)
        assert payment.stripe_payment_intent_id == intent.id
        invoice.refresh_from_db()
        assert invoice.status == ("paid" if purpose == "invoice" else "open")
        # Bought, or room that an invoice took and that is there again.
        assert limit_nano(organization) == STARTER + 50 * NANO_PER_USD
        assert AuditEvent.objects.filter(action="payment.succeeded").count() == 1
        assert not prove_ledger().differences


@pytest.mark.parametrize("time", range(TIMES))
@pytest.mark.parametrize("outcome", ["won", "lost"] if PROVE else ["lost"])
@pytest.mark.parametrize("point", DISPUTES if PROVE else DISPUTES[1:])
def test_a_dispute_that_is_killed_freezes_and_owes_once(portal, point, outcome, time):
    now = timezone.now()
    with portal.selling() as double:
        organization = make_organization(name="Acme")
        intent = double.pay(double.customer("pm_card_createDispute"), amount=2500)
        make_bought_credit(organization, intent_id=intent.id, now=now)
        spend(organization, 9)
        (theirs,) = double.v1.disputes.list().data
        portal.kill(LOOK, now, theirs.id, at=point)
        assert not Dispute.objects.exists()
        portal.run(LOOK, now, theirs.id)
        dispute = Dispute.objects.get()
        assert (dispute.state, dispute.frozen_cents, Standing.objects.get().state) == ("disputed", 2100, "disputed")
        double.control("dispute", dispute=theirs.id, outcome=outcome)
        now += timedelta(minutes=11)
        portal.kill(LOOK, now, at=point)
        for _twice in range(2):
            portal.run(LOOK, now, theirs.id)

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
