"""Charge a kept card without its holder: prepared, noted, and only then confirmed. Rules: docs/algorithms/payments.md.

An intent of the provider succeeds once at most, so whoever dies between the steps confirms the same one again.
"""

from datetime import datetime

import structlog

from billing.gateways import payment_provider
from billing.gateways.payment_provider import PaymentSeen
from billing.models import Payment
from billing.services.customers import customer_of
from billing.services.provider_keys import renewing_key_of
from portal.lib.crashpoints import crashpoint

log = structlog.get_logger(__name__)

# Of an intent that waits for a person, who is not there.
_STUCK = ("requires_payment_method", "requires_action")


def charge(payment: Payment, now: datetime) -> PaymentSeen | None:
    """Bring the charge of a payment as far as it goes without its holder; return what has come of it.

    None for one that was given up before anything was prepared. Nothing is locked meanwhile. What waits for a person
    is closed, so that nobody pays it later. Raises ProviderTrouble, ProviderRefusal.
    """
    intent_id = payment.stripe_payment_intent_id or _prepare(payment)
    if intent_id is None:
        return None
    seen = payment_provider.read_intent(intent_id)
    if seen.intent_status == "requires_confirmation":
        crashpoint("charge_before_confirm")
        seen = payment_provider.confirm_intent(intent_id)
        crashpoint("charge_after_confirm")
    # What still waits after that was refused, as for a card that is gone.
    if seen.intent_status in (*_STUCK, "requires_confirmation"):
        seen = payment_provider.cancel_intent(intent_id)
    return seen


def _prepare(payment: Payment) -> str | None:
    customer_id = customer_of(payment.organization)
    found = payment.generation and payment_provider.find_intent(payment_id=payment.public_id, customer_id=customer_id)
    if not found:
        assert payment.card is not None  # noqa: S101  # for the type checker: only such are charged
        with renewing_key_of(payment):
            found = payment_provider.create_intent(
                payment_id=payment.public_id,
                customer_id=customer_id,
                card_id=payment.card.stripe_payment_method_id,
                amount_cents=payment.amount_cents,
                idempotency_key=f"charge:{payment.public_id}:{payment.generation}",
            )
    crashpoint("charge_after_prepare")
    waiting = Payment.objects.filter(pk=payment.pk, state=Payment.State.CREATED)
    is_noted = waiting.update(stripe_payment_intent_id=found.intent_id, state=Payment.State.PENDING)
    if is_noted or Payment.objects.filter(pk=payment.pk, stripe_payment_intent_id=found.intent_id).exists():
        return found.intent_id
    # Given up meanwhile: what nobody confirms charges nobody.
    return None
