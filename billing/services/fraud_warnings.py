"""A bank that warns of fraud: small payments go back before they are disputed, of others finance is told.

Rules: docs/algorithms/payments.md. For the platform role.
"""

from datetime import datetime

import structlog
from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from accounts.services.audit import record_event
from billing.gateways import payment_provider
from billing.gateways.payment_provider import FraudWarningSeen
from billing.models import Payment
from billing.services.credits import lock_cap
from billing.services.payments import read_payment
from billing.services.refunds import UnableToRefund, refund_by_rule
from portal.lib.context import PORTAL
from portal.lib.money import NANO_PER_CENT, decimal_string, usd_to_nano

log = structlog.get_logger(__name__)

RULE = "early_fraud_warning"


def read_fraud_warning(*, stripe_id: str, now: datetime) -> Payment | None:
    """Ask the provider for a warning and act on it; return its payment, None for one that is not ours.

    Outside a transaction. Raises ProviderTrouble, ProviderRefusal, PaymentDiffers.
    """
    seen = payment_provider.read_fraud_warning(stripe_id)
    payment = Payment.objects.filter(stripe_payment_intent_id=seen.intent_id).first() if seen.intent_id else None
    if payment is None:
        return None
    # The warning may come before the word that it was paid.
    read_payment(payment_id=payment.pk, now=now)
    return heed_fraud_warning(payment=payment, seen=seen, now=now)


@transaction.atomic
def heed_fraud_warning(*, payment: Payment, seen: FraudWarningSeen, now: datetime) -> Payment:
    """Note a warning, once, and give the payment back where the rule says so; otherwise alarm. Safe to repeat.

    The rule: at most FRAUD_REFUND_UP_TO_USD, nothing of it spent or given back, and the bank has not disputed it. A
    dispute would take as much, and a fee.
    """
    lock_cap(organization_id=payment.organization_id, now=now)
    payment = Payment.objects.select_for_update(no_key=True).get(pk=payment.pk)
    if payment.fraud_warned_at is not None:
        return payment
    payment.fraud_warned_at, payment.fraud_warning = now, seen.stripe_id
    payment.save(update_fields=["fraud_warned_at", "fraud_warning"])
    is_given_back = seen.is_actionable and _give_back(payment, now)
    if not is_given_back:
        log.error("billing.payment.warned_of", payment=payment.public_id, amount_cents=payment.amount_cents)
    record_event(
        "payment.warned_of",
        organization_id=payment.organization_id,
        target=("payment", payment.public_id),
        changes={
            "amount": (None, decimal_string(payment.amount_cents * NANO_PER_CENT)),
            "given_back": (None, is_given_back),
        },
        actor=PORTAL,
        now=now,
    )
    return payment


def _give_back(payment: Payment, now: datetime) -> bool:
    if payment.amount_cents * NANO_PER_CENT > usd_to_nano(settings.FRAUD_REFUND_UP_TO_USD):
        return False
    reason = _("Its bank warned that the card was not used by its holder.")
    try:
        with transaction.atomic():
            refund_by_rule(payment=payment, reason=reason, rule=RULE, now=now)
    except UnableToRefund:
        return False
    return True
