"""What a lost dispute leaves owed is asked for, paid once by a person, and told by every book (ADR 0032)."""

from datetime import timedelta

import pytest
from django.core import mail
from django.utils import timezone

from accounts.models import AuditEvent, Organization
from accounts.services.staff import StaffGroup
from billing.models import AccountKind, Dispute, Payment, Standing, StandingLetter
from billing.selectors import prove_ledger
from billing.selectors.debts import debts_of
from billing.selectors.nightly_books import compare_debts
from billing.selectors.staff_receivables import receivables
from billing.selectors.standing import overdue_cents
from billing.services.disputes import mail_disputes, read_dispute
from billing.services.payments import mail_payments, read_payment
from billing.services.refunds import UnableToRefund
from billing.services.standing import work_standings
from billing.services.standing_mails import mail_letters
from billing.services.transfers import (
    ArrivedTransfer,
    UnableToChangeTransfer,
    UnableToRecordTransfer,
    confirm_transfer,
    dispute_transfer,
    mail_transfers,
    record_transfer,
    take_back_transfer,
)
from portal.lib.money import NANO_PER_USD
from portal.lib.tenancy import as_platform
from tests.accounts.test_legal_holds import make_staff
from tests.billing.payments.test_disputes import DISPUTED, decide, hear, standing_of
from tests.billing.payments.test_refunds import books, bought, proposed, spend
from tests.billing.payments.test_top_ups import limit_nano, pay
from tests.factories.accounts import make_membership, make_organization
from tests.factories.billing import make_dispute, make_payment
from tests.visits import signed_in


def owing(double, browser, organization, spent_dollars=9):
    """Lose a dispute about $25, of which all was spent that the starter credit of $5 did not pay."""
    bought(double, browser, organization, DISPUTED)
    spend(organization, spent_dollars)
    hear()
    dispute = Dispute.objects.get()
    decide(double, dispute, "lost")
    return dispute


def begin(browser, organization):
    """Press the button on the page of credit and come to the provider's page; return the payment."""
    answer = browser.post(f"/o/{organization.slug}/credit/owed/pay/")
    payment = Payment.objects.filter(purpose="debt").latest("pk")
    assert answer.url == f"/o/{organization.slug}/credit/payments/{payment.public_id}/pay/"
    browser.get(answer.url)
    payment.refresh_from_db()
    return payment


def paid(double, browser, organization, card="4242424242424242"):
    payment = begin(browser, organization)
    pay(double, payment, card)
    read_payment(payment_id=payment.pk, now=timezone.now())
    return payment


def credit_page(browser, organization):
    return browser.get(f"/o/{organization.slug}/credit/").content.decode()


def differences(organization):
    """Return what the books do not agree on: nothing."""
    with as_platform():
        owed = {row.organization: row.difference for row in receivables(timezone.now()).rows}
        found = [*compare_debts().differences, *prove_ledger().differences]
    assert owed.get(organization.slug, "0.00") == "0.00"
    return found


def test_a_person_pays_what_is_owed_and_stands_good_at_once(double, browser, organization, payer):
    owing(double, browser, organization)
    assert (standing_of(organization), overdue_cents(organization.pk, timezone.now())) == ("past_due", 400)
    assert differences(organization) == []
    assert mail_disputes(now=timezone.now()) == 1
    assert f"/o/{organization.slug}/credit/" in mail.outbox[-1].body
    assert "$4.00 is owed" in credit_page(browser, organization)

    payment = begin(browser, organization)
    assert (payment.amount_cents, payment.created_by, begin(browser, organization)) == (400, payer, payment)
    pay(double, payment)
    for _twice in range(2):
        read_payment(payment_id=payment.pk, now=timezone.now())

    balances = books(organization)
    assert (balances[AccountKind.RECEIVABLE], balances[AccountKind.CASH_IN_TRANSIT]) == (0, 4 * NANO_PER_USD)
    assert limit_nano(organization) == 9 * NANO_PER_USD  # it pays for what was used
    assert (standing_of(organization), differences(organization)) == ("good", [])
    assert "is owed" not in credit_page(browser, organization)
    assert browser.post(f"/o/{organization.slug}/credit/owed/pay/").url == f"/o/{organization.slug}/credit/"
    assert Payment.objects.filter(purpose="debt").count() == 1
    with as_platform():
        mail_payments(now=timezone.now())
    assert mail.outbox[-1].subject == "$4.00 paid for Acme"
    log = AuditEvent.objects.filter(target_id=payment.public_id).order_by("sequence")
    assert list(log.values_list("action", "actor_id")) == [
        ("payment.started", payer.public_id),
        ("payment.succeeded", ""),
    ]


def test_a_payment_of_a_debt_that_is_disputed_and_lost_is_owed_again(double, browser, organization):
    owing(double, browser, organization)
    first = paid(double, browser, organization, DISPUTED)
    hear()
    again = Dispute.objects.get(payment=first)
    assert (again.state, standing_of(organization), debts_of(organization.pk).cents) == ("disputed", "disputed", 0)
    decide(double, again, "lost")

    assert (standing_of(organization), debts_of(organization.pk).cents) == ("past_due", 400)
    assert books(organization)[AccountKind.RECEIVABLE] == 4 * NANO_PER_USD
    assert differences(organization) == []
    paid(double, browser, organization)
    assert (standing_of(organization), debts_of(organization.pk).cents) == ("good", 0)
    assert books(organization)[AccountKind.CASH_IN_TRANSIT] == 4 * NANO_PER_USD
    assert differences(organization) == []


def test_a_payment_of_a_debt_that_is_disputed_and_won_stays_paid(double, browser, organization):
    owing(double, browser, organization)
    first = paid(double, browser, organization, DISPUTED)
    hear()
    decide(double, Dispute.objects.get(payment=first), "won")

    assert (standing_of(organization), debts_of(organization.pk).cents) == ("good", 0)
    assert books(organization)[AccountKind.RECEIVABLE] == 0
    assert differences(organization) == []


def test_a_payment_of_a_debt_is_not_given_back(double, browser, organization):
    owing(double, browser, organization)
    payment = paid(double, browser, organization)
    payment.refresh_from_db()

    with pytest.raises(UnableToRefund, match="are unspent"):
        proposed(payment, make_staff(StaffGroup.FINANCE), 1)
    page = browser.get(f"/o/{organization.slug}/credit/payments/{payment.public_id}/").content.decode()
    assert "Ask for what is unspent" not in page


def test_a_loss_of_which_everything_was_frozen_leaves_nothing(double, browser, organization):
    owing(double, browser, organization, spent_dollars=5)

    assert (standing_of(organization), debts_of(organization.pk).cents) == ("good", 0)
    assert "is owed" not in credit_page(browser, organization)


def test_less_than_the_provider_charges_is_asked_of_nobody(organization, browser, double):
    lost = make_dispute(make_payment(organization, state=Payment.State.SUCCEEDED), state=Dispute.State.LOST)
    Dispute.objects.filter(pk=lost.pk).update(frozen_cents=2451)

    assert (debts_of(organization.pk).cents, overdue_cents(organization.pk, timezone.now())) == (49, 0)
    assert "is owed" not in credit_page(browser, organization)
    browser.post(f"/o/{organization.slug}/credit/owed/pay/")
    assert not Payment.objects.filter(purpose="debt").exists()


def test_who_is_suspended_is_so_until_the_debt_is_paid_too(double, browser, organization):
    owing(double, browser, organization)
    Standing.objects.update(state="suspended")
    Organization.objects.filter(pk=organization.pk).update(payment_state="suspended")

    paid(double, browser, organization)

    assert standing_of(organization) == "good"


def test_where_the_end_is_the_first_that_we_hear_the_next_look_finds_it(double, browser, organization):
    bought(double, browser, organization, DISPUTED)
    spend(organization, 9)
    (theirs,) = double.v1.disputes.list().data
    double.control("dispute", dispute=theirs.id, outcome="lost")
    read_dispute(stripe_id=theirs.id, now=timezone.now())
    assert standing_of(organization) == "good"

    with as_platform():
        assert [work_standings(now=timezone.now()) for _twice in range(2)] == [1, 0]
        mail_letters(now=timezone.now())

    assert standing_of(organization) == "past_due"
    assert StandingLetter.objects.get().owed_cents == debts_of(organization.pk).cents > 0
    assert f"/o/{organization.slug}/credit/" in mail.outbox[-1].body


def test_while_another_payment_is_disputed_it_stands_so_and_then_as_what_is_owed_says(double, browser, organization):
    bought(double, browser, organization, DISPUTED)
    bought(double, browser, organization, DISPUTED)
    spend(organization, 54)
    hear()
    first, second = Dispute.objects.order_by("pk")
    decide(double, first, "lost")
    assert standing_of(organization) == "disputed"

    decide(double, second, "won")

    assert standing_of(organization) == "past_due"
    assert differences(organization) == []


def test_what_is_paid_twice_after_all_is_an_alarm_and_owed_back(double, browser, organization, log_lines):
    owing(double, browser, organization)
    first = begin(browser, organization)
    # As if nobody could pay it any more.
    Payment.objects.filter(pk=first.pk).update(state="canceled", ended_at=timezone.now())
    paid(double, browser, organization)
    assert "billing.payment.not_owed" not in log_lines()
    pay(double, first)
    read_payment(payment_id=first.pk, now=timezone.now())

    assert "billing.payment.not_owed" in log_lines()
    assert books(organization)[AccountKind.RECEIVABLE] == -4 * NANO_PER_USD
    assert differences(organization) == []
    with as_platform():
        (row,) = receivables(timezone.now()).rows
    assert (row.to_repay, row.owed) == ("-4.00", "-4.00")


def test_the_oldest_is_paid_first_and_staff_sees_how_old_the_rest_is(organization):
    now = timezone.now()
    for days, cents in ((70, 1000), (40, 500), (0, 200)):
        payment = make_payment(organization, amount_cents=cents, state=Payment.State.SUCCEEDED)
        make_dispute(payment, state=Dispute.State.LOST, now=now - timedelta(days=days))
    paying = make_payment(organization, amount_cents=1200, state=Payment.State.SUCCEEDED)
    Payment.objects.filter(pk=paying.pk).update(purpose="debt")

    left = debts_of(organization.pk).left
    with as_platform():
        (row,) = receivables(now).rows

    assert [(debt.cents, (now - debt.since).days) for debt in left] == [(300, 40), (200, 0)]
    assert list(row.ages) == ["2.00", "0.00", "3.00", "0.00", "0.00"]
    assert row.difference == "-5.00"  # rows without postings: no book says it


def transferred(organization, cents, debt_cents, line="S-1"):
    """What one of finance records and another confirms."""
    now = timezone.now()
    arrived = ArrivedTransfer(line, cents, now.date(), "Acme", debt_cents=debt_cents)
    clerks = [make_staff(StaffGroup.FINANCE) for _ in range(2)]
    with as_platform():
        transfer = record_transfer(organization=organization, arrived=arrived, matches=None, by=clerks[0], now=now)
        return confirm_transfer(transfer=transfer, by=clerks[1], now=now)


def test_a_bank_transfer_pays_a_debt_as_finance_says_and_what_is_beyond_is_credit(double, browser, organization):
    owing(double, browser, organization)
    limit = limit_nano(organization)

    transferred(organization, 1_00, 1_00)
    assert (debts_of(organization.pk).cents, standing_of(organization)) == (300, "past_due")
    transfer = transferred(organization, 5_00, 3_00, "S-2")

    assert (debts_of(organization.pk).cents, standing_of(organization)) == (0, "good")
    assert limit_nano(organization) == limit + 2 * NANO_PER_USD
    assert differences(organization) == []
    with as_platform():
        assert mail_transfers(now=timezone.now()) == 2
    assert "What payments that were taken back left owed" in mail.outbox[-1].body

    people = [make_staff(StaffGroup.FINANCE) for _ in range(2)]
    with as_platform():
        now = timezone.now()
        dispute_transfer(transfer=transfer, because="Of somebody else", by=people[0], now=now)
        take_back_transfer(transfer=transfer, by=people[1], now=now)
    assert debts_of(organization.pk).cents == 300
    assert limit_nano(organization) == limit
    assert differences(organization) == []
    with as_platform():
        work_standings(now=timezone.now())
    assert standing_of(organization) == "past_due"


def test_no_transfer_pays_more_of_a_debt_than_is_owed(double, browser, organization):
    owing(double, browser, organization)
    with pytest.raises(UnableToRecordTransfer, match=r"4\.00 are owed"):
        transferred(organization, 10_00, 4_01)
    with pytest.raises(UnableToRecordTransfer, match="more than has arrived"):
        transferred(organization, 1_00, 2_00)

    now, clerks = timezone.now(), [make_staff(StaffGroup.FINANCE) for _ in range(2)]
    arrived = ArrivedTransfer("S-9", 4_00, now.date(), "Acme", debt_cents=4_00)
    with as_platform():
        waiting = record_transfer(organization=organization, arrived=arrived, matches=None, by=clerks[0], now=now)
    transferred(organization, 1_00, 1_00, "S-10")
    with as_platform(), pytest.raises(UnableToChangeTransfer, match=r"3\.00 are owed"):
        confirm_transfer(transfer=waiting, by=clerks[1], now=now)


def test_what_rows_say_and_books_do_not_is_named(double, browser, organization):
    dispute = owing(double, browser, organization)
    Dispute.objects.filter(pk=dispute.pk).update(frozen_cents=2000)

    (found,) = differences_of_debts()

    assert (found.thing.name, found.amount_nano) == (f"lost dispute {dispute.public_id}", NANO_PER_USD)


def differences_of_debts():
    with as_platform():
        return compare_debts().differences


def test_what_another_organization_owes_is_none_of_ours(double, browser, organization):
    other = make_organization(name="Other")
    lost = make_payment(other, state=Payment.State.SUCCEEDED)
    make_dispute(lost, state=Dispute.State.LOST)
    theirs = signed_in(make_membership(other).user)
    assert theirs.post(f"/o/{other.slug}/credit/owed/pay/").status_code == 302

    assert (debts_of(other.pk).cents, debts_of(organization.pk).cents) == (2500, 0)
    assert browser.post(f"/o/{organization.slug}/credit/owed/pay/").url == f"/o/{organization.slug}/credit/"
    assert Payment.objects.get(purpose="debt").organization == other
