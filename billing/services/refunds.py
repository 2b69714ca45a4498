"""Give money back: one person asks, another of finance approves. Rules: docs/algorithms/payments.md.

What happens with the provider once it is approved: billing.services.refunding.
"""

from datetime import datetime
from typing import ClassVar

from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext as _

from accounts.models import User
from accounts.services.audit import record_event, staff_actor
from billing.models import AccountKind, CreditGrant, Dispute, LedgerEntry, Payment, Refund, Route, SpendCap
from billing.services.credits import lock_cap
from billing.services.ledger import Journal, Line, post
from billing.services.unspent import unspent_of
from portal.lib.context import PORTAL
from portal.lib.errors import DomainError
from portal.lib.jobs import enqueue
from portal.lib.money import NANO_PER_CENT, decimal_string, display_usd

PROPOSE = "billing.propose_refund"
APPROVE = "billing.approve_refund"
LONGEST_REASON = 300
# Who asked, where no person did.
ASKED_BY_BANK = "bank"
OPEN = (Refund.State.ASKED, *Refund.ON_THE_WAY)


class UnableToRefund(DomainError):
    code: ClassVar[str] = "unable_to_refund"


@transaction.atomic
def ask_for_refund(*, payment: Payment, by: User, now: datetime) -> Refund:
    """Ask, as a member of its organization, for all of a payment's credit that is not spent; staff decides.

    Nothing is taken back yet. Raises UnableToRefund where nothing is left of it or a refund of it is open.
    """
    cap, payment = _locked_payment(payment, now)
    cents = unspent_of(payment=payment, cap=cap, now=now).cents
    if cents <= 0:
        raise UnableToRefund(_("Nothing of this payment is unspent, so there is nothing to give back."))
    refund = _ask(payment, cents, _("Asked for by the customer."), by.public_id, now, is_of_customer=True)
    record_event(
        "refund.asked",
        organization_id=refund.organization_id,
        target=("refund", refund.public_id),
        changes=_amount(refund),
        now=now,
    )
    return refund


@transaction.atomic
def propose_refund(*, payment: Payment, amount_cents: int, reason: str, by: User, now: datetime) -> Refund:
    """Propose, as one of staff, to give part of a payment back. Raises UnableToRefund.

    amount_cents: USD, at most what is unspent of the payment's credit.
    """
    _refuse_without(by, PROPOSE)
    cap, payment = _locked_payment(payment, now)
    words = " ".join(reason.split())
    if not words or len(words) > LONGEST_REASON:
        raise UnableToRefund(_("Say why, in at most 300 characters: the customer reads it."))
    if amount_cents <= 0:
        raise UnableToRefund(_("A refund is more than nothing."))
    _refuse_spent(payment, cap, amount_cents, now)
    refund = _ask(payment, amount_cents, words, by.public_id, now, is_of_customer=False)
    record_event(
        "refund.asked",
        organization_id=refund.organization_id,
        target=("refund", refund.public_id),
        changes=_amount(refund),
        actor=staff_actor(by),
        now=now,
    )
    return refund


@transaction.atomic
def approve_refund(*, refund: Refund, by: User, now: datetime) -> Refund:
    """Take the credit back and let the money go, in that order: the provider is asked once this is committed.

    Raises UnableToRefund for who asked for it, for one that is decided, and where less is unspent by now.
    """
    _refuse_without(by, APPROVE)
    cap, payment = _locked_payment(refund.payment, now)
    refund = _locked(refund)
    if refund.asked_by == by.public_id:
        raise UnableToRefund(_("Somebody else approves what you have asked for."))
    _approve(refund, payment, cap, by.public_id, now)
    _record("refund.approved", refund, by, now)
    return refund


@transaction.atomic
def refund_by_rule(*, payment: Payment, reason: str, rule: str, now: datetime) -> Refund:
    """Give all of a payment back of which nothing is spent, by a rule that two people would only repeat.

    rule: its name, which stands where the second person's would. Raises UnableToRefund where something is spent or
    went back, or a refund of it is open.
    """
    cap, payment = _locked_payment(payment, now)
    refund = _ask(payment, payment.amount_cents, reason, ASKED_BY_BANK, now, is_of_customer=False)
    _approve(refund, payment, cap, rule, now)
    record_event(
        "refund.approved",
        organization_id=refund.organization_id,
        target=("refund", refund.public_id),
        changes={**_amount(refund), "rule": (None, rule)},
        actor=PORTAL,
        now=now,
    )
    return refund


def _approve(refund: Refund, payment: Payment, cap: SpendCap, by: str, now: datetime) -> None:
    grant = _refuse_spent(payment, cap, refund.amount_cents, now)
    amount_nano = refund.amount_cents * NANO_PER_CENT
    _decide(refund, Refund.State.APPROVED, by, now)
    payments = Payment.objects.filter(pk=payment.pk)
    payments.update(refunded_cents=F("refunded_cents") + refund.amount_cents)
    SpendCap.objects.filter(pk=cap.pk).update(limit_nano=F("limit_nano") - amount_nano)
    line = Line(
        LedgerEntry.Code.REFUND,
        debit=Route(AccountKind.PREPAID_CREDIT, grant_id=grant.pk),
        credit=Route(AccountKind.CASH_IN_TRANSIT),
        amount_nano=amount_nano,
    )
    post(Journal(refund.organization_id, journal_of(refund), now, (line,)), now=now)
    enqueue("billing.look_after_refunds")


@transaction.atomic
def decline_refund(*, refund: Refund, by: User, now: datetime) -> Refund:
    """Give nothing back; whoever proposed one may take it back so. Raises UnableToRefund for one that is decided."""
    if not by.has_perm(APPROVE):
        _refuse_without(by, PROPOSE)
    _locked_payment(refund.payment, now)
    refund = _locked(refund)
    refund.ended_at = now
    _decide(refund, Refund.State.DECLINED, by.public_id, now)
    _record("refund.declined", refund, by, now)
    return refund


def journal_of(refund: Refund) -> str:
    """Return the source of a refund's journal in the ledger."""
    return f"refund:{refund.public_id}"


def _locked_payment(payment: Payment, now: datetime) -> tuple[SpendCap, Payment]:
    cap = lock_cap(organization_id=payment.organization_id, now=now)
    payment = Payment.objects.select_for_update(no_key=True).get(pk=payment.pk)
    if payment.state != Payment.State.SUCCEEDED:
        raise UnableToRefund(_("Only what was paid can be paid back."))
    if Dispute.objects.of_payment(payment).filter(is_withdrawn=True).exclude(state=Dispute.State.WON).exists():
        raise UnableToRefund(_("Its bank has taken this payment back already."))
    return cap, payment


def _locked(refund: Refund) -> Refund:
    refund = Refund.objects.select_for_update(no_key=True).get(pk=refund.pk)
    if refund.state != Refund.State.ASKED:
        raise UnableToRefund(_("This refund is decided already."))
    return refund


def _refuse_without(by: User, permission: str) -> None:
    if not by.is_staff or not by.has_perm(permission):
        raise UnableToRefund(_("You may not do this with refunds."))


def _refuse_spent(payment: Payment, cap: SpendCap, amount_cents: int, now: datetime) -> CreditGrant:
    unspent = unspent_of(payment=payment, cap=cap, now=now)
    left_cents = min(unspent.cents, payment.amount_cents - payment.refunded_cents)
    if unspent.grant is None or amount_cents > left_cents:
        raise UnableToRefund(
            _("%(left)s of this payment are unspent: no more can be given back.")
            % {"left": display_usd(max(left_cents, 0) * NANO_PER_CENT)}
        )
    return unspent.grant


def _ask(payment: Payment, cents: int, reason: str, by: str, now: datetime, *, is_of_customer: bool) -> Refund:
    if Refund.objects.of_payment(payment).filter(state__in=OPEN).exists():
        raise UnableToRefund(_("A refund of this payment is on its way already."))
    return Refund.objects.create(
        organization_id=payment.organization_id,
        payment=payment,
        amount_cents=cents,
        reason=reason,
        is_of_customer=is_of_customer,
        asked_by=by,
        asked_at=now,
        look_at=now,
    )


def _decide(refund: Refund, state: Refund.State, by: str, now: datetime) -> None:
    refund.state = state
    refund.decided_by = by
    refund.decided_at = refund.look_at = now
    refund.save(update_fields=["state", "decided_by", "decided_at", "look_at", "ended_at"])


def _amount(refund: Refund) -> dict[str, tuple[str | None, str]]:
    return {"amount": (None, decimal_string(refund.amount_cents * NANO_PER_CENT))}


def _record(action: str, refund: Refund, by: User, now: datetime) -> None:
    record_event(
        action,
        organization_id=refund.organization_id,
        target=("refund", refund.public_id),
        changes=_amount(refund),
        actor=staff_actor(by),
        now=now,
    )
