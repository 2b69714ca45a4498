"""Invoices that are due are paid by the card that is kept, on the days that are written down, or by a person."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from accounts.models import AuditEvent, Role
from billing.invoicing.dunning import CHARGES, Refusal, next_charge_at
from billing.models import Invoice, Payment, Standing
from billing.selectors import prove_ledger
from billing.services.collecting import collect_due_invoices
from billing.services.payments import look_after_payments
from billing.services.standing import work_standings
from portal.lib.tenancy import as_platform
from tests.billing.payments.test_cards import keep_card
from tests.billing.payments.test_charges import DECLINED_LATER, WANTS_HOLDER, card_that, open_invoice
from tests.billing.payments.test_top_ups import pay
from tests.billing.test_worked_numbers import table
from tests.factories.accounts import make_membership
from tests.visits import signed_in

DUE = datetime(2027, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def collect(now: datetime) -> int:
    with as_platform():
        return collect_due_invoices(now=now)


def settle(now: datetime) -> None:
    with as_platform():
        look_after_payments(now=now)


@pytest.mark.parametrize("row", table("dunning.md", "refusals so far"))
def test_charges_come_on_the_days_that_are_written_down(row):
    refusals: list[Refusal] = []
    for word in (word.strip() for word in row["refusals so far"].split(",") if word.strip()):
        begun_at = next_charge_at(DUE, refusals)
        assert begun_at is not None
        refusals.append(Refusal(word, begun_at))

    at = next_charge_at(DUE, refusals)

    assert (f"{at:%Y-%m-%d}" if at else "never") == row["next charge"]


def test_an_invoice_is_charged_when_it_is_due_and_once(double, browser, organization):
    invoice = open_invoice(organization)
    keep_card(double, browser, organization)

    assert collect(invoice.due_at - timedelta(seconds=1)) == 0
    assert [collect(invoice.due_at), collect(invoice.due_at)] == [1, 0]
    settle(timezone.now())

    invoice.refresh_from_db()
    assert invoice.status == "paid"
    assert collect(invoice.due_at + DAY) == 0
    assert sum(intent.amount_received for intent in double.v1.payment_intents.list().data) == 1250
    assert not prove_ledger().differences


def test_nobody_is_past_due_before_their_bank_has_answered(double, browser, organization):
    invoice = open_invoice(organization)
    keep_card(double, browser, organization, DECLINED_LATER)
    collect(invoice.due_at)
    with as_platform():
        assert work_standings(now=invoice.due_at) == 0

    settle(timezone.now() + timedelta(minutes=11))
    with as_platform():
        assert work_standings(now=invoice.due_at) == 1
    assert Standing.objects.get().state == "past_due"


def test_a_card_that_refuses_is_asked_again_on_later_days(double, browser, organization):
    invoice = open_invoice(organization)
    keep_card(double, browser, organization, DECLINED_LATER)
    begun = []
    for day in range(10):
        begun.append(collect(invoice.due_at + day * DAY))
        settle(invoice.due_at + day * DAY + timedelta(minutes=11))

    assert begun == [1, 1, 0, 1, 0, 1, 0, 1, 0, 0]
    assert set(Payment.objects.values_list("state", flat=True)) == {"failed"}
    invoice.refresh_from_db()
    assert invoice.status == "open"


def test_a_bank_that_wants_the_holder_is_not_asked_again(double, browser, organization):
    invoice = open_invoice(organization)
    card_that(double, browser, organization, WANTS_HOLDER)
    collect(invoice.due_at)
    settle(timezone.now())

    assert Payment.objects.get().failure == "authentication_required"
    assert collect(invoice.due_at + 7 * DAY) == 0


def test_another_card_is_charged_at_once_for_what_the_first_refused(double, browser, organization):
    invoice = open_invoice(organization)
    first = keep_card(double, browser, organization, DECLINED_LATER)
    collect(invoice.due_at)
    settle(timezone.now())
    second = keep_card(double, browser, organization)
    first.refresh_from_db()
    first.is_default = False
    first.save(update_fields=["is_default"])
    second.is_default = True
    second.save(update_fields=["is_default"])

    assert collect(invoice.due_at) == 1
    settle(timezone.now())

    invoice.refresh_from_db()
    assert invoice.status == "paid"


def test_a_card_that_is_added_late_is_not_charged_in_one_go(double, browser, organization):
    invoice = open_invoice(organization)
    keep_card(double, browser, organization, DECLINED_LATER)
    begun = []
    for quarter in range(4 * 24 + 1):
        now = invoice.due_at + 10 * DAY + quarter * timedelta(minutes=15)
        if collect(now):
            begun.append(quarter)
            settle(now + timedelta(minutes=11))

    assert begun == [0, 4 * 24]


def test_a_portal_that_was_away_charges_once_a_day():
    refusals = [Refusal("card_declined", DUE)]
    for day in range(30, 33):
        at = next_charge_at(DUE, refusals)
        assert at is not None
        assert at <= DUE + day * DAY
        refusals.append(Refusal("card_declined", DUE + day * DAY))

    assert next_charge_at(DUE, refusals) == DUE + 33 * DAY
    assert len(refusals) < len(CHARGES)


def test_without_a_card_nobody_is_charged(organization):
    invoice = open_invoice(organization)

    assert collect(invoice.due_at + DAY) == 0
    assert not Payment.objects.exists()


def test_a_person_pays_an_invoice_from_its_page_and_stands_good_again(double, browser, organization):
    invoice = open_invoice(organization)
    with as_platform():
        work_standings(now=invoice.due_at + timedelta(hours=1))
    assert Standing.objects.get().state == "past_due"
    address = f"/o/{organization.slug}/invoices/{invoice.public_id}/"
    assert "Pay $12.50 by card" in browser.get(address).content.decode()

    answer = browser.post(f"{address}pay/")
    payment = Payment.objects.get()
    assert answer.url == f"/o/{organization.slug}/credit/payments/{payment.public_id}/pay/"
    begun = AuditEvent.objects.get(target_id=payment.public_id)
    assert (begun.action, begun.actor_kind) == ("payment.started", "user")
    browser.get(answer.url)
    payment.refresh_from_db()
    pay(double, payment)
    settle(timezone.now() + timedelta(minutes=11))

    invoice.refresh_from_db()
    assert (invoice.status, Standing.objects.get().state) == ("paid", "good")
    assert "by card" not in browser.get(address).content.decode()
    assert browser.post(f"{address}pay/").url == address
    assert Payment.objects.count() == 1


def test_only_who_manages_billing_sees_the_button(double, organization):
    invoice = open_invoice(organization)
    viewer = signed_in(make_membership(organization, role=Role.DEVELOPER).user)
    address = f"/o/{organization.slug}/invoices/{invoice.public_id}/"

    assert "by card" not in viewer.get(address).content.decode()
    assert viewer.post(f"{address}pay/").status_code == 403
    assert Invoice.objects.get().status == "open"
