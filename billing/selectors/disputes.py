"""Disputes as pages print them, and whether an organization has one."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from accounts.models import Organization
from billing.models import Dispute, Payment
from billing.models.dispute import DisputeQuerySet
from portal.lib.money import NANO_PER_CENT, display_usd

NEWEST = 200


@dataclass(frozen=True, slots=True)
class DisputeRow:
    public_id: str
    organization: str
    payment: str
    state: str
    label: str
    reason: str
    amount: str
    frozen: str
    is_undecided: bool
    can_be_answered: bool
    due_by: datetime | None
    opened_at: datetime
    ended_at: datetime | None
    answered_at: datetime | None
    answered_by: str


def is_disputed(organization: Organization) -> bool:
    """Whether a bank has taken back money of an organization and nobody knows yet who keeps it.

    Nothing can be bought meanwhile. What else its standing forbids is for whoever keeps standings to ask here.
    """
    return Dispute.objects.owned_by(organization).contested().exists()


def frozen_nano_by_source(organization_id: int) -> Mapping[str, int]:
    """Return what undecided disputes freeze of the credit that payments gave: source of the grant -> nano-dollars."""
    frozen = Dispute.objects.contested().filter(organization_id=organization_id, frozen_cents__gt=0)
    nano: dict[str, int] = defaultdict(int)
    for payment, cents in frozen.values_list("payment__public_id", "frozen_cents"):
        nano[f"payment:{payment}"] += cents * NANO_PER_CENT
    return nano


def dispute_rows_of(payment: Payment) -> list[DisputeRow]:
    """Return the disputes of a payment, newest first."""
    return [dispute_row(dispute) for dispute in _with_names().of_payment(payment)]


def staff_dispute_rows(organization: Organization | None) -> list[DisputeRow]:
    """Return the newest 200 disputes of an organization, or of all. For the platform role."""
    disputes = _with_names().order_by("-pk")
    if organization is not None:
        disputes = disputes.owned_by(organization)
    return [dispute_row(dispute) for dispute in disputes[:NEWEST]]


@dataclass(frozen=True, slots=True)
class WarnedRow:
    """A payment whose bank warned of fraud, and of which something may still be done. amount: in dollars."""

    payment: str
    organization: str
    amount: str
    warning: str
    warned_at: datetime | None


def warned_rows(organization: Organization | None) -> list[WarnedRow]:
    """Return the oldest 200 payments that wait for somebody of finance after a warning. For the platform role."""
    found = Payment.objects.warned_of().select_related("organization")
    if organization is not None:
        found = found.owned_by(organization)
    return [
        WarnedRow(
            payment=payment.public_id,
            organization=payment.organization.name,
            amount=display_usd(payment.amount_cents * NANO_PER_CENT),
            warning=payment.fraud_warning,
            warned_at=payment.fraud_warned_at,
        )
        for payment in found[:NEWEST]
    ]


def find_dispute(public_id: str) -> Dispute | None:
    """Return a dispute of any organization by its public id. For the platform role."""
    # PostgreSQL takes no NUL in a text.
    return None if "\0" in public_id else _with_names().filter(public_id=public_id).first()


def dispute_row(dispute: Dispute) -> DisputeRow:
    return DisputeRow(
        public_id=dispute.public_id,
        organization=dispute.organization.name,
        payment=dispute.payment.public_id,
        state=dispute.state,
        label=dispute.get_state_display(),
        reason=dispute.reason.replace("_", " "),
        amount=display_usd(dispute.amount_cents * NANO_PER_CENT),
        frozen=display_usd(dispute.frozen_cents * NANO_PER_CENT),
        is_undecided=dispute.state in Dispute.UNDECIDED,
        can_be_answered=can_be_answered(dispute),
        due_by=dispute.due_by,
        opened_at=dispute.opened_at,
        ended_at=dispute.ended_at,
        answered_at=dispute.answered_at,
        answered_by=dispute.answered_by,
    )


def can_be_answered(dispute: Dispute) -> bool:
    return dispute.state in (Dispute.State.INQUIRY, Dispute.State.OPEN) and dispute.answered_at is None


def _with_names() -> DisputeQuerySet:
    return Dispute.objects.select_related("organization", "payment")
