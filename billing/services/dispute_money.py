"""What a dispute does to the ledger, to the credit of its payment and to the cap. Callers hold the cap's lock."""

from datetime import datetime

from django.db.models import F

from billing.models import AccountKind, CreditGrant, Dispute, LedgerEntry, Payment, Route, SpendCap
from billing.services.ledger import Journal, Line, post, reverse
from billing.services.unspent import unspent_of
from portal.lib.money import NANO_PER_CENT


def withdraw(dispute: Dispute, now: datetime) -> None:
    """Say in the ledger that the bank has taken the money."""
    line = Line(
        LedgerEntry.Code.DISPUTE,
        debit=Route(AccountKind.DISPUTES),
        credit=Route(AccountKind.CASH_IN_TRANSIT),
        amount_nano=dispute.amount_cents * NANO_PER_CENT,
    )
    post(Journal(dispute.organization_id, _source(dispute), now, (line,)), now=now)
    dispute.is_withdrawn = True


def give_back(dispute: Dispute, now: datetime) -> None:
    """Say in the ledger that the bank has given the money back."""
    reverse(organization_id=dispute.organization_id, source=_source(dispute), effective_at=now, now=now)


def freeze(dispute: Dispute, payment: Payment, cap: SpendCap, now: datetime) -> None:
    """Take what is unspent of the payment's credit out of reach: of the cap and of the order of burning.

    At most what the bank has taken, and together with what was frozen before.
    """
    unspent = unspent_of(payment=payment, cap=cap, now=now)
    more_cents = min(unspent.cents, dispute.amount_cents - dispute.frozen_cents)
    if unspent.grant is not None and more_cents > 0:
        _move(dispute, cap, more_cents)


def thaw(dispute: Dispute, cap: SpendCap) -> None:
    """Let what was frozen be spent again."""
    if dispute.frozen_cents:
        _move(dispute, cap, -dispute.frozen_cents)


def lose(dispute: Dispute, grant: CreditGrant | None, now: datetime) -> None:
    """Take the frozen credit for good, and let the organization owe what it has spent of it."""
    lines = []
    owed_nano = (dispute.amount_cents - dispute.frozen_cents) * NANO_PER_CENT
    frozen_nano = dispute.frozen_cents * NANO_PER_CENT
    lost, disputes = LedgerEntry.Code.DISPUTE_LOST, Route(AccountKind.DISPUTES)
    if grant is not None and frozen_nano:
        lines.append(Line(lost, Route(AccountKind.PREPAID_CREDIT, grant_id=grant.pk), disputes, frozen_nano))
    if owed_nano:
        lines.append(Line(lost, Route(AccountKind.RECEIVABLE), disputes, owed_nano))
    post(Journal(dispute.organization_id, f"dispute-lost:{dispute.public_id}", now, tuple(lines)), now=now)


def _move(dispute: Dispute, cap: SpendCap, cents: int) -> None:
    """Note how much is frozen where the order of burning looks for it: grants are insert-only."""
    SpendCap.objects.filter(pk=cap.pk).update(limit_nano=F("limit_nano") - cents * NANO_PER_CENT)
    dispute.frozen_cents += cents


def _source(dispute: Dispute) -> str:
    return f"dispute:{dispute.public_id}"
