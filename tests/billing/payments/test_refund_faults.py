"""Whatever fails, hangs up or is killed while money goes back: one refund, and its credit taken once (W4, W6)."""

import os
import random
from contextlib import suppress
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.services.staff import StaffGroup
from billing.gateways.payment_provider import ProviderTrouble
from billing.models import SpendCap
from billing.selectors import prove_ledger
from billing.services.refunding import look_after_refunds
from billing.services.refunds import approve_refund
from billing.services.stripe_events import fetch_messages, work_events
from portal.lib.money import NANO_PER_USD
from portal.lib.tenancy import as_platform
from tests.accounts.test_legal_holds import make_staff
from tests.billing.payments.test_faults import SEED, STARTER, impatient, surely, trouble
from tests.billing.payments.test_refunds import DAY, FAILING, PENDING, bought, proposed
from tests.factories.accounts import make_organization
from tests.factories.billing import make_bought_credit

__all__ = ["impatient"]

PROVE = bool(os.environ.get("PROVE"))
SAGAS = 200 if PROVE else 4
POINTS = ["refund_after_send", "refund_before_commit"]


@pytest.mark.parametrize("number", range(SAGAS))
def test_a_provider_in_trouble_sends_once_and_takes_once(double, browser, organization, impatient, number):
    chance = random.Random(SEED + number)
    card = chance.choice(["4242424242424242", PENDING, FAILING])
    payment = bought(double, browser, organization, card)
    one, other = make_staff(StaffGroup.FINANCE), make_staff(StaffGroup.FINANCE)
    refund = approve_refund(refund=proposed(payment, one), by=other, now=timezone.now())
    for _ in range(chance.randrange(1, 5)):
        trouble(double, chance)
    now = timezone.now()
    for minute in range(0, 120, 5):
        if minute == 60:
            double.control("clock", seconds=DAY + 1)
        for work in (look_after_refunds, work_events, fetch_messages):
            if chance.random() < 0.7:
                # A job that fails is named again by the beat.
                with suppress(ProviderTrouble):
                    work(now=now + timedelta(minutes=minute))

    # What was sent only after that day takes another.
    double.control("clock", seconds=DAY + 1)
    for work in (fetch_messages, work_events):
        work(now=now + timedelta(hours=3))
    refund.refresh_from_db()
    payment.refresh_from_db()
    assert len(surely(lambda: double.v1.refunds.list().data)) == 1
    has_failed = card == FAILING
    assert refund.state == ("failed" if has_failed else "succeeded")
    assert payment.refunded_cents == (0 if has_failed else 1000)
    left = STARTER + (25 if has_failed else 15) * NANO_PER_USD
    assert SpendCap.objects.of_organization(organization.pk).get().limit_nano == left
    assert not prove_ledger().differences


SEND = """
import sys
from datetime import datetime

from billing.services.refunding import look_after_refunds
from portal.lib.tenancy import as_platform

with as_platform():
    look_after_refunds(now=datetime.fromisoformat(sys.argv[1]))
"""


@pytest.mark.skipif(not PROVE, reason="kills processes: in the full proof")
@pytest.mark.parametrize("time", range(3))
@pytest.mark.parametrize("point", POINTS)
def test_a_process_that_is_killed_loses_nothing(portal, point, time):
    now = timezone.now()
    with portal.selling() as double:
        organization = make_organization(name="Acme")
        intent = double.pay(double.customer(), amount=2500)
        payment = make_bought_credit(organization, intent_id=intent.id, now=now)
        one, other = make_staff(StaffGroup.FINANCE), make_staff(StaffGroup.FINANCE)
        with as_platform():
            refund = approve_refund(refund=proposed(payment, one), by=other, now=now)
        portal.kill(SEND, now + timedelta(seconds=1), at=point)
        # The provider has forgotten the key by then.
        portal.run(SEND, now + timedelta(days=2))

        refund.refresh_from_db()
        payment.refresh_from_db()
        assert (refund.state, payment.refunded_cents) == ("succeeded", 1000)
        assert len(double.v1.refunds.list().data) == 1
        assert SpendCap.objects.of_organization(organization.pk).get().limit_nano == STARTER + 15 * NANO_PER_USD
        assert not prove_ledger().differences
