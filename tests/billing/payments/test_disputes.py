"""Disputed credit waits; won it is there again, lost it is gone and what was spent of it is owed (security W2)."""

import os
from datetime import timedelta
from itertools import permutations

import pytest
from django.core import mail
from django.utils import timezone

from accounts.models import AuditEvent, Organization
from accounts.services.staff import StaffGroup
from billing.models import AccountKind, CreditGrant, Dispute, Payment, SpendCap, Standing, StripeEvent
from billing.selectors import prove_ledger
from billing.selectors.disputes import frozen_nano_by_source
from billing.selectors.unbilled import grants_of
from billing.services.credit_expiry import expire_credits
from billing.services.disputes import (
    LOOK_AGAIN,
    UnableToAnswer,
    answer_dispute,
    look_after_disputes,
    mail_disputes,
    read_dispute,
)
from billing.services.refunds import UnableToRefund
from billing.services.reservations import release
from billing.services.stripe_events import fetch_messages, work_events
from portal.lib.money import NANO_PER_USD
from portal.lib.tenancy import as_platform
from tests.accounts.test_legal_holds import make_staff
from tests.billing.payments.test_refunds import books, bought, proposed, spend
from tests.billing.payments.test_top_ups import STARTER, add, limit_nano, pay
from tests.doubles.provider import message, tell
from tests.factories.billing import make_reservation

DISPUTED, INQUIRED = "4000000000000259", "4000000000001976"


def hear():
    """Fetch what the provider tells, and work on it, as the role that the worker has for it."""
    with as_platform():
        fetch_messages(now=timezone.now())
        work_events(now=timezone.now())


def disputed(double, browser, organization, card=DISPUTED):
    """Return a payment that its bank took back, and the dispute."""
    payment = bought(double, browser, organization, card)
    hear()
    return payment, Dispute.objects.get()


def decide(double, dispute, outcome):
    double.control("dispute", dispute=dispute.stripe_dispute_id, outcome=outcome)
    hear()
    dispute.refresh_from_db()


def test_what_is_unspent_is_frozen_and_nothing_can_be_bought(double, browser, organization, payer, log_lines):
    payment, dispute = disputed(double, browser, organization)

    assert (dispute.state, dispute.frozen_cents, dispute.reason) == ("disputed", 2500, "fraudulent")
    assert dispute.due_by is not None
    assert limit_nano(organization) == STARTER
    # Invoices do not burn it either.
    assert [one.balance_nano for one in grants_of(organization.pk).credits] == [STARTER]
    balances = books(organization)
    assert balances[AccountKind.DISPUTES] == balances[AccountKind.PREPAID_CREDIT] == 25 * NANO_PER_USD
    assert balances[AccountKind.CASH_IN_TRANSIT] == 0
    assert "billing.dispute.opened" in log_lines()
    refused = browser.post(f"/o/{organization.slug}/credit/add/", {"amount": "25"})
    assert (refused.status_code, Payment.objects.count()) == (422, 1)
    assert "A payment is disputed" in refused.content.decode()
    page = browser.get(f"/o/{organization.slug}/credit/payments/{payment.public_id}/").content.decode()
    assert "The bank has taken $25.00 back" in page
    assert "Ask for what is unspent" not in page
    with pytest.raises(UnableToRefund, match="taken this payment back"):
        proposed(payment, make_staff(StaffGroup.FINANCE), 100)
    assert mail_disputes(now=timezone.now()) == 1
    assert mail_disputes(now=timezone.now()) == 0
    assert (mail.outbox[-1].to, mail.outbox[-1].subject) == ([payer.email], "A payment of Acme is disputed")


def test_won_it_is_as_if_nothing_had_been(double, browser, organization):
    _payment, dispute = disputed(double, browser, organization)
    mail_disputes(now=timezone.now())
    decide(double, dispute, "won")

    assert (dispute.state, dispute.frozen_cents) == ("won", 0)
    assert limit_nano(organization) == STARTER + 25 * NANO_PER_USD
    balances = books(organization)
    assert (balances[AccountKind.DISPUTES], balances[AccountKind.CASH_IN_TRANSIT]) == (0, 25 * NANO_PER_USD)
    assert frozen_nano_by_source(organization.pk) == {}
    assert not prove_ledger().differences
    assert mail_disputes(now=timezone.now()) == 1
    assert mail.outbox[-1].subject == "The dispute about a payment of Acme is settled"
    assert browser.post(f"/o/{organization.slug}/credit/add/", {"amount": "25"}).status_code == 302


def test_lost_what_is_unspent_is_gone_and_what_was_spent_is_owed(double, browser, organization):
    payment = bought(double, browser, organization, DISPUTED)
    # Five dollars of it the starter credit pays.
    spend(organization, 9)
    hear()
    dispute = Dispute.objects.get()
    assert dispute.frozen_cents == 2100
    decide(double, dispute, "lost")

    cap = SpendCap.objects.of_organization(organization.pk).get()
    assert (dispute.state, dispute.frozen_cents) == ("lost", 2100)
    assert cap.limit_nano == cap.settled_nano == 9 * NANO_PER_USD
    balances = books(organization)
    assert (balances[AccountKind.DISPUTES], balances[AccountKind.RECEIVABLE]) == (0, 4 * NANO_PER_USD)
    # For the usage that is not billed yet.
    assert balances[AccountKind.PREPAID_CREDIT] == 4 * NANO_PER_USD
    assert frozen_nano_by_source(organization.pk) == {}
    assert not prove_ledger().differences
    assert mail_disputes(now=timezone.now()) == 1
    assert "$4.00 of it had been spent" in mail.outbox[-1].body
    actions = AuditEvent.objects.filter(target_id=dispute.public_id).order_by("sequence")
    assert list(actions.values_list("action", "actor_kind")) == [
        ("dispute.opened", "portal"),
        ("dispute.lost", "portal"),
    ]
    assert (
        "Credit taken back"
        in browser.get(f"/o/{organization.slug}/credit/payments/{payment.public_id}/").content.decode()
    )


def test_what_running_work_holds_is_frozen_when_it_gives_it_back(double, browser, organization):
    payment = bought(double, browser, organization, DISPUTED)
    held = make_reservation(organization.projects.get(), 28 * NANO_PER_USD, now=timezone.now())
    hear()
    dispute = Dispute.objects.get()
    assert dispute.frozen_cents == 200

    release(reservation_id=held.pk, now=timezone.now())
    assert look_after_disputes(now=timezone.now() + LOOK_AGAIN + timedelta(seconds=1)) == 1

    dispute.refresh_from_db()
    assert dispute.frozen_cents == 2500
    assert limit_nano(organization) == STARTER
    assert frozen_nano_by_source(organization.pk) == {f"payment:{payment.public_id}": 25 * NANO_PER_USD}


def test_frozen_credit_does_not_end_before_it_is_decided(double, browser, organization):
    payment, dispute = disputed(double, browser, organization)
    grants = CreditGrant.objects.filter(source=f"payment:{payment.public_id}")
    grants.update(expires_at=timezone.now())
    later = timezone.now() + timedelta(minutes=1)

    assert expire_credits(now=later) == 0
    decide(double, dispute, "won")
    assert expire_credits(now=later) == 1
    assert limit_nano(organization) == STARTER
    assert not prove_ledger().differences


def test_a_question_of_the_bank_moves_nothing(double, browser, organization):
    _payment, dispute = disputed(double, browser, organization, INQUIRED)
    assert (dispute.state, dispute.frozen_cents, dispute.is_withdrawn) == ("inquiry", 0, False)
    assert limit_nano(organization) == STARTER + 25 * NANO_PER_USD
    assert browser.post(f"/o/{organization.slug}/credit/add/", {"amount": "25"}).status_code == 302
    decide(double, dispute, "lost")

    assert (dispute.state, mail_disputes(now=timezone.now())) == ("closed", 0)
    assert books(organization)[AccountKind.CASH_IN_TRANSIT] == 25 * NANO_PER_USD


def test_a_dispute_of_somebody_elses_payment_is_none_of_ours(double, organization):
    double.pay(double.customer("pm_card_createDispute"))
    hear()

    assert not Dispute.objects.exists()
    assert "ignored" in StripeEvent.objects.values_list("state", flat=True)


def test_staff_lets_the_evidence_be_sent_once(double, browser, organization, payer):
    payment, dispute = disputed(double, browser, organization)
    finance = make_staff(StaffGroup.FINANCE)
    for group in set(StaffGroup) - {StaffGroup.FINANCE}:
        with pytest.raises(UnableToAnswer, match="may not"):
            answer_dispute(dispute=dispute, by=make_staff(group), now=timezone.now())
    answer_dispute(dispute=dispute, by=finance, now=timezone.now())
    with pytest.raises(UnableToAnswer, match="no answer any more"):
        answer_dispute(dispute=dispute, by=finance, now=timezone.now())
    assert double.v1.disputes.retrieve(dispute.stripe_dispute_id).status == "needs_response"
    for _ in range(2):
        look_after_disputes(now=timezone.now() + LOOK_AGAIN * 2)

    dispute.refresh_from_db()
    sent = double.v1.disputes.retrieve(dispute.stripe_dispute_id)
    assert (dispute.state, sent.status, sent.evidence_details.submission_count) == ("answered", "under_review", 1)
    assert sent.evidence.customer_email_address == payer.email
    assert payment.public_id in sent.evidence.product_description
    assert "payment.started" in sent.evidence.access_activity_log
    assert payer.public_id in sent.evidence.access_activity_log
    log = AuditEvent.objects.filter(target_id=dispute.public_id).order_by("sequence")
    assert list(log.values_list("action", "actor_id")) == [
        ("dispute.opened", ""),
        ("dispute.answered", finance.public_id),
        ("dispute.reviewed", ""),
    ]


EVERY_ORDER = list(permutations(["created", "withdrawn", "closed", "swept"]))[:: 1 if os.environ.get("PROVE") else 7]


@pytest.mark.parametrize("outcome", ["won", "lost"])
@pytest.mark.parametrize("order", EVERY_ORDER, ids=["-".join(order) for order in EVERY_ORDER])
def test_messages_in_any_order_and_number_come_to_the_same(double, browser, organization, order, outcome):
    """Also where the first that we hear of a dispute is its end."""
    bought(double, browser, organization, DISPUTED)
    (theirs,) = double.v1.disputes.list().data
    if order[0] in ("closed", "withdrawn"):
        double.control("dispute", dispute=theirs.id, outcome=outcome)
    for word in order:
        if word == "swept":
            look_after_disputes(now=timezone.now() + LOOK_AGAIN * 2)
            continue
        kind = "funds_withdrawn" if word == "withdrawn" else word
        for _ in range(2):
            assert tell(browser, message(f"charge.dispute.{kind}", theirs.id)).status_code == 200
        work_events(now=timezone.now())
    if order[0] not in ("closed", "withdrawn"):
        double.control("dispute", dispute=theirs.id, outcome=outcome)
        read_dispute(stripe_id=theirs.id, now=timezone.now())

    dispute = Dispute.objects.get()
    balances = books(organization)
    assert (dispute.state, balances[AccountKind.DISPUTES]) == (outcome, 0)
    left = 25 * NANO_PER_USD if outcome == "won" else 0
    assert limit_nano(organization) == STARTER + left
    assert balances[AccountKind.PREPAID_CREDIT] == balances[AccountKind.CASH_IN_TRANSIT] == left
    assert set(StripeEvent.objects.values_list("state", flat=True)) == {"done"}
    assert not prove_ledger().differences


def test_a_dispute_that_comes_before_word_of_its_payment_lets_it_arrive(double, browser, organization):
    payment, _ = add(browser, organization)
    pay(double, payment, DISPUTED)
    (theirs,) = double.v1.disputes.list().data
    with as_platform():
        assert read_dispute(stripe_id=theirs.id, now=timezone.now()) == "disputed"

    payment.refresh_from_db()
    assert (payment.state, limit_nano(organization)) == ("succeeded", STARTER)
    assert Dispute.objects.get().frozen_cents == 2500


def test_another_end_than_the_one_we_know_is_an_alarm(double, browser, organization, log_lines):
    _payment, dispute = disputed(double, browser, organization)
    decide(double, dispute, "lost")
    Dispute.objects.update(state="won")

    read_dispute(stripe_id=dispute.stripe_dispute_id, now=timezone.now())

    assert "billing.dispute.differs" in log_lines()
    assert limit_nano(organization) == STARTER


@pytest.mark.parametrize("outcome", ["won", "lost"])
def test_an_organization_stands_disputed_until_it_is_decided(double, browser, organization, outcome):
    _payment, dispute = disputed(double, browser, organization)
    assert standing_of(organization) == "disputed"

    decide(double, dispute, outcome)

    assert standing_of(organization) == "good"


def test_a_question_of_the_bank_changes_no_standing(double, browser, organization):
    disputed(double, browser, organization, INQUIRED)

    assert standing_of(organization) == "good"


def test_who_is_suspended_stays_so_whatever_a_bank_says(double, browser, organization):
    payment = bought(double, browser, organization, DISPUTED)
    now = timezone.now()
    Standing.objects.create(organization=organization, state="suspended", since=now, began_at=now)
    Organization.objects.filter(pk=organization.pk).update(payment_state="suspended")

    hear()

    assert Dispute.objects.get(payment=payment).state == "disputed"
    assert standing_of(organization) == "suspended"


def standing_of(organization):
    organization.refresh_from_db()
    return organization.payment_state
