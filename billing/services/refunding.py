"""Let approved refunds go, and settle them by what the provider says of them. Rules: docs/algorithms/payments.md."""

from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.db.models import F

from accounts.models import Permission
from accounts.services.audit import record_event
from accounts.services.mails import addresses_with, mail_each, page_address
from billing.gateways import payment_provider
from billing.gateways.payment_provider import CURRENCY, ProviderRefusal, ProviderTrouble, RefundSeen
from billing.models import Payment, Refund, SpendCap
from billing.services.credits import lock_cap
from billing.services.ledger import reverse
from billing.services.payments import PaymentDiffers
from billing.services.provider_keys import renewing_key_of
from billing.services.refunds import journal_of
from portal.lib.batches import one_by_one
from portal.lib.context import PORTAL
from portal.lib.crashpoints import crashpoint
from portal.lib.jobs import enqueue
from portal.lib.money import NANO_PER_CENT, decimal_string, display_usd

log = structlog.get_logger(__name__)

State = Refund.State
LOOK_AGAIN = timedelta(minutes=10)
MOST_AT_ONCE = 100

_BY_STATUS = {"succeeded": State.SUCCEEDED, "failed": State.FAILED, "canceled": State.FAILED}
# From where each state may be reached. A bank may refuse what had succeeded; nothing leaves `failed`.
_FROM = {
    State.PENDING: {State.APPROVED, State.PENDING},
    State.SUCCEEDED: set(Refund.ON_THE_WAY),
    State.FAILED: {*Refund.ON_THE_WAY, State.SUCCEEDED},
}
# Refusals after which nothing will ever be sent; others (a key that was exchanged) are tried again, with an alarm.
_FOR_GOOD = {
    "amount_too_large",
    "charge_already_refunded",
    "charge_disputed",
    "charge_not_refundable",
    "refund_disputed_payment",
    "resource_missing",
}


def read_refund(*, refund_id: int, now: datetime) -> Refund.State:
    """Send an approved refund, or ask the provider how one stands, and act on it; return the refund's state.

    refund_id: primary key. For the platform role, outside a transaction. Raises ProviderTrouble, ProviderRefusal,
    PaymentDiffers.
    """
    refund = Refund.objects.select_related("payment").get(pk=refund_id)
    if refund.state not in (*Refund.ON_THE_WAY, State.SUCCEEDED):
        return State(refund.state)
    if refund.stripe_refund_id is not None:
        seen: RefundSeen | None = payment_provider.read_refund(refund.stripe_refund_id)
    else:
        seen = _send(refund, now)
    crashpoint("refund_after_send")
    if seen is None:
        return _fail_unsent(refund, now)
    return settle_refund(refund_id=refund_id, seen=seen, now=now)


@transaction.atomic
def settle_refund(*, refund_id: int, seen: RefundSeen, now: datetime) -> Refund.State:
    """Bring a refund to the state that was seen; return the state that it has then.

    One that failed gives the credit back in the same transaction, once. Safe to repeat and to call in any order.
    Raises PaymentDiffers for a refund of something else than was approved.
    """
    refund, cap = _locked(refund_id, now)
    became = _BY_STATUS.get(seen.status, State.PENDING)
    if refund.state not in _FROM[became]:
        return State(refund.state)
    _refuse_differing(refund, seen)
    refund.stripe_refund_id = seen.stripe_id
    return _end(refund, cap, became, now)


def look_after_refunds(*, now: datetime) -> int:
    """Send or ask after every refund whose time has come; return of how many. For the platform role."""
    due = list(Refund.objects.due(now).values_list("pk", flat=True)[:MOST_AT_ONCE])
    for refund_id in due:
        # First, so that one that fails does not keep the others from their turn.
        Refund.objects.filter(pk=refund_id).update(look_at=now + LOOK_AGAIN)
        try:
            read_refund(refund_id=refund_id, now=now)
        except ProviderTrouble as error:
            log.warning("billing.refund.not_read", refund_id=refund_id, problem=str(error))
            break
        except (ProviderRefusal, PaymentDiffers) as error:
            log.error("billing.refund.stuck", refund_id=refund_id, problem=str(error))
    return len(due)


def mail_refunds(*, now: datetime) -> int:
    """Mail every refund that has ended and was not mailed yet to those who may pay; return how many.

    For the platform role. A crash between mail and commit mails twice.
    """
    return one_by_one(
        list(Refund.objects.unmailed(now).values_list("pk", flat=True)[:500]),
        lambda pk: _mail(pk, now),
        lambda pk: log.exception("billing.refund.not_mailed", refund_id=pk),
    )


def _send(refund: Refund, now: datetime) -> RefundSeen | None:
    """Return the refund at the provider, made now or before; None where it will never be."""
    intent_id = refund.payment.stripe_payment_intent_id or ""
    is_first = Refund.objects.filter(pk=refund.pk, sent_at=None).update(sent_at=now)
    # The provider forgets keys after a day, and an answer that it failed is no proof that nothing was made.
    found = None if is_first else payment_provider.find_refund(refund_id=refund.public_id, intent_id=intent_id)
    if found is not None:
        return found
    try:
        with renewing_key_of(refund):
            return payment_provider.refund(
                refund_id=refund.public_id,
                intent_id=intent_id,
                amount_cents=refund.amount_cents,
                idempotency_key=f"refund:{refund.public_id}:{refund.generation}",
            )
    except ProviderRefusal as error:
        if error.code not in _FOR_GOOD:
            raise
        log.warning("billing.refund.refused", refund=refund.public_id, problem=str(error))
        # Somebody may have sent it at the same moment, and this refusal be about a second one.
        return payment_provider.find_refund(refund_id=refund.public_id, intent_id=intent_id)


@transaction.atomic
def _fail_unsent(refund: Refund, now: datetime) -> Refund.State:
    refund, cap = _locked(refund.pk, now)
    if refund.state != State.APPROVED or refund.stripe_refund_id is not None:
        return State(refund.state)
    return _end(refund, cap, State.FAILED, now)


def _locked(refund_id: int, now: datetime) -> tuple[Refund, SpendCap]:
    organization_id = Refund.objects.values_list("organization_id", flat=True).get(pk=refund_id)
    cap = lock_cap(organization_id=organization_id, now=now)
    refund = Refund.objects.select_for_update(no_key=True, of=("self",)).select_related("payment").get(pk=refund_id)
    return refund, cap


def _end(refund: Refund, cap: SpendCap, became: Refund.State, now: datetime) -> Refund.State:
    has_changed = refund.state != became
    refund.state = became
    refund.look_at = now + LOOK_AGAIN
    if became in Refund.AT_THE_END:
        refund.ended_at, refund.mailed_at = now, None
    refund.save(update_fields=["state", "stripe_refund_id", "look_at", "ended_at", "mailed_at"])
    if became is State.FAILED:
        _give_back(refund, cap, now)
    if has_changed and became in Refund.AT_THE_END:
        enqueue("billing.mail_refunds")
        record_event(
            f"refund.{became.value}",
            organization_id=refund.organization_id,
            target=("refund", refund.public_id),
            changes={"amount": (None, decimal_string(refund.amount_cents * NANO_PER_CENT))},
            actor=PORTAL,
            now=now,
        )
    crashpoint("refund_before_commit")
    return became


def _give_back(refund: Refund, cap: SpendCap, now: datetime) -> None:
    """Undo what the approval took."""
    reverse(organization_id=refund.organization_id, source=journal_of(refund), effective_at=now, now=now)
    payments = Payment.objects.filter(pk=refund.payment_id)
    payments.update(refunded_cents=F("refunded_cents") - refund.amount_cents)
    amount_nano = refund.amount_cents * NANO_PER_CENT
    SpendCap.objects.filter(pk=cap.pk).update(limit_nano=F("limit_nano") + amount_nano)


def _refuse_differing(refund: Refund, seen: RefundSeen) -> None:
    wanted = (refund.public_id, refund.payment.stripe_payment_intent_id, refund.amount_cents, CURRENCY)
    if (seen.refund_id, seen.intent_id, seen.amount_cents, seen.currency) != wanted:
        log.error("billing.refund.differs", refund=refund.public_id, amount_cents=seen.amount_cents)
        raise PaymentDiffers(f"{refund.public_id}: {seen.amount_cents} {seen.currency} of {seen.intent_id}")


@transaction.atomic
def _mail(refund_id: int, now: datetime) -> int:
    refunds = Refund.objects.select_for_update(skip_locked=True, of=("self",))
    refund = refunds.select_related("organization", "payment").filter(pk=refund_id, mailed_at=None).first()
    if refund is None:
        return 0
    mail_each(
        "refund_ended",
        addresses_with(refund.organization, Permission.MANAGE_BILLING),
        is_paid_back=refund.state == State.SUCCEEDED,
        amount=display_usd(refund.amount_cents * NANO_PER_CENT),
        reason=refund.reason,
        organization=refund.organization.name,
        payment=refund.payment.public_id,
        address=page_address("billing:payment-detail", refund.organization.slug, refund.payment.public_id),
    )
    refund.mailed_at = now
    refund.save(update_fields=["mailed_at"])
    return 1
