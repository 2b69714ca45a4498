"""Settle payments by what the provider says of them when it is asked. Rules: docs/algorithms/payments.md.

Webhooks, the customer's return and the sweep all lead here; each reads the provider's object again, so that neither
their order nor their number matters.
"""

from datetime import datetime, timedelta

import structlog
from django.db import transaction

from accounts.models import Permission
from accounts.services.audit import record_event
from accounts.services.mails import addresses_with, mail_each, page_address
from billing.gateways import payment_provider
from billing.gateways.payment_provider import CURRENCY, PaymentSeen, ProviderRefusal, ProviderTrouble
from billing.models import CreditGrant, Payment, SpendCap
from billing.services.auto_reload_outcomes import has_given_up, note_reload
from billing.services.charges import charge
from billing.services.credits import Award, add_credit, lock_cap
from billing.services.debts import pay_debt
from billing.services.invoice_payments import pay_invoice
from portal.lib.batches import one_by_one
from portal.lib.context import PORTAL
from portal.lib.crashpoints import crashpoint
from portal.lib.jobs import enqueue
from portal.lib.money import NANO_PER_CENT, decimal_string, display_left, display_usd

log = structlog.get_logger(__name__)

State = Payment.State
LOOK_AGAIN = timedelta(minutes=10)
# A page that nobody opened within this time is not opened any more.
UNOPENED_FOR = timedelta(hours=1)
MOST_AT_ONCE = 100
# The provider's word where the card's bank wants its holder.
AUTHENTICATION = "authentication_required"

# What the provider calls the money -> what we call the payment while its page is open or complete.
_BY_INTENT = {"processing": State.PROCESSING, "succeeded": State.SUCCEEDED, "canceled": State.FAILED}
# From where each state may be reached. Paid is paid, whatever we thought before; nothing leaves it.
_FROM = {
    State.PENDING: {State.CREATED, State.PENDING},
    State.PROCESSING: {State.CREATED, State.PENDING, State.PROCESSING},
    State.SUCCEEDED: set(State) - {State.SUCCEEDED},
    State.FAILED: {State.CREATED, State.PENDING, State.PROCESSING},
    State.CANCELED: {State.CREATED, State.PENDING, State.PROCESSING},
}


class PaymentDiffers(Exception):
    """The provider calls paid what we did not ask for. An alarm for finance staff: nothing is credited."""


def read_payment(*, payment_id: int, now: datetime) -> Payment.State:
    """Ask the provider how a payment stands and act on it; return the payment's state.

    payment_id: primary key. For the platform role, outside a transaction. Raises ProviderTrouble, PaymentDiffers.
    """
    payment = Payment.objects.select_related("organization", "card").get(pk=payment_id)
    if payment.is_finished and payment.card_id is not None:
        return State(payment.state)
    if payment.card_id is not None:
        return _read_charge(payment, now)
    if payment.stripe_session_id is None:
        is_opened_no_more = payment.created_at <= now - UNOPENED_FOR
        return give_up_unopened(payment, now) if is_opened_no_more else State(payment.state)
    seen = payment_provider.read_checkout(payment.stripe_session_id)[1]
    crashpoint("payment_after_read")
    return settle_payment(payment_id=payment_id, seen=seen, now=now)


def _read_charge(payment: Payment, now: datetime) -> Payment.State:
    is_late = payment.created_at <= now - UNOPENED_FOR
    if payment.stripe_payment_intent_id is None and is_late:
        return give_up_unopened(payment, now)
    try:
        seen = charge(payment, now)
    except ProviderRefusal as error:
        if payment.stripe_payment_intent_id is not None:
            raise
        # A card that is gone, for example: nothing was prepared, and so nothing can be charged.
        log.warning("billing.payment.refused", payment=payment.public_id, problem=str(error))
        return _fail_unprepared(payment, error.code, now)
    crashpoint("payment_after_read")
    if seen is None:
        return State(Payment.objects.values_list("state", flat=True).get(pk=payment.pk))
    return settle_payment(payment_id=payment.pk, seen=seen, now=now)


@transaction.atomic
def _fail_unprepared(payment: Payment, code: str, now: datetime) -> Payment.State:
    lock_cap(organization_id=payment.organization_id, now=now)
    payment = Payment.objects.select_for_update(no_key=True).get(pk=payment.pk)
    if payment.state != State.CREATED:
        return State(payment.state)
    payment.state, payment.ended_at, payment.failure = State.FAILED, now, code[:64]
    payment.save(update_fields=["state", "ended_at", "failure"])
    enqueue("billing.mail_payments")
    note_reload(payment, now)
    _record_end(payment, State.FAILED, now)
    return State.FAILED


@transaction.atomic
def settle_payment(*, payment_id: int, seen: PaymentSeen, now: datetime) -> Payment.State:
    """Bring a payment to the state that was seen, once for ever; return the state that it has then.

    A success adds the credit, raises what may be spent and posts it to the ledger in the same transaction, or pays what
    is owed. Safe to repeat and to call in any order: an older view changes nothing.
    """
    organization_id = Payment.objects.values_list("organization_id", flat=True).get(pk=payment_id)
    cap = lock_cap(organization_id=organization_id, now=now)
    payment = Payment.objects.select_for_update(no_key=True).get(pk=payment_id)
    became = _state_of(seen)
    if payment.state not in _FROM[became]:
        return State(payment.state)
    payment.state = became
    payment.stripe_payment_intent_id = seen.intent_id
    payment.failure = seen.failure[:64] if became is State.FAILED else ""
    payment.look_at = now + LOOK_AGAIN
    if payment.is_finished:
        payment.ended_at = now
    if became is State.SUCCEEDED:
        _refuse_differing(payment, seen)
    # Before it pays for anything: what is owed is counted from rows.
    payment.save()
    if became is State.SUCCEEDED:
        _pay(payment, cap, now)
        enqueue("billing.mail_payments")
    elif became is State.FAILED and payment.card_id is not None:
        enqueue("billing.mail_payments")
    if payment.is_finished:
        note_reload(payment, now)
        _record_end(payment, became, now)
    crashpoint("payment_before_commit")
    return became


@transaction.atomic
def give_up_unopened(payment: Payment, now: datetime) -> Payment.State:
    """End a payment whose page nobody was shown; return the payment's state then."""
    unopened = Payment.objects.filter(pk=payment.pk, state=State.CREATED, stripe_session_id=None)
    if unopened.update(state=State.CANCELED, ended_at=now):
        _record_end(payment, State.CANCELED, now)
    return State(Payment.objects.values_list("state", flat=True).get(pk=payment.pk))


def look_after_payments(*, now: datetime) -> int:
    """Ask the provider of every unfinished payment whose time has come; return of how many. For the platform role.

    What a lost webhook would have told is known within ten minutes.
    """
    due = list(Payment.objects.due(now).values_list("pk", flat=True)[:MOST_AT_ONCE])
    for payment_id in due:
        # First, so that one that fails does not keep the others from their turn.
        Payment.objects.filter(pk=payment_id).update(look_at=now + LOOK_AGAIN)
        try:
            read_payment(payment_id=payment_id, now=now)
        except ProviderTrouble as error:
            log.warning("billing.payment.not_read", payment_id=payment_id, problem=str(error))
            break
        except (ProviderRefusal, PaymentDiffers) as error:
            log.error("billing.payment.stuck", payment_id=payment_id, problem=str(error))
    return len(due)


def mail_payments(*, now: datetime) -> int:
    """Mail every payment that succeeded and was not mailed yet to those who may pay; return how many.

    For the platform role. A crash between mail and commit mails twice.
    """
    return one_by_one(
        list(Payment.objects.unmailed(now).values_list("pk", flat=True)[:500]),
        lambda pk: _mail(pk, now),
        lambda pk: log.exception("billing.payment.not_mailed", payment_id=pk),
    )


def _record_end(payment: Payment, state: Payment.State, now: datetime) -> None:
    record_event(
        f"payment.{state.value}",
        organization_id=payment.organization_id,
        target=("payment", payment.public_id),
        changes={"amount": (None, decimal_string(payment.amount_cents * NANO_PER_CENT))},
        # Whoever cancels one did it; money arrives by itself.
        actor=PORTAL if state is State.SUCCEEDED else None,
        now=now,
    )


def _state_of(seen: PaymentSeen) -> Payment.State:
    if seen.intent_status in _BY_INTENT:
        return _BY_INTENT[seen.intent_status]
    return State.CANCELED if seen.status == "expired" else State.PENDING


def _refuse_differing(payment: Payment, seen: PaymentSeen) -> None:
    wanted = (payment.public_id, payment.stripe_session_id or "", payment.amount_cents, CURRENCY)
    if (seen.payment_id, seen.session_id, seen.received_cents, seen.currency) != wanted:
        log.error("billing.payment.differs", payment=payment.public_id, received_cents=seen.received_cents)
        raise PaymentDiffers(f"{payment.public_id}: {seen.received_cents} {seen.currency} of {seen.payment_id}")


def _pay(payment: Payment, cap: SpendCap, now: datetime) -> None:
    """Let a payment that arrived do what it is for."""
    if payment.invoice is not None:
        pay_invoice(payment, payment.invoice, now)
        return
    if payment.purpose == Payment.Purpose.DEBT:
        pay_debt(payment, now)
        return
    add_credit(
        cap=cap,
        given=Award(CreditGrant.Kind.PREPAID, payment.amount_cents * NANO_PER_CENT, f"payment:{payment.public_id}"),
        now=now,
    )


@transaction.atomic
def _mail(payment_id: int, now: datetime) -> int:
    payments = Payment.objects.select_for_update(skip_locked=True, of=("self",)).select_related(
        "organization", "invoice"
    )
    payment = payments.filter(pk=payment_id, mailed_at=None).first()
    if payment is None:
        return 0
    organization = payment.organization
    cap = SpendCap.objects.of_organization(organization.pk).get()
    mail_each(
        "payment_succeeded" if payment.state == State.SUCCEEDED else "payment_failed",
        addresses_with(organization, Permission.MANAGE_BILLING),
        payment=payment,
        amount=display_usd(payment.amount_cents * NANO_PER_CENT),
        remaining=display_left(cap.remaining_nano),
        organization=organization.name,
        invoice=payment.invoice.number if payment.invoice else "",
        pays_debt=payment.purpose == Payment.Purpose.DEBT,
        wants_person=payment.failure == AUTHENTICATION,
        is_reload_off=payment.purpose == Payment.Purpose.RELOAD and has_given_up(organization.pk),
        address=page_address("billing:payment-detail", organization.slug, payment.public_id),
    )
    payment.mailed_at = now
    payment.save(update_fields=["mailed_at"])
    return 1
