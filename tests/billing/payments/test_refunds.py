"""Money goes back once, never more than is unspent, and the credit before it (security W2)."""

import os
from datetime import timedelta
from itertools import permutations

import pytest
from django.core import mail
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import AuditEvent, Role
from accounts.services.staff import StaffGroup
from billing.models import AccountKind, CreditGrant, LedgerAccount, Payment, Refund, SpendCap, StripeEvent
from billing.selectors import prove_ledger
from billing.services.credit_expiry import expire_credits
from billing.services.payments import PaymentDiffers, read_payment
from billing.services.refunding import LOOK_AGAIN, look_after_refunds, mail_refunds, read_refund
from billing.services.refunds import (
    UnableToRefund,
    approve_refund,
    ask_for_refund,
    decline_refund,
    propose_refund,
)
from billing.services.stripe_events import fetch_messages, work_events
from billing.services.usage import record_usage
from catalog.models import Price
from portal.lib.money import NANO_PER_CENT, NANO_PER_USD
from tests.accounts.test_legal_holds import make_staff
from tests.billing.payments.test_top_ups import STARTER, add, limit_nano, pay
from tests.doubles.provider import message, tell
from tests.factories.accounts import make_membership, make_organization
from tests.factories.billing import make_bought_credit, make_record, make_reservation
from tests.factories.catalog import make_price

PENDING, FAILING, DISPUTED = "4000000000007726", "4000000000005126", "4000000000000259"
SKU = "model.demo.input"
DAY = 24 * 60 * 60


@pytest.fixture
def desk(db):
    """Two people of finance."""
    return make_staff(StaffGroup.FINANCE), make_staff(StaffGroup.FINANCE)


def bought(double, browser, organization, card="4242424242424242", amount="25.00"):
    """Return a payment that arrived."""
    payment, _ = add(browser, organization, amount)
    pay(double, payment, card)
    read_payment(payment_id=payment.pk, now=timezone.now())
    payment.refresh_from_db()
    return payment


def proposed(payment, by, cents=1000):
    return propose_refund(payment=payment, amount_cents=cents, reason="Bought twice", by=by, now=timezone.now())


def approved(payment, desk, cents=1000):
    refund = approve_refund(refund=proposed(payment, desk[0], cents), by=desk[1], now=timezone.now())
    look_after_refunds(now=timezone.now())
    refund.refresh_from_db()
    return refund


def spend(organization, dollars):
    if not Price.objects.filter(sku__code=SKU).exists():
        make_price(SKU, NANO_PER_USD, 1_000_000)
    project = organization.projects.first()
    record = make_record(project, dollars * 1_000_000, occurred_at=timezone.now())
    record_usage([record], reservation_id=None, now=timezone.now())


def just_signed_in(browser):
    session = browser.session
    session["signed_in_at"] = timezone.now().timestamp()
    session.save()
    return browser


def books(organization):
    return {one.kind: one.balance_nano for one in LedgerAccount.objects.owned_by(organization)}


def test_what_two_people_agree_on_goes_back_and_its_credit_before_it(double, browser, organization, desk):
    payment = bought(double, browser, organization)
    refund = approve_refund(refund=proposed(payment, desk[0]), by=desk[1], now=timezone.now())

    assert double.v1.refunds.list().data == []
    assert limit_nano(organization) == STARTER + 15 * NANO_PER_USD
    look_after_refunds(now=timezone.now())

    refund.refresh_from_db()
    payment.refresh_from_db()
    (sent,) = double.v1.refunds.list().data
    assert (refund.state, refund.stripe_refund_id, sent.amount) == ("succeeded", sent.id, 1000)
    assert payment.refunded_cents == 1000
    assert books(organization)[AccountKind.PREPAID_CREDIT] == 15 * NANO_PER_USD
    assert books(organization)[AccountKind.CASH_IN_TRANSIT] == 15 * NANO_PER_USD
    assert not prove_ledger().differences
    log = AuditEvent.objects.filter(target_id=refund.public_id).order_by("sequence")
    assert list(log.values_list("action", "actor_id", "via")) == [
        ("refund.asked", desk[0].public_id, "staff"),
        ("refund.approved", desk[1].public_id, "staff"),
        ("refund.succeeded", "", "system"),
    ]


def test_a_customer_asks_for_what_is_unspent_and_finance_decides(double, browser, organization, payer, desk):
    payment = bought(double, browser, organization)
    spend(organization, 9)
    page = f"/o/{organization.slug}/credit/payments/{payment.public_id}/"
    assert "Ask for what is unspent" in browser.get(page).content.decode()

    answer = just_signed_in(browser).post(f"{page}refund/", follow=True).content.decode()

    refund = Refund.objects.get()
    # Of nine dollars the starter credit has paid five.
    assert (refund.amount_cents, refund.asked_by, refund.is_of_customer) == (2100, payer.public_id, True)
    assert "You have asked for $21.00 back" in answer
    assert "Ask for what is unspent" not in browser.get(page).content.decode()
    approve_refund(refund=refund, by=desk[0], now=timezone.now())
    look_after_refunds(now=timezone.now())
    mail_refunds(now=timezone.now())

    assert mail.outbox[-1].subject == "$21.00 paid back to Acme"
    assert mail.outbox[-1].to == [payer.email]
    cap = SpendCap.objects.of_organization(organization.pk).get()
    assert cap.limit_nano == cap.settled_nano == 9 * NANO_PER_USD
    assert mail_refunds(now=timezone.now()) == 0


def test_who_signed_in_long_ago_or_may_not_pay_asks_for_nothing(double, browser, client, organization):
    payment = bought(double, browser, organization)
    address = f"/o/{organization.slug}/credit/payments/{payment.public_id}/refund/"
    session = browser.session
    session["signed_in_at"] = 1.0
    session.save()
    assert browser.post(address).status_code == 302
    client.force_login(make_membership(organization, role=Role.DEVELOPER).user)
    assert client.post(address).status_code == 403
    client.force_login(make_membership(make_organization(name="Other"), role=Role.OWNER).user)
    assert client.post(address).status_code == 404
    assert not Refund.objects.exists()


def test_never_more_than_is_unspent_and_not_held_by_running_work(double, browser, organization, desk):
    payment = bought(double, browser, organization)
    spend(organization, 9)
    make_reservation(organization.projects.get(), 6 * NANO_PER_USD, now=timezone.now())

    with pytest.raises(UnableToRefund, match=r"\$15.00 of this payment are unspent"):
        proposed(payment, desk[0], 1501)
    refund = proposed(payment, desk[0], 1500)
    spend(organization, 1)
    with pytest.raises(UnableToRefund, match=r"\$14.00 of this payment are unspent"):
        approve_refund(refund=refund, by=desk[1], now=timezone.now())
    assert (payment.refunded_cents, limit_nano(organization)) == (0, STARTER + 25 * NANO_PER_USD)


def test_one_at_a_time_and_in_all_never_more_than_was_paid(double, browser, organization, desk):
    payment = bought(double, browser, organization)
    first = proposed(payment, desk[0], 2000)
    with pytest.raises(UnableToRefund, match="on its way already"):
        proposed(payment, desk[0], 100)
    approve_refund(refund=first, by=desk[1], now=timezone.now())
    look_after_refunds(now=timezone.now())
    with pytest.raises(UnableToRefund, match=r"\$5.00 of this payment"):
        proposed(payment, desk[0], 501)
    assert approved(payment, desk, 500).state == "succeeded"

    with pytest.raises(UnableToRefund, match=r"\$0.00 of this payment"):
        proposed(payment, desk[0], 1)
    # The second net.
    with pytest.raises(IntegrityError, match="refunded_at_most"), transaction.atomic():
        Payment.objects.filter(pk=payment.pk).update(refunded_cents=2501)
    assert double.v1.charges.list().data[0].amount_refunded == 2500


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"amount_cents": 0}, "more than nothing"),
        ({"amount_cents": -5}, "more than nothing"),
        ({"reason": "  "}, "Say why"),
        ({"reason": "x" * 301}, "Say why"),
    ],
)
def test_refuses_what_makes_no_sense(organization, desk, change, says):
    payment = make_bought_credit(organization)
    given = {"payment": payment, "amount_cents": 100, "reason": "Why", "by": desk[0], "now": timezone.now()}

    with pytest.raises(UnableToRefund, match=says):
        propose_refund(**given | change)


def test_only_what_was_paid_is_paid_back(double, browser, organization, desk):
    payment, _ = add(browser, organization)

    with pytest.raises(UnableToRefund, match="Only what was paid"):
        proposed(payment, desk[0])


def test_nobody_approves_their_own_and_nothing_is_decided_twice(double, browser, organization, desk):
    payment = bought(double, browser, organization)
    refund = proposed(payment, desk[0])
    with pytest.raises(UnableToRefund, match="Somebody else"):
        approve_refund(refund=refund, by=desk[0], now=timezone.now())
    now = timezone.now()
    with pytest.raises(IntegrityError, match="two_people"), transaction.atomic():
        Refund.objects.update(state="approved", decided_by=desk[0].public_id, decided_at=now)
    for group in set(StaffGroup) - {StaffGroup.FINANCE}:
        with pytest.raises(UnableToRefund, match="You may not"):
            approve_refund(refund=refund, by=make_staff(group), now=timezone.now())
    decline_refund(refund=refund, by=desk[0], now=timezone.now())
    for decide in (approve_refund, decline_refund):
        with pytest.raises(UnableToRefund, match="decided already"):
            decide(refund=refund, by=desk[1], now=timezone.now())
    assert look_after_refunds(now=timezone.now()) == 0
    assert limit_nano(organization) == STARTER + 25 * NANO_PER_USD


def test_one_that_takes_a_day_is_on_its_way_until_then(double, browser, organization, desk):
    payment = bought(double, browser, organization, PENDING)
    refund = approved(payment, desk)
    assert refund.state == "pending"
    assert "On its way" in browser.get(f"/o/{organization.slug}/credit/payments/{payment.public_id}/").content.decode()

    double.control("clock", seconds=DAY + 1)
    look_after_refunds(now=timezone.now() + LOOK_AGAIN)

    refund.refresh_from_db()
    assert refund.state == "succeeded"


def test_one_that_fails_after_it_succeeded_gives_the_credit_back_once(double, browser, organization, payer, desk):
    payment = bought(double, browser, organization, FAILING)
    refund = approved(payment, desk)
    assert (refund.state, mail_refunds(now=timezone.now())) == ("succeeded", 1)
    double.control("clock", seconds=DAY + 1)

    for _ in range(2):
        fetch_messages(now=timezone.now())
        work_events(now=timezone.now())
        read_refund(refund_id=refund.pk, now=timezone.now())

    refund.refresh_from_db()
    payment.refresh_from_db()
    assert (refund.state, payment.refunded_cents) == ("failed", 0)
    assert limit_nano(organization) == STARTER + 25 * NANO_PER_USD
    assert books(organization)[AccountKind.PREPAID_CREDIT] == 25 * NANO_PER_USD
    assert not prove_ledger().differences
    assert mail_refunds(now=timezone.now()) == 1
    assert mail.outbox[-1].subject == "$10.00 for Acme could not be paid back"
    # It can be tried again.
    assert approved(payment, desk).state == "succeeded"


def test_one_that_the_provider_will_never_send_gives_the_credit_back(double, browser, organization, desk, log_lines):
    payment = bought(double, browser, organization)
    refund = proposed(payment, desk[0], 2500)
    approve_refund(refund=refund, by=desk[1], now=timezone.now())
    # By hand at the provider, so that no more than twenty dollars are left there.
    double.v1.refunds.create({"payment_intent": payment.stripe_payment_intent_id, "amount": 500})
    look_after_refunds(now=timezone.now())

    refund.refresh_from_db()
    assert refund.state == "failed"
    assert limit_nano(organization) == STARTER + 25 * NANO_PER_USD
    fetch_messages(now=timezone.now())
    work_events(now=timezone.now())
    assert "billing.refund.unknown" in log_lines()
    assert not prove_ledger().differences


def test_one_of_something_else_is_an_alarm_and_changes_nothing(double, browser, organization, desk, log_lines):
    payment = bought(double, browser, organization, PENDING)
    refund = approved(payment, desk)
    Refund.objects.filter(pk=refund.pk).update(amount_cents=999)

    with pytest.raises(PaymentDiffers):
        read_refund(refund_id=refund.pk, now=timezone.now())
    assert "billing.refund.differs" in log_lines()


EVERY_ORDER = list(permutations(["created", "refunded", "failed", "swept"]))[:: 1 if os.environ.get("PROVE") else 7]


@pytest.mark.parametrize("order", EVERY_ORDER, ids=["-".join(order) for order in EVERY_ORDER])
def test_messages_in_any_order_and_number_come_to_the_same(double, browser, organization, desk, order):
    payment = bought(double, browser, organization, FAILING)
    refund = approved(payment, desk)
    double.control("clock", seconds=DAY + 1)
    charge = double.v1.payment_intents.retrieve(payment.stripe_payment_intent_id).latest_charge
    known = {
        "created": message("refund.created", refund.stripe_refund_id),
        "failed": message("refund.failed", refund.stripe_refund_id),
        "refunded": message("charge.refunded", charge),
    }
    for word in order:
        if word == "swept":
            look_after_refunds(now=timezone.now() + timedelta(minutes=11))
        else:
            for _ in range(2):
                assert tell(browser, known[word]).status_code == 200
            work_events(now=timezone.now())

    refund.refresh_from_db()
    payment.refresh_from_db()
    assert (refund.state, payment.refunded_cents) == ("failed", 0)
    assert limit_nano(organization) == STARTER + 25 * NANO_PER_USD
    assert set(StripeEvent.objects.values_list("state", flat=True)) == {"done"}
    assert not prove_ledger().differences


def test_credit_that_ended_meanwhile_is_not_paid_back(double, browser, organization, desk):
    payment = bought(double, browser, organization)
    grant = CreditGrant.objects.get(source=f"payment:{payment.public_id}")
    LedgerAccount.objects.filter(grant=grant).update(debits_nano=grant.amount_nano)

    with pytest.raises(UnableToRefund, match=r"\$0.00"):
        proposed(payment, desk[0])
    with pytest.raises(UnableToRefund, match="Nothing of this payment is unspent"):
        ask_for_refund(payment=payment, by=desk[0], now=timezone.now())
    assert limit_nano(organization) % NANO_PER_CENT == 0


def test_credit_that_ends_twice_with_the_same_balance_ends_twice(double, browser, organization, desk):
    """What failed to go back after the rest had ended is as much as had ended then."""
    payment = bought(double, browser, organization, FAILING)
    refund = approved(payment, desk, 1250)
    CreditGrant.objects.filter(source=f"payment:{payment.public_id}").update(expires_at=timezone.now())
    assert expire_credits(now=timezone.now()) == 1
    double.control("clock", seconds=DAY + 1)
    read_refund(refund_id=refund.pk, now=timezone.now())
    assert limit_nano(organization) == STARTER + 12 * NANO_PER_USD + NANO_PER_USD // 2

    assert expire_credits(now=timezone.now()) == 1
    assert expire_credits(now=timezone.now()) == 0
    assert limit_nano(organization) == STARTER
    assert books(organization)[AccountKind.BREAKAGE] == 25 * NANO_PER_USD
