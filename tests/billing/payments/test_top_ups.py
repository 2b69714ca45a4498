"""Credit is bought on the provider's page, and is there once when it is paid, whatever is lost on the way."""

import re
from datetime import timedelta
from itertools import permutations

import pytest
from django.core import mail
from django.test import override_settings
from django.utils import timezone

from accounts.models import AuditEvent, Role
from billing.models import AccountKind, BillingAccount, CreditGrant, LedgerAccount, Payment, SpendCap, StripeEvent
from billing.selectors import prove_ledger
from billing.services.payments import PaymentDiffers, look_after_payments, mail_payments, read_payment
from billing.services.stripe_events import fetch_messages, work_events
from billing.services.top_ups import (
    LARGEST_CENTS,
    MOST_UNFINISHED,
    SMALLEST_CENTS,
    UnableToTopUp,
    WaysBack,
    open_payment_page,
    start_top_up,
)
from portal.lib.money import NANO_PER_CENT, NANO_PER_USD
from tests.doubles.provider import message, tell
from tests.factories.accounts import make_membership, make_organization

DECLINED = "4000000000000002"
THREE_D_SECURE = "4000002760003184"
STARTER = 5 * NANO_PER_USD


def add(browser, organization, amount="25.00"):
    """Begin a payment as a person does; return it and the answer with the way to the provider."""
    begun = browser.post(f"/o/{organization.slug}/credit/add/", {"amount": amount})
    assert begun.status_code == 302, begun.content.decode()
    return Payment.objects.latest("pk"), browser.get(begun.url)


def pay(double, payment, card="4242424242424242"):
    payment.refresh_from_db()
    return double.control("checkout", session=payment.stripe_session_id, card=card)


def limit_nano(organization):
    return SpendCap.objects.of_organization(organization.pk).get().limit_nano


def test_credit_is_there_once_it_is_paid(double, browser, organization, payer):
    payment, on_the_way = add(browser, organization)
    address = re.search(rf'href="({double.url}/c/[^"]+)"', on_the_way.content.decode())
    assert address, "the page does not lead to the provider"
    assert f'content="0;url={address[1]}"' in on_the_way.content.decode()
    pay(double, payment)
    assert fetch_messages(now=timezone.now()) > 0
    work_events(now=timezone.now())

    payment.refresh_from_db()
    assert (payment.state, payment.amount_cents, payment.created_by) == ("succeeded", 2500, payer)
    assert payment.stripe_payment_intent_id.startswith("pi_")
    assert limit_nano(organization) == STARTER + 25 * NANO_PER_USD
    bought = CreditGrant.objects.get(kind=CreditGrant.Kind.PREPAID)
    assert (bought.organization, bought.amount_nano) == (organization, 25 * NANO_PER_USD)
    balances = {one.kind: one.balance_nano for one in LedgerAccount.objects.owned_by(organization)}
    assert balances[AccountKind.PREPAID_CREDIT] == balances[AccountKind.CASH_IN_TRANSIT] == 25 * NANO_PER_USD
    assert not prove_ledger().differences
    log = AuditEvent.objects.filter(target_id=payment.public_id).order_by("sequence")
    assert list(log.values_list("action", "actor_kind")) == [
        ("payment.started", "user"),
        ("payment.succeeded", "portal"),
    ]
    shown = browser.get(f"/o/{organization.slug}/credit/").content.decode()
    assert "$30.00" in shown
    assert "Bought credit" in shown
    assert "Paid" in browser.get(f"/o/{organization.slug}/credit/payments/{payment.public_id}/").content.decode()


def test_who_may_pay_is_mailed_once(double, browser, organization, payer):
    make_membership(organization, role=Role.DEVELOPER)
    payment, _ = add(browser, organization)
    pay(double, payment)
    read_payment(payment_id=payment.pk, now=timezone.now())

    assert mail_payments(now=timezone.now()) == 1
    assert mail_payments(now=timezone.now()) == 0
    (sent,) = mail.outbox
    assert sent.to == [payer.email]
    assert sent.subject == "$25.00 of credit added to Acme"
    assert "Left to spend: $30.00" in sent.body


@pytest.mark.parametrize(
    ("amount", "says"),
    [
        ("4.99", "greater than or equal to 5"),
        ("10000.01", "less than or equal to 10000"),
        ("5.001", "no more than 2 decimal places"),
        ("lots", "Enter a number"),
        ("", "This field is required"),
        ("-25", "greater than or equal to 5"),
        ("NaN", "Enter a number"),
    ],
)
def test_refuses_other_amounts_and_changes_nothing(double, browser, organization, amount, says):
    answer = browser.post(f"/o/{organization.slug}/credit/add/", {"amount": amount})

    assert answer.status_code == 422
    assert says in answer.content.decode()
    assert not Payment.objects.exists()
    assert double.look("requests") == []


@pytest.mark.parametrize("cents", [SMALLEST_CENTS - 1, LARGEST_CENTS + 1, 0, -2500])
def test_the_service_refuses_other_amounts_too(double, organization, payer, cents):
    with pytest.raises(UnableToTopUp, match=r"Add between \$5.00 and \$10,000.00"):
        start_top_up(organization=organization, user=payer, amount_cents=cents, now=timezone.now())


def test_ten_unfinished_payments_are_enough(double, browser, organization, payer):
    for _ in range(MOST_UNFINISHED):
        start_top_up(organization=organization, user=payer, amount_cents=SMALLEST_CENTS, now=timezone.now())

    answer = browser.post(f"/o/{organization.slug}/credit/add/", {"amount": "25"})

    assert answer.status_code == 422
    assert "ten unfinished payments" in answer.content.decode()
    assert Payment.objects.count() == MOST_UNFINISHED


def test_nothing_is_sold_without_a_provider(browser, organization, payer):
    with override_settings(STRIPE_SECRET_KEY=""):
        assert "Continue to payment" not in browser.get(f"/o/{organization.slug}/credit/").content.decode()
        answer = browser.post(f"/o/{organization.slug}/credit/add/", {"amount": "25"})
        assert fetch_messages(now=timezone.now()) == 0

        with pytest.raises(UnableToTopUp, match="not set up"):
            start_top_up(organization=organization, user=payer, amount_cents=2500, now=timezone.now())

    assert answer.status_code == 422
    assert not Payment.objects.exists()


def test_a_payment_is_opened_once_however_often_it_is_asked_for(double, browser, organization):
    payment, first = add(browser, organization)
    second = browser.get(f"/o/{organization.slug}/credit/payments/{payment.public_id}/pay/")

    address = re.compile(rf"{double.url}/c/\w+")
    assert set(address.findall(first.content.decode())) == set(address.findall(second.content.decode()))
    assert len(double.v1.checkout.sessions.list().data) == 1


@pytest.mark.parametrize(
    ("kind", "after"),
    [("500", False), ("500", True), ("drop", False), ("drop", True), ("429", False)],
    ids=["500", "500 for what is done", "no answer", "no answer for what is done", "429"],
)
def test_a_provider_that_fails_charges_nothing_and_opens_one_page_later(double, browser, organization, kind, after):
    # Twice each, since the library tries once more by itself where it makes sense at once.
    for path in ("/v1/customers", "/v1/checkout"):
        double.control("fail", kind=kind, count=1 if kind == "429" else 2, after=after, path=path)
    payment, answer = add(browser, organization)
    again = f"/o/{organization.slug}/credit/payments/{payment.public_id}/pay/"
    tried = [answer, browser.get(again), browser.get(again)]

    assert [answer.status_code for answer in tried] == [409, 409, 200]
    assert all("Nothing was charged" in answer.content.decode() for answer in tried[:2])
    assert len(double.v1.checkout.sessions.list().data) == 1
    assert [one.id for one in double.v1.customers.list().data] == [BillingAccount.objects.get().stripe_customer_id]


def test_two_payments_are_of_one_customer_who_is_known_by_name_alone(double, browser, organization):
    add(browser, organization)
    add(browser, organization)

    (customer,) = double.v1.customers.list().data
    assert (customer.name, customer.email) == ("Acme", None)
    assert customer.metadata.to_dict() == {"organization": organization.public_id}


def test_a_declined_card_can_be_followed_by_another(double, browser, organization):
    payment, _ = add(browser, organization)
    with pytest.raises(Exception, match="402"):
        pay(double, payment, DECLINED)
    read_payment(payment_id=payment.pk, now=timezone.now())
    payment.refresh_from_db()
    assert payment.state == "pending"
    assert limit_nano(organization) == STARTER

    pay(double, payment)
    read_payment(payment_id=payment.pk, now=timezone.now())
    payment.refresh_from_db()
    assert payment.state == "succeeded"
    assert limit_nano(organization) == STARTER + 25 * NANO_PER_USD


def test_a_card_that_waits_for_its_bank_gives_nothing_yet(double, browser, organization):
    payment, _ = add(browser, organization)
    intent = pay(double, payment, THREE_D_SECURE)
    assert read_payment(payment_id=payment.pk, now=timezone.now()) == "pending"
    assert limit_nano(organization) == STARTER

    double.control("authenticate", intent=intent["id"], succeeded=True)
    assert read_payment(payment_id=payment.pk, now=timezone.now()) == "succeeded"
    assert limit_nano(organization) == STARTER + 25 * NANO_PER_USD


def test_a_page_that_expires_ends_its_payment(double, browser, organization):
    payment, _ = add(browser, organization)
    double.control("clock", seconds=25 * 3600)

    assert look_after_payments(now=payment.look_at - timedelta(seconds=1)) == 0
    assert look_after_payments(now=payment.look_at) == 1

    payment.refresh_from_db()
    assert (payment.state, limit_nano(organization)) == ("canceled", STARTER)
    again = browser.get(f"/o/{organization.slug}/credit/payments/{payment.public_id}/pay/")
    assert (again.status_code, again.url) == (302, f"/o/{organization.slug}/credit/payments/{payment.public_id}/")


def test_a_payment_can_be_canceled_and_is_not_payable_any_more(double, browser, organization):
    payment, _ = add(browser, organization)
    browser.post(f"/o/{organization.slug}/credit/payments/{payment.public_id}/cancel/")

    payment.refresh_from_db()
    assert payment.state == "canceled"
    assert double.v1.checkout.sessions.retrieve(payment.stripe_session_id).status == "expired"


def test_canceling_what_is_paid_already_gives_the_credit(double, browser, organization):
    payment, _ = add(browser, organization)
    pay(double, payment)
    browser.post(f"/o/{organization.slug}/credit/payments/{payment.public_id}/cancel/")

    payment.refresh_from_db()
    assert (payment.state, limit_nano(organization)) == ("succeeded", STARTER + 25 * NANO_PER_USD)


def test_a_payment_that_was_never_opened_is_given_up_after_an_hour(double, organization, payer):
    begun = timezone.now()
    payment = start_top_up(organization=organization, user=payer, amount_cents=2500, now=begun)

    look_after_payments(now=begun + timedelta(minutes=59))
    payment.refresh_from_db()
    assert payment.state == "created"
    look_after_payments(now=begun + timedelta(minutes=70))
    payment.refresh_from_db()
    assert payment.state == "canceled"


def test_what_is_paid_on_a_page_that_no_row_knows_is_credited(double, browser, organization):
    payment, _ = add(browser, organization)
    payment.refresh_from_db()
    page = payment.stripe_session_id
    # As when whoever opened it died before noting it, and the payment was given up.
    Payment.objects.filter(pk=payment.pk).update(stripe_session_id=None, state="canceled", ended_at=timezone.now())
    double.control("checkout", session=page)
    fetch_messages(now=timezone.now())
    work_events(now=timezone.now())

    payment.refresh_from_db()
    assert (payment.state, limit_nano(organization)) == ("succeeded", STARTER + 25 * NANO_PER_USD)


def test_a_page_that_opens_for_a_payment_given_up_meanwhile_is_closed(double, organization, payer):
    begun = timezone.now()
    payment = start_top_up(organization=organization, user=payer, amount_cents=2500, now=begun)
    look_after_payments(now=begun + timedelta(hours=2))

    # Who opens it read the row before.
    assert open_payment_page(payment=payment, back=WaysBack("http://127.0.0.1:9/", "http://127.0.0.1:9/")) is None

    (session,) = double.v1.checkout.sessions.list().data
    assert session.status == "expired"


def test_who_comes_back_is_told_by_a_job_and_not_kept_waiting(double, browser, organization, payer):
    payment, _ = add(browser, organization)
    address = f"/o/{organization.slug}/credit/payments/{payment.public_id}/"
    assert 'hx-trigger="every 3s"' in browser.get(address).content.decode()
    pay(double, payment)
    read_payment(payment_id=payment.pk, now=timezone.now())

    part = browser.get(address, headers={"HX-Request": "true"})
    assert "every 3s" not in part.content.decode()
    # So that the balance in the frame is true as well.
    assert part["HX-Refresh"] == "true"


@pytest.mark.parametrize("change", ["amount", "another payment's page"])
def test_what_differs_from_what_was_asked_for_is_an_alarm_and_gives_nothing(
    double, browser, organization, change, log_lines
):
    payment, _ = add(browser, organization)
    pay(double, payment)
    if change == "amount":
        Payment.objects.filter(pk=payment.pk).update(amount_cents=9_000_00)
    else:
        other, _ = add(browser, organization)
        theirs = payment.stripe_session_id
        Payment.objects.filter(pk=payment.pk).update(stripe_session_id=None)
        Payment.objects.filter(pk=other.pk).update(stripe_session_id=theirs)
        payment = other

    with pytest.raises(PaymentDiffers):
        read_payment(payment_id=payment.pk, now=timezone.now())

    payment.refresh_from_db()
    assert payment.state == "pending"
    assert not CreditGrant.objects.filter(kind=CreditGrant.Kind.PREPAID).exists()
    assert "billing.payment.differs" in log_lines()


EVERY_ORDER = list(permutations(["completed", "succeeded", "expired", "swept"]))


@pytest.mark.parametrize("order", EVERY_ORDER, ids=["-".join(order) for order in EVERY_ORDER])
def test_messages_in_any_order_and_number_come_to_the_same(double, browser, organization, client, order):
    """W2, for what there is: also a message that says the page expired, though it was paid."""
    payment, _ = add(browser, organization)
    intent = pay(double, payment)
    known = {
        "completed": message("checkout.session.completed", payment.stripe_session_id),
        "expired": message("checkout.session.expired", payment.stripe_session_id),
        "succeeded": message("payment_intent.succeeded", intent["id"]),
    }
    for word in order:
        if word == "swept":
            look_after_payments(now=timezone.now() + timedelta(minutes=11))
        else:
            for _ in range(2):
                assert tell(client, known[word]).status_code == 200
            work_events(now=timezone.now())

    payment.refresh_from_db()
    assert (payment.state, limit_nano(organization)) == ("succeeded", STARTER + 25 * NANO_PER_USD)
    assert CreditGrant.objects.filter(source=f"payment:{payment.public_id}").count() == 1
    assert set(StripeEvent.objects.values_list("state", flat=True)) == {"done"}
    assert not prove_ledger().differences


def test_the_money_of_others_stays_with_them(double, browser, organization):
    payment, _ = add(browser, organization)
    stranger = make_membership(make_organization(name="Other"), role=Role.OWNER)
    browser.force_login(stranger.user)
    mine = f"/o/{stranger.organization.slug}/credit/payments/{payment.public_id}/"

    assert browser.get(mine).status_code == 404
    assert browser.get(f"{mine}pay/").status_code == 404
    assert browser.post(f"{mine}cancel/").status_code == 404
    assert browser.get(f"/o/{organization.slug}/credit/").status_code == 404


def test_people_without_money_in_their_care_see_nothing_to_buy(double, client, organization):
    client.force_login(make_membership(organization, role=Role.DEVELOPER).user)

    assert "Continue to payment" not in client.get(f"/o/{organization.slug}/credit/").content.decode()
    assert client.post(f"/o/{organization.slug}/credit/add/", {"amount": "25"}).status_code == 403


def test_more_credit_lets_people_hear_of_its_end_again(double, browser, organization):
    payment, _ = add(browser, organization)
    caps = SpendCap.objects.of_organization(organization.pk)
    pay(double, payment)
    read_payment(payment_id=payment.pk, now=timezone.now())
    second, _ = add(browser, organization)
    caps.update(settled_nano=29 * NANO_PER_USD, warned_percent=80)
    pay(double, second)
    read_payment(payment_id=second.pk, now=timezone.now())

    cap = caps.get()
    assert (cap.limit_nano, cap.warned_percent) == (55 * NANO_PER_USD, 50)
    assert cap.limit_nano == STARTER + 2 * 2500 * NANO_PER_CENT
