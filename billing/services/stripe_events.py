"""What the payment provider tells us: stored, answered, and then looked into. Rules: docs/algorithms/payments.md."""

from collections.abc import Iterable
from datetime import datetime, timedelta

import structlog
from django.db import transaction

from billing.gateways import payment_provider
from billing.gateways.payment_provider import API_VERSION, ProviderRefusal, ProviderTrouble, Told
from billing.models import BillingAccount, Payment, PaymentMethod, Refund, StripeEvent
from billing.services.cards import read_cards
from billing.services.disputes import read_dispute
from billing.services.fraud_warnings import read_fraud_warning
from billing.services.payments import PaymentDiffers, read_payment
from billing.services.refunding import settle_refund
from portal.lib.crashpoints import crashpoint
from portal.lib.jobs import enqueue

log = structlog.get_logger(__name__)

State = StripeEvent.State
# All that we act on; others are noted and ignored.
ACTED_ON = (
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
    "payment_intent.succeeded",
    "payment_intent.payment_failed",
    "payment_intent.processing",
    "payment_intent.canceled",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.refunded",
    "payment_method.attached",
    "payment_method.updated",
    "payment_method.automatically_updated",
    "payment_method.detached",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "radar.early_fraud_warning.created",
)
FIRST_WAIT = timedelta(seconds=10)
MOST_ATTEMPTS = 8
MOST_AT_ONCE = 100
# The provider tries for three days to tell us; what we ask it for overlaps, so that nothing falls between.
LOOK_BACK = timedelta(minutes=10)


def store_messages(messages: Iterable[Told], *, now: datetime) -> int:
    """Keep messages to be looked into, each once for ever; return how many there were. For the platform role."""
    events = [_event(told, now) for told in messages]
    StripeEvent.objects.bulk_create(events, ignore_conflicts=True)
    if events:
        enqueue("billing.work_stripe_events")
    return len(events)


def fetch_messages(*, now: datetime) -> int:
    """Store what the provider says it has told us in the last minutes, in case it did not come; return how many.

    For the platform role. Raises ProviderTrouble.
    """
    if not payment_provider.is_configured():
        return 0
    newest = StripeEvent.objects.order_by("-received_at").values_list("received_at", flat=True).first()
    since = min(now, newest or now) - LOOK_BACK
    wanted = [told for told in payment_provider.messages_since(since) if told.type in ACTED_ON]
    known = set(StripeEvent.objects.filter(pk__in=[told.event_id for told in wanted]).values_list("pk", flat=True))
    missing = [told for told in wanted if told.event_id not in known]
    if missing:
        log.warning("billing.stripe.messages_missed", count=len(missing))
    return store_messages(missing, now=now)


def work_events(*, now: datetime) -> int:
    """Look into every message whose time has come, one after the other; return how many. For the platform role."""
    worked = 0
    while worked < MOST_AT_ONCE and (event := _claim(now)) is not None:
        _work(event, now)
        worked += 1
    return worked


def wait_after(attempts: int) -> timedelta:
    """Return how long the next try waits after so many, from 1 on: 10 s, doubled each time."""
    return FIRST_WAIT * (1 << (attempts - 1))


def _event(told: Told, now: datetime) -> StripeEvent:
    is_foreign = told.api_version != API_VERSION or told.is_live != payment_provider.is_live()
    if is_foreign:
        log.error("billing.stripe.message_parked", event_id=told.event_id, api_version=told.api_version)
    elif told.type not in ACTED_ON:
        return _row(told, State.IGNORED, now)
    return _row(told, State.PARKED if is_foreign else State.RECEIVED, now)


def _row(told: Told, state: StripeEvent.State, now: datetime) -> StripeEvent:
    return StripeEvent(
        id=told.event_id,
        type=told.type,
        object_id=told.object_id,
        api_version=told.api_version,
        is_live=told.is_live,
        created_at=told.created_at,
        received_at=now,
        state=state,
        try_at=now,
    )


@transaction.atomic
def _claim(now: datetime) -> StripeEvent | None:
    """Take the next message; whoever dies with it leaves it to be taken again after the wait."""
    event = StripeEvent.objects.due(now).select_for_update(skip_locked=True, no_key=True).first()
    if event is None:
        return None
    event.attempts += 1
    event.try_at = now + wait_after(event.attempts)
    event.save(update_fields=["attempts", "try_at"])
    return event


def _work(event: StripeEvent, now: datetime) -> None:
    crashpoint("stripe_event_after_claim")
    try:
        state = _look_into(event, now)
    except (ProviderTrouble, ProviderRefusal, PaymentDiffers) as error:
        problem = f"{type(error).__name__}: {error}"[:300]
        is_over = event.attempts >= MOST_ATTEMPTS
        if is_over:
            log.error("billing.stripe.message_given_up", event_id=event.pk, problem=problem)
        mine = StripeEvent.objects.filter(pk=event.pk, state=State.RECEIVED)
        mine.update(problem=problem, state=State.DEAD if is_over else State.RECEIVED)
        return
    crashpoint("stripe_event_after_work")
    StripeEvent.objects.filter(pk=event.pk).update(state=state, problem="")


def _look_into(event: StripeEvent, now: datetime) -> StripeEvent.State:
    if event.type.startswith(("charge.dispute.", "radar.")):
        read = read_dispute if event.type.startswith("charge.") else read_fraud_warning
        # None: of a payment that is not ours.
        return State.IGNORED if read(stripe_id=event.object_id, now=now) is None else State.DONE
    if event.type.startswith("payment_method."):
        return _look_into_cards(_organization_of_card(event.object_id), now)
    if event.type.startswith(("refund.", "charge.refunded")):
        return _look_into_refunds(event, now)
    public_id = payment_provider.payment_of(event.type, event.object_id)
    payment = Payment.objects.filter(public_id=public_id).first() if public_id else None
    if payment is None and event.type.startswith("checkout.session."):
        named = payment_provider.organization_of_setup(event.object_id)
        accounts = BillingAccount.objects.filter(organization__public_id=named or "")
        return _look_into_cards(accounts.values_list("organization_id", flat=True).first(), now)
    if payment is None:
        # Another program may sell through the same account.
        return State.IGNORED
    if event.type.startswith("checkout.session."):
        # The provider says that this page is the payment's, also where whoever opened it died before noting so.
        Payment.objects.filter(pk=payment.pk, stripe_session_id=None).update(stripe_session_id=event.object_id)
    read_payment(payment_id=payment.pk, now=now)
    return State.DONE


def _look_into_refunds(event: StripeEvent, now: datetime) -> StripeEvent.State:
    if event.type == "charge.refunded":
        intent_id = payment_provider.intent_of_charge(event.object_id)
        seen = payment_provider.refunds_of(intent_id=intent_id) if intent_id else []
    else:
        seen = [payment_provider.read_refund(event.object_id)]
    payments = Payment.objects.filter(stripe_payment_intent_id__in=[one.intent_id for one in seen])
    if not payments.exists():
        # Another program may sell through the same account.
        return State.IGNORED
    for one in seen:
        refund_id = Refund.objects.filter(public_id=one.refund_id).values_list("pk", flat=True).first()
        if refund_id is None:
            # Made at the provider by hand: its credit has to be taken back by people.
            log.error("billing.refund.unknown", stripe_id=one.stripe_id, amount_cents=one.amount_cents)
        else:
            settle_refund(refund_id=refund_id, seen=one, now=now)
    return State.DONE


def _look_into_cards(organization_id: int | None, now: datetime) -> StripeEvent.State:
    if organization_id is None:
        # Another program may sell through the same account.
        return State.IGNORED
    read_cards(organization_id=organization_id, now=now)
    return State.DONE


def _organization_of_card(stripe_id: str) -> int | None:
    known = PaymentMethod.objects.filter(stripe_payment_method_id=stripe_id)
    if (organization_id := known.values_list("organization_id", flat=True).first()) is not None:
        return organization_id
    customer_id = payment_provider.customer_of_card(stripe_id)
    accounts = BillingAccount.objects.filter(stripe_customer_id=customer_id) if customer_id else []
    return next((account.organization_id for account in accounts), None)
