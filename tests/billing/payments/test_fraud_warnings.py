"""A bank that warns of fraud: what is small and unspent goes back at once, of the rest finance is told."""

from decimal import Decimal

import pytest
from django.utils import timezone

from accounts.models import AuditEvent
from accounts.services.staff import StaffGroup
from billing.models import Dispute, Payment, Refund, StripeEvent
from billing.selectors import prove_ledger
from billing.services.fraud_warnings import read_fraud_warning
from billing.services.refunding import look_after_refunds
from portal.lib.money import NANO_PER_USD
from tests.accounts.test_legal_holds import browser_of, make_staff
from tests.billing.payments.test_disputes import hear
from tests.billing.payments.test_refunds import books, bought, spend
from tests.billing.payments.test_top_ups import STARTER, limit_nano

WARNED = "4000000000005423"


@pytest.fixture
def up_to_25(settings):
    settings.FRAUD_REFUND_UP_TO_USD = Decimal(25)


def queue():
    client = browser_of(make_staff(StaffGroup.FINANCE))
    return client.get("/admin/billing/dispute/").content.decode()


def test_a_small_payment_goes_back_by_the_rule_and_its_credit_first(double, browser, organization, up_to_25, log_lines):
    payment = bought(double, browser, organization, WARNED)

    hear()

    refund = Refund.objects.get()
    assert (refund.state, refund.amount_cents, refund.asked_by, refund.decided_by) == (
        "approved",
        2500,
        "bank",
        "early_fraud_warning",
    )
    assert limit_nano(organization) == STARTER
    look_after_refunds(now=timezone.now())
    hear()
    refund.refresh_from_db()
    assert refund.state == "succeeded"
    assert {kind: nano for kind, nano in books(organization).items() if nano and kind.startswith("cash")} == {}
    assert prove_ledger().is_whole
    assert "billing.payment.warned_of" not in log_lines()
    assert payment.public_id not in queue()
    written = AuditEvent.objects.filter(target_id__in=[payment.public_id, refund.public_id]).order_by("sequence")
    assert [one for one in written.values_list("action", flat=True) if one in ("refund.approved", "payment.warned_of")]
    assert StripeEvent.objects.get(type="radar.early_fraud_warning.created").state == "done"


@pytest.mark.parametrize(("up_to", "spent"), [(24, 0), (25, 9), (0, 0)], ids=["larger", "spent", "off"])
def test_others_are_an_alarm_and_wait_for_finance(double, browser, organization, request, up_to, spent):  # noqa: PLR0917
    request.getfixturevalue("settings").FRAUD_REFUND_UP_TO_USD = Decimal(up_to)
    log_lines = request.getfixturevalue("log_lines")
    payment = bought(double, browser, organization, WARNED)
    if spent:
        spend(organization, spent)
    room = limit_nano(organization)

    hear()

    assert not Refund.objects.exists()
    assert limit_nano(organization) == room
    assert "billing.payment.warned_of" in log_lines()
    assert payment.public_id in queue()
    payment.refresh_from_db()
    assert payment.fraud_warning.startswith("issfr_")


def test_a_warning_is_heeded_once(double, browser, organization, up_to_25):
    payment = bought(double, browser, organization, WARNED)
    hear()
    payment.refresh_from_db()

    for _ in range(2):
        assert read_fraud_warning(stripe_id=payment.fraud_warning, now=timezone.now()) == payment

    assert Refund.objects.count() == 1
    assert AuditEvent.objects.filter(action="payment.warned_of").count() == 1
    assert books(organization)
    assert limit_nano(organization) == 5 * NANO_PER_USD


def test_what_is_disputed_meanwhile_leaves_the_queue(double, browser, organization):
    payment = bought(double, browser, organization, WARNED)
    hear()
    assert payment.public_id in queue()

    charge = double.v1.payment_intents.retrieve(payment.stripe_payment_intent_id).latest_charge
    double.control("dispute", charge=charge)
    hear()

    assert Dispute.objects.filter(payment=payment).exists()
    assert "No bank has warned of a payment that is still here." in queue()


def test_a_payment_of_another_program_is_ignored(double, browser, organization):
    intent = double.pay(double.customer("pm_card_createIssuerFraudRecord"))
    warning = double.v1.radar.early_fraud_warnings.list({"payment_intent": intent.id}).data[0]

    assert read_fraud_warning(stripe_id=warning.id, now=timezone.now()) is None
    assert not Payment.objects.filter(fraud_warned_at__isnull=False).exists()
