"""Settle disputes by what the provider says of them when it is asked. Rules: docs/algorithms/payments.md."""

from datetime import datetime, timedelta
from typing import ClassVar

import structlog
from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import Permission, User
from accounts.services.audit import record_event, staff_actor
from accounts.services.mails import addresses_with, mail_each, page_address
from billing.gateways import payment_provider
from billing.gateways.payment_provider import DisputeSeen, ProviderRefusal, ProviderTrouble
from billing.models import CreditGrant, Dispute, Payment, SpendCap, Standing
from billing.selectors.debts import has_lost_since
from billing.selectors.disputes import can_be_answered
from billing.selectors.evidence import evidence_for
from billing.services.credits import lock_cap
from billing.services.dispute_money import freeze, give_back, lose, thaw, withdraw
from billing.services.payments import PaymentDiffers, read_payment
from billing.services.standing import UnableToDispute, end_dispute, open_dispute
from portal.lib.batches import one_by_one
from portal.lib.context import PORTAL
from portal.lib.crashpoints import crashpoint
from portal.lib.errors import DomainError
from portal.lib.jobs import enqueue
from portal.lib.money import NANO_PER_CENT, decimal_string, display_usd

log = structlog.get_logger(__name__)

State = Dispute.State
ANSWER = "billing.answer_dispute"
LOOK_AGAIN = timedelta(minutes=10)
MOST_AT_ONCE = 100

_BY_STATUS = {
    "warning_needs_response": State.INQUIRY,
    "warning_under_review": State.INQUIRY,
    "warning_closed": State.CLOSED,
    "prevented": State.CLOSED,
    "needs_response": State.OPEN,
    "under_review": State.ANSWERED,
    "won": State.WON,
    "lost": State.LOST,
}
# From where each state may be reached; "" is a dispute that we have not heard of. Nothing leaves the last three.
_FROM: dict[Dispute.State, set[str]] = {
    State.INQUIRY: {"", State.INQUIRY},
    State.CLOSED: {"", State.INQUIRY},
    State.OPEN: {"", State.INQUIRY, State.OPEN},
    State.ANSWERED: {"", State.INQUIRY, State.OPEN, State.ANSWERED},
    State.WON: {"", *Dispute.UNDECIDED},
    State.LOST: {"", *Dispute.UNDECIDED},
}


class UnableToAnswer(DomainError):
    code: ClassVar[str] = "unable_to_answer"


def read_dispute(*, stripe_id: str, now: datetime) -> Dispute.State | None:
    """Ask the provider how a dispute stands and act on it; return its state, None for a payment that is not ours.

    For the platform role, outside a transaction. Evidence that staff let go is sent first. Raises ProviderTrouble,
    ProviderRefusal, PaymentDiffers.
    """
    seen = payment_provider.read_dispute(stripe_id)
    _settle_payment_of(seen, now)
    known = Dispute.objects.filter(stripe_dispute_id=stripe_id).first()
    if known is not None and known.answered_at is not None and seen.status.endswith("needs_response"):
        key = f"evidence:{known.public_id}:{int(known.answered_at.timestamp())}"
        seen = payment_provider.send_evidence(stripe_id, evidence_for(known, now=now), idempotency_key=key)
    crashpoint("dispute_after_read")
    return settle_dispute(seen=seen, now=now)


def _settle_payment_of(seen: DisputeSeen, now: datetime) -> None:
    """Let a payment arrive of which a dispute is the first that we hear, so that its credit is there to be frozen."""
    arrived = Payment.objects.filter(stripe_payment_intent_id=seen.intent_id, state=Payment.State.SUCCEEDED)
    if not seen.intent_id or arrived.exists():
        return
    public_id = payment_provider.payment_of("payment_intent.", seen.intent_id)
    payment = Payment.objects.filter(public_id=public_id).first() if public_id else None
    if payment is None:
        # Another program may sell through the same account.
        return
    if read_payment(payment_id=payment.pk, now=now) != Payment.State.SUCCEEDED:
        # Its page is not noted yet, whose own message says so: this one is to be looked into again, and not ignored.
        raise ProviderTrouble(f"{public_id} is disputed and has not arrived", is_answer=False)


@transaction.atomic
def settle_dispute(*, seen: DisputeSeen, now: datetime) -> Dispute.State | None:
    """Bring a dispute to the state that was seen; return its state then, None for a payment that is not ours.

    The ledger, the credit that is frozen and the cap move in the same transaction, each once. Safe to repeat and to
    call in any order: an older view changes nothing, but that what has become unspent since is frozen too.
    """
    found = Payment.objects.filter(stripe_payment_intent_id=seen.intent_id).values_list("pk", "organization_id").first()
    if not seen.intent_id or found is None:
        return None
    cap = lock_cap(organization_id=found[1], now=now)
    payment = Payment.objects.select_for_update(no_key=True).get(pk=found[0])
    dispute = Dispute.objects.select_for_update(no_key=True).filter(stripe_dispute_id=seen.stripe_id).first()
    before = dispute.state if dispute else ""
    became = _BY_STATUS.get(seen.status)
    if became is None or before not in _FROM[became]:
        _tell_of_surprise(seen, before, became)
        return State(before) if before else None
    dispute = dispute or _new(payment, seen, now)
    dispute.state = became
    dispute.due_by = seen.due_by
    dispute.look_at = now + LOOK_AGAIN
    if before == State.INQUIRY and became is State.OPEN:
        # What was said to the bank's question is not an answer to its claim.
        dispute.answered_at, dispute.answered_by = None, ""
    _move_money(dispute, payment, cap, now)
    if dispute.state not in Dispute.UNDECIDED:
        dispute.ended_at = now
    dispute.save()
    if before != became:
        enqueue("billing.mail_disputes")
        _follow(dispute.organization_id, now)
        _record(f"dispute.{_VERBS[became]}", dispute, now)
    crashpoint("dispute_before_commit")
    return became


@transaction.atomic
def answer_dispute(*, dispute: Dispute, by: User, now: datetime) -> Dispute:
    """Let the evidence be sent to the provider, which takes it once: a job does so. Raises UnableToAnswer."""
    if not by.is_staff or not by.has_perm(ANSWER):
        raise UnableToAnswer(_("You may not answer disputes."))
    lock_cap(organization_id=dispute.organization_id, now=now)
    dispute = Dispute.objects.select_for_update(no_key=True).get(pk=dispute.pk)
    if not can_be_answered(dispute):
        raise UnableToAnswer(_("This dispute takes no answer any more."))
    dispute.answered_at, dispute.answered_by, dispute.look_at = now, by.public_id, now
    dispute.save(update_fields=["answered_at", "answered_by", "look_at"])
    enqueue("billing.look_after_disputes")
    record_event(
        "dispute.answered",
        organization_id=dispute.organization_id,
        target=("dispute", dispute.public_id),
        changes=_amounts(dispute),
        actor=staff_actor(by),
        now=now,
    )
    return dispute


def look_after_disputes(*, now: datetime) -> int:
    """Ask the provider of every undecided dispute whose time has come; return of how many. For the platform role."""
    due = list(Dispute.objects.due(now).values_list("pk", "stripe_dispute_id")[:MOST_AT_ONCE])
    for dispute_id, stripe_id in due:
        # First, so that one that fails does not keep the others from their turn.
        Dispute.objects.filter(pk=dispute_id).update(look_at=now + LOOK_AGAIN)
        try:
            read_dispute(stripe_id=stripe_id, now=now)
        except ProviderTrouble as error:
            log.warning("billing.dispute.not_read", dispute_id=dispute_id, problem=str(error))
            break
        except (ProviderRefusal, PaymentDiffers) as error:
            log.error("billing.dispute.stuck", dispute_id=dispute_id, problem=str(error))
    return len(due)


def mail_disputes(*, now: datetime) -> int:
    """Mail of every dispute that was opened or decided to those who may pay, each once; return of how many.

    For the platform role. A crash between mail and commit mails twice.
    """
    return one_by_one(
        list(Dispute.objects.unmailed(now).values_list("pk", flat=True)[:500]),
        _mail,
        lambda pk: log.exception("billing.dispute.not_mailed", dispute_id=pk),
    )


_VERBS = {
    State.INQUIRY: "asked",
    State.CLOSED: "closed",
    State.OPEN: "opened",
    State.ANSWERED: "reviewed",
    State.WON: "won",
    State.LOST: "lost",
}


def _new(payment: Payment, seen: DisputeSeen, now: datetime) -> Dispute:
    log.error("billing.dispute.opened", payment=payment.public_id, reason=seen.reason, due_by=str(seen.due_by))
    return Dispute(
        organization_id=payment.organization_id,
        payment=payment,
        stripe_dispute_id=seen.stripe_id,
        reason=seen.reason[:64],
        amount_cents=seen.amount_cents,
        opened_at=now,
    )


def _move_money(dispute: Dispute, payment: Payment, cap: SpendCap, now: datetime) -> None:
    if dispute.state in (State.INQUIRY, State.CLOSED):
        return
    grant = CreditGrant.objects.filter(
        organization_id=payment.organization_id, source=f"payment:{payment.public_id}"
    ).first()
    if not dispute.is_withdrawn:
        withdraw(dispute, now)
    if dispute.state == State.WON:
        thaw(dispute, cap)
        give_back(dispute, now)
        return
    freeze(dispute, payment, cap, now)
    if dispute.state == State.LOST:
        lose(dispute, grant, now)


def _follow(organization_id: int, now: datetime) -> None:
    """Let the organization stand disputed while any of its payments is; past due once none is and one leaves a debt.

    Without a debt it stands as before.
    """
    is_contested = Dispute.objects.filter(organization_id=organization_id).contested().exists()
    try:
        if is_contested:
            open_dispute(organization_id=organization_id, now=now)
            return
        since = Standing.objects.of_organization(organization_id).values_list("since", flat=True).first()
        is_lost = since is not None and has_lost_since(organization_id, since)
        end_dispute(organization_id=organization_id, is_won=not is_lost, now=now)
    except UnableToDispute:
        # It is suspended, and stays so whatever a bank says; or nothing of it was disputed here, and the next look at
        # what is overdue finds what is owed.
        return


def _tell_of_surprise(seen: DisputeSeen, before: str, became: Dispute.State | None) -> None:
    """Alarm where the provider says what we do not follow: a state that we do not know, or another end."""
    is_other_end = before in (State.WON, State.LOST) and became in (State.WON, State.LOST) and became != before
    if became is None or is_other_end:
        log.error("billing.dispute.differs", stripe_id=seen.stripe_id, status=seen.status, before=before)


def _record(action: str, dispute: Dispute, now: datetime) -> None:
    record_event(
        action,
        organization_id=dispute.organization_id,
        target=("dispute", dispute.public_id),
        changes=_amounts(dispute),
        actor=PORTAL,
        now=now,
    )


def _amounts(dispute: Dispute) -> dict[str, tuple[str | None, str]]:
    return {
        "amount": (None, decimal_string(dispute.amount_cents * NANO_PER_CENT)),
        "frozen": (None, decimal_string(dispute.frozen_cents * NANO_PER_CENT)),
    }


@transaction.atomic
def _mail(dispute_id: int) -> int:
    disputes = Dispute.objects.select_for_update(skip_locked=True, of=("self",))
    dispute = disputes.select_related("organization", "payment").filter(pk=dispute_id).first()
    if dispute is None:
        return 0
    told = State.OPEN if dispute.state in Dispute.CONTESTED else State(dispute.state)
    if dispute.mailed_state == told:
        return 0
    owed_cents = dispute.amount_cents - dispute.frozen_cents if told is State.LOST else 0
    organization = dispute.organization
    mail_each(
        "dispute",
        addresses_with(organization, Permission.MANAGE_BILLING),
        state=told.value,
        amount=display_usd(dispute.amount_cents * NANO_PER_CENT),
        frozen=display_usd(dispute.frozen_cents * NANO_PER_CENT),
        owed=display_usd(owed_cents * NANO_PER_CENT) if owed_cents else "",
        payment=dispute.payment.public_id,
        organization=organization.name,
        pay_address=page_address("billing:credit", organization.slug),
        address=page_address("billing:payment-detail", organization.slug, dispute.payment.public_id),
    )
    dispute.mailed_state = told
    dispute.save(update_fields=["mailed_state"])
    return 1
