"""Every day of the payment provider is held against our payments and books; its fees and payouts are posted once."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.utils import timezone
from structlog.testing import capture_logs

from billing.demo_stripe.handlers.disputes import DISPUTE_FEE
from billing.gateways.payment_provider import PaymentSeen
from billing.models import AccountKind, Difference, LedgerAccount, LedgerEntry, Payment, Reconciliation
from billing.models.reconciliation import ReconciliationJob
from billing.selectors import prove_ledger
from billing.services.disputes import read_dispute
from billing.services.nightly import reconcile
from billing.services.payments import read_payment, settle_payment
from portal.lib.money import NANO_PER_CENT
from tests.billing.payments.test_top_ups import add, pay
from tests.billing.test_worked_numbers import table
from tests.doubles.provider import selling_through
from tests.factories.accounts import make_membership, make_organization
from tests.factories.billing import make_payment
from tests.own_database import SUPERUSER, OwnDatabase

CODE = LedgerEntry.Code
FEE_OF_25 = 103  # 2.9 % and 30 cents, by the double


@pytest.fixture(autouse=True)
def noon() -> Iterator[None]:
    """Let no test run over midnight; the double's clock is that of this process."""
    today = datetime.now(UTC).replace(hour=12)
    with time_machine.travel(today, tick=True):
        yield


@pytest.fixture
def paid(double, browser, organization):
    payment, _ = add(browser, organization)
    pay(double, payment)
    read_payment(payment_id=payment.pk, now=timezone.now())
    payment.refresh_from_db()
    return payment


def night(days: int = 0):
    """Compare the day that it is, as the night after does."""
    now = timezone.now()
    reconcile(now=(now + timedelta(days=1 + days)).replace(hour=4))


def found():
    mine = Difference.objects.open().filter(reconciliation__job=ReconciliationJob.PAYMENTS)
    return [(row.what, row.ours, row.theirs) for row in mine.order_by("pk")]


def cents(organization):
    accounts = LedgerAccount.objects.owned_by(organization)
    return {account.kind: account.balance_nano // NANO_PER_CENT for account in accounts}


def test_a_day_that_agrees_posts_its_fee_once(paid, organization):
    for _ in range(2):
        night()
        Reconciliation.objects.all().delete()

    assert found() == []
    assert LedgerEntry.objects.filter(code=CODE.FEE).count() == 1
    assert cents(organization)[AccountKind.FEES] == FEE_OF_25
    assert cents(organization)[AccountKind.CASH_IN_TRANSIT] == 2500 - FEE_OF_25


def test_a_payout_is_posted_to_the_book_of_each_whose_money_is_in_it(double, paid, organization, client):
    other = make_organization(name="Elsewhere")
    member = make_membership(other).user
    client.force_login(member)
    payment, _ = add(client, other, amount="100.00")
    pay(double, payment)
    read_payment(payment_id=payment.pk, now=timezone.now())
    double.control("clock", seconds=3 * 86_400)
    payout = double.control("payout")
    night(days=3)

    assert found() == []
    for book, row in zip((organization, other), table("agreement.md", "movement"), strict=False):
        fee = LedgerEntry.objects.owned_by(book).get(code=CODE.FEE)
        bought = Payment.objects.owned_by(book).get()
        assert (str(bought.amount_cents), str(fee.amount_nano // NANO_PER_CENT)) == (row["amount"], row["fee"])
        assert cents(book)[AccountKind.CASH] == int(row["cash in transit after"])
    assert str(-payout["amount"]) == table("agreement.md", "movement")[-1]["amount"]
    assert cents(organization)[AccountKind.CASH] == 2500 - FEE_OF_25
    assert cents(other)[AccountKind.CASH] == 10_000 - 320
    assert payout["amount"] == 2500 - FEE_OF_25 + 10_000 - 320
    assert cents(organization)[AccountKind.CASH_IN_TRANSIT] == cents(other)[AccountKind.CASH_IN_TRANSIT] == 0
    assert prove_ledger().is_whole


@pytest.mark.parametrize("outcome", ["won", "lost"])
def test_the_fee_of_a_dispute_is_posted_and_everything_agrees(double, paid, organization, outcome):
    charge = double.v1.payment_intents.retrieve(paid.stripe_payment_intent_id).latest_charge
    dispute = double.control("dispute", charge=charge)
    read_dispute(stripe_id=dispute["id"], now=timezone.now())
    double.control("dispute", dispute=dispute["id"], outcome=outcome)
    read_dispute(stripe_id=dispute["id"], now=timezone.now())

    night()

    assert found() == []
    assert cents(organization)[AccountKind.FEES] == FEE_OF_25 + DISPUTE_FEE
    back = 2500 if outcome == "won" else 0
    assert cents(organization)[AccountKind.CASH_IN_TRANSIT] == back - FEE_OF_25 - DISPUTE_FEE
    assert prove_ledger().is_whole


def test_a_fee_that_is_given_back_is_posted_once(paid, organization, double):
    charge = double.v1.payment_intents.retrieve(paid.stripe_payment_intent_id).latest_charge
    dispute = double.control("dispute", charge=charge)
    read_dispute(stripe_id=dispute["id"], now=timezone.now())
    double.control("dispute", dispute=dispute["id"], outcome="won", fee_back=True)
    read_dispute(stripe_id=dispute["id"], now=timezone.now())

    for _ in range(2):
        night()
        Reconciliation.objects.all().delete()

    assert found() == []
    assert cents(organization)[AccountKind.FEES] == FEE_OF_25
    assert cents(organization)[AccountKind.CASH_IN_TRANSIT] == 2500 - FEE_OF_25


def test_a_payment_that_was_not_charged_is_found_and_named(paid):
    Payment.objects.filter(pk=paid.pk).update(amount_cents=9_999)
    night()
    assert found() == [
        (f"charge of {paid.stripe_payment_intent_id}", "99.99 USD", "25.00 USD"),
        (f"money received on {timezone.now():%Y-%m-%d}", "25.00 USD", "99.99 USD"),
    ]


def test_a_charge_that_we_know_nothing_of_is_found(double, paid, organization):
    double.pay(double.customer("pm_card_visa"))
    night()
    [(what, ours, theirs)] = found()
    assert what.startswith("charge of pi_")
    assert (ours, theirs) == ("nothing", "50.00 USD")
    assert Difference.objects.get().organization_public_id == ""


def test_money_that_went_back_and_that_we_did_not_post_is_found(double, paid, organization):
    double.v1.refunds.create({"payment_intent": paid.stripe_payment_intent_id, "amount": 500})
    night()
    assert found() == [(f"money sent back on {timezone.now():%Y-%m-%d}", "nothing", "-5.00 USD")]


def test_a_payout_by_hand_is_named_as_nobody_says_what_is_in_it(double, paid):
    double.control("clock", seconds=3 * 86_400)
    payout = double.v1.payouts.create({"amount": 1000, "currency": "usd"})
    night(days=3)
    assert found() == [(f"payout {payout.id}", "nothing", "10.00 USD, asked for by hand")]


def test_a_charge_of_the_day_before_is_found_where_it_is(double, paid):
    """A message that came after midnight: the money is there, on another day than ours."""
    tomorrow = timezone.now() + timedelta(days=1)
    Payment.objects.filter(pk=paid.pk).update(ended_at=tomorrow)
    night(days=1)
    assert [what for what, _, _ in found()] == [f"money received on {tomorrow:%Y-%m-%d}"]  # the ledger's own day


@pytest.mark.parametrize("kind", ["500", "429", "drop"])
def test_trouble_of_the_provider_loses_nothing(double, paid, organization, kind):
    # Our client asks twice.
    double.control("fail", kind=kind, count=1 if kind == "429" else 2, method="get", path="/v1/balance_transactions")
    with capture_logs() as lines:
        night()
    assert "billing.reconciliation.not_done" in {line["event"] for line in lines}
    jobs = set(Reconciliation.objects.values_list("job", flat=True))
    assert jobs == set(ReconciliationJob) - {ReconciliationJob.PAYMENTS, ReconciliationJob.INSTANCES}

    night()

    assert cents(organization)[AccountKind.FEES] == FEE_OF_25
    assert Reconciliation.objects.get(job=ReconciliationJob.PAYMENTS).difference_count == 0


def test_two_nights_at_once_post_once_and_write_one_result(own_database: OwnDatabase, running_double):
    running_double.control("reset")
    with own_database.in_use(SUPERUSER), selling_through(running_double):
        organization = make_organization()
        customer = running_double.customer("pm_card_visa")
        intent = running_double.pay(customer)
        payment = make_payment(organization, amount_cents=5000, intent_id=intent.id, now=timezone.now())
        session = PaymentSeen(payment.public_id, "", "complete", intent.id, "succeeded", 5000, "usd")
        Payment.objects.update(stripe_session_id="")
        settle_payment(payment_id=payment.pk, seen=session, now=timezone.now())

        outcomes = own_database.in_threads(4, lambda _: night())

        assert outcomes == [None] * 4
        assert LedgerEntry.objects.filter(code=CODE.FEE).count() == 1
        assert cents(organization)[AccountKind.CASH_IN_TRANSIT] == 5000 - 175
        results = Reconciliation.objects.filter(job=ReconciliationJob.PAYMENTS)
        assert [(run.difference_count, run.checked_count > 0) for run in results] == [(0, True)]
        assert prove_ledger().is_whole
