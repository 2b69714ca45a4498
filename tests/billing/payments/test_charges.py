"""Kept cards are charged without their holder: once, within what was agreed, and never again after a no."""

from dataclasses import asdict
from datetime import timedelta

import pytest
from django.core import mail
from django.db import IntegrityError
from django.utils import timezone

from accounts.models import AuditEvent
from billing.models import AutoReload, Invoice, Payment, PaymentMethod
from billing.selectors import prove_ledger
from billing.services.auto_reload import ReloadTerms, UnableToReload, set_auto_reload, start_reload, start_reloads
from billing.services.auto_reload_outcomes import MOST_FAILURES
from billing.services.cards import remove_card
from billing.services.invoice_payments import UnableToCollect, collect_invoice
from billing.services.payments import look_after_payments, mail_payments
from billing.services.stripe_events import work_events
from portal.lib.money import NANO_PER_USD
from tests.billing.payments.test_cards import keep_card
from tests.billing.payments.test_refunds import just_signed_in, spend
from tests.billing.payments.test_top_ups import STARTER, limit_nano, pay
from tests.billing.test_services_invoices import ON_TERMS
from tests.doubles.provider import message, tell
from tests.factories.billing import make_auto_reload, make_payment

WANTS_HOLDER, DECLINED_LATER = "4000002760003184", "4000000000000341"
HOUR = timedelta(hours=1)


def begin(organization, now=None):
    return start_reload(organization_id=organization.pk, now=now or timezone.now())


def settle(now=None):
    look_after_payments(now=now or timezone.now())


def card_that(double, browser, organization, number):
    """Keep a card; one that asks for 3-D Secure is authenticated once."""
    if number != WANTS_HOLDER:
        return keep_card(double, browser, organization, number)
    with_card = keep_card(double, browser, organization)
    account = with_card.organization.billing_account
    method = double.v1.payment_methods.attach(double.card(number).id, {"customer": account.stripe_customer_id})
    PaymentMethod.objects.filter(pk=with_card.pk).update(stripe_payment_method_id=method.id)
    with_card.refresh_from_db()
    return with_card


def test_credit_that_runs_low_buys_more_of_itself_once(double, browser, organization):
    keep_card(double, browser, organization)
    make_auto_reload(organization)
    assert start_reloads(now=timezone.now()) == 1
    assert start_reloads(now=timezone.now()) == 0
    for _ in range(2):
        settle()

    payment = Payment.objects.get()
    assert (payment.purpose, payment.state, payment.amount_cents) == ("reload", "succeeded", 5000)
    assert limit_nano(organization) == STARTER + 50 * NANO_PER_USD
    assert [intent.status for intent in double.v1.payment_intents.list().data] == ["succeeded"]
    assert not prove_ledger().differences
    log = AuditEvent.objects.filter(target_id=payment.public_id).order_by("sequence")
    assert list(log.values_list("action", "actor_kind")) == [
        ("payment.started", "portal"),
        ("payment.succeeded", "portal"),
    ]
    assert mail_payments(now=timezone.now()) == 1
    assert (
        "bought automatically"
        in browser.get(f"/o/{organization.slug}/credit/payments/{payment.public_id}/").content.decode()
    )


def test_at_most_once_an_hour_one_at_a_time_and_within_the_ceiling(double, browser, organization):
    keep_card(double, browser, organization)
    make_auto_reload(organization)
    begun = timezone.now().replace(day=2, hour=1)
    bought = 0
    for minute in range(0, 8 * 60, 30):
        now = begun + timedelta(minutes=minute)
        if begin(organization, now) is not None:
            assert begin(organization, now + 2 * HOUR) is None
            bought += 1
        settle(now)
        # Whatever was bought is used up.
        spend(organization, 30)
    assert bought == 4
    assert sum(payment.amount_cents for payment in Payment.objects.all()) == 200_00
    two = [make_payment(organization, now=begun).pk for _ in range(2)]
    with pytest.raises(IntegrityError, match="one_reload_in_flight"):
        Payment.objects.filter(pk__in=two).update(purpose="reload")


def test_not_while_there_is_enough_no_card_or_it_is_off(double, browser, organization):
    reload = make_auto_reload(organization)
    assert begin(organization) is None
    card = keep_card(double, browser, organization)
    AutoReload.objects.update(threshold_cents=5_00)
    assert begin(organization) is None
    AutoReload.objects.update(threshold_cents=5_01, is_on=False, off_because="person")
    assert begin(organization) is None
    AutoReload.objects.update(is_on=True, off_because="")
    remove_card(card=card, by=None, now=timezone.now())
    assert begin(organization) is None
    reload.refresh_from_db()
    assert reload.tried_at is None
    assert not Payment.objects.exists()


def test_a_bank_that_wants_the_holder_gets_them_on_the_providers_page(double, browser, organization, payer):
    card_that(double, browser, organization, WANTS_HOLDER)
    make_auto_reload(organization)
    payment = begin(organization)
    settle()

    payment.refresh_from_db()
    assert (payment.state, payment.failure) == ("failed", "authentication_required")
    # Nobody pays it later.
    assert [intent.status for intent in double.v1.payment_intents.list().data] == ["canceled"]
    mail_payments(now=timezone.now())
    assert mail.outbox[-1].subject == "Confirm a payment of $50.00 for Acme"
    address = f"/o/{organization.slug}/credit/payments/{payment.public_id}/"
    assert address in mail.outbox[-1].body
    assert "Confirm and pay" in browser.get(address).content.decode()
    again = browser.post(f"{address}again/")
    browser.get(again.url)
    second = Payment.objects.latest("pk")
    intent = pay(double, second, WANTS_HOLDER)
    double.control("authenticate", intent=intent["id"])
    settle(timezone.now() + timedelta(minutes=11))

    assert limit_nano(organization) == STARTER + 50 * NANO_PER_USD
    assert Payment.objects.filter(state="succeeded").count() == 1


def test_the_third_failure_in_a_row_turns_it_off_with_a_mail(double, browser, organization):
    keep_card(double, browser, organization, DECLINED_LATER)
    make_auto_reload(organization)
    now = timezone.now()
    for number in range(MOST_FAILURES + 2):
        begin(organization, now + number * HOUR)
        settle(now + number * HOUR)

    reload = AutoReload.objects.get()
    assert (reload.is_on, reload.off_because, reload.failure_count) == (False, "failures", MOST_FAILURES)
    assert Payment.objects.filter(state="failed").count() == MOST_FAILURES
    assert limit_nano(organization) == STARTER
    mail_payments(now=now)
    assert "Auto-reload is turned off" in mail.outbox[-1].body
    assert AuditEvent.objects.filter(action="auto_reload.turned_off", actor_kind="portal").count() == 1
    page = just_signed_in(browser).get(f"/o/{organization.slug}/credit/auto-reload/").content.decode()
    assert "payments failed" in page
    assert (
        browser.post(
            f"/o/{organization.slug}/credit/auto-reload/",
            {"is_on": "on", "threshold": "10", "reload_amount": "50", "ceiling": "200"},
        ).status_code
        == 302
    )
    reload.refresh_from_db()
    assert (reload.is_on, reload.failure_count) == (True, 0)


def test_a_success_forgets_the_failures_before_it(double, browser, organization):
    keep_card(double, browser, organization)
    make_auto_reload(organization)
    AutoReload.objects.update(failure_count=2)
    begin(organization)
    settle()

    assert AutoReload.objects.get().failure_count == 0


def test_a_card_that_is_gone_at_the_provider_fails_and_charges_nobody(double, browser, organization):
    card = keep_card(double, browser, organization)
    make_auto_reload(organization)
    payment = begin(organization)
    double.v1.payment_methods.detach(card.stripe_payment_method_id)
    settle()

    payment.refresh_from_db()
    assert payment.state == "failed"
    assert not [intent for intent in double.v1.payment_intents.list().data if intent.status == "succeeded"]


@pytest.mark.parametrize("kind", ["500", "drop", "429"])
@pytest.mark.parametrize("after", [False, True])
def test_a_provider_in_trouble_charges_once(double, browser, organization, kind, after):
    keep_card(double, browser, organization)
    make_auto_reload(organization)
    now = timezone.now()
    payment = begin(organization, now)
    double.control("fail", kind=kind, count=3, after=after and kind != "429", path="/v1/payment_intents")
    for minute in range(0, 50, 5):
        settle(now + timedelta(minutes=minute))

    payment.refresh_from_db()
    assert payment.state == "succeeded"
    assert sum(intent.amount_received for intent in double.v1.payment_intents.list().data) == 5000
    assert limit_nano(organization) == STARTER + 50 * NANO_PER_USD


def test_messages_tell_of_it_too(double, browser, organization):
    keep_card(double, browser, organization)
    make_auto_reload(organization)
    payment = begin(organization)
    settle()
    payment.refresh_from_db()
    for kind in ("succeeded", "payment_failed", "succeeded"):
        tell(browser, message(f"payment_intent.{kind}", payment.stripe_payment_intent_id))
    work_events(now=timezone.now())

    payment.refresh_from_db()
    assert payment.state == "succeeded"
    assert limit_nano(organization) == STARTER + 50 * NANO_PER_USD


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"threshold": "0"}, "greater than or equal to 0.01"),
        ({"reload_amount": "4.99"}, "greater than or equal to 5"),
        ({"reload_amount": "10000.01", "ceiling": "20000"}, "between $5.00 and $10,000.00"),
        ({"ceiling": "49.99"}, "at least what it buys at once"),
        ({"ceiling": "100000.01"}, "at most $100,000"),
        ({"threshold": "10000.01"}, "at most $10,000.00"),
        ({"ceiling": "NaN"}, "Enter a number"),
    ],
)
def test_refuses_terms_that_make_no_sense(double, browser, organization, change, says):
    given = {"is_on": "on", "threshold": "10", "reload_amount": "50", "ceiling": "200"} | change
    answer = just_signed_in(browser).post(f"/o/{organization.slug}/credit/auto-reload/", given)

    assert answer.status_code == 422
    assert says in answer.content.decode()
    assert not AutoReload.objects.exists()


def test_it_is_turned_on_with_a_card_by_who_signed_in_lately(double, browser, organization, payer):
    terms = ReloadTerms(is_on=True, threshold_cents=1000, amount_cents=5000, ceiling_cents=20000)
    with pytest.raises(UnableToReload, match="Add a card first"):
        set_auto_reload(organization=organization, terms=terms, by=payer, now=timezone.now())
    keep_card(double, browser, organization)
    session = browser.session
    session["signed_in_at"] = 1.0
    session.save()
    given = {"is_on": "on", "threshold": "10", "reload_amount": "50", "ceiling": "200"}
    assert "reload" not in browser.post(f"/o/{organization.slug}/credit/auto-reload/", given).url.split("?")[0]
    assert not AutoReload.objects.exists()


def open_invoice(organization, cents=1250):
    return Invoice.objects.create(
        organization=organization,
        number=f"T-{organization.pk:06}",
        status="open",
        period_start=timezone.now() - timedelta(days=60),
        period_end=timezone.now() - timedelta(days=30),
        total_cents=cents,
        owed_cents=cents,
        due_cents=cents,
        counted_below=0,
        terms=asdict(ON_TERMS),
        drafted_at=timezone.now(),
        issued_at=timezone.now(),
        due_at=timezone.now(),
    )


def test_an_invoice_is_collected_once(double, browser, organization):
    invoice = open_invoice(organization)
    with pytest.raises(UnableToCollect, match="No card is kept"):
        collect_invoice(invoice=invoice, now=timezone.now())
    keep_card(double, browser, organization)
    first = collect_invoice(invoice=invoice, now=timezone.now())
    assert collect_invoice(invoice=invoice, now=timezone.now()) == first
    settle()

    invoice.refresh_from_db()
    assert invoice.status == "paid"
    assert sum(intent.amount_received for intent in double.v1.payment_intents.list().data) == 1250
    with pytest.raises(UnableToCollect, match="Nothing of this invoice"):
        collect_invoice(invoice=invoice, now=timezone.now())
    mail_payments(now=timezone.now())
    assert mail.outbox[-1].subject == "$12.50 paid for Acme"
    assert not prove_ledger().differences


def test_what_arrives_for_an_invoice_that_is_paid_meanwhile_is_owed_back(double, browser, organization, log_lines):
    invoice = open_invoice(organization)
    keep_card(double, browser, organization)
    collect_invoice(invoice=invoice, now=timezone.now())
    Invoice.objects.filter(pk=invoice.pk).update(status="paid", paid_at=timezone.now())
    settle()

    assert Payment.objects.get().state == "succeeded"
    assert "billing.payment.not_owed" in log_lines()
    assert not prove_ledger().differences


def test_a_declined_collection_is_paid_by_a_person(double, browser, organization):
    invoice = open_invoice(organization)
    keep_card(double, browser, organization, DECLINED_LATER)
    payment = collect_invoice(invoice=invoice, now=timezone.now())
    settle()
    again = browser.post(f"/o/{organization.slug}/credit/payments/{payment.public_id}/again/")
    browser.get(again.url)
    second = Payment.objects.latest("pk")
    pay(double, second)
    settle(timezone.now() + timedelta(minutes=11))

    invoice.refresh_from_db()
    assert (second.invoice, invoice.status) == (invoice, "paid")
    assert limit_nano(organization) >= STARTER
