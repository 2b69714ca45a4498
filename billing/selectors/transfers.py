"""Bank transfers as pages of staff print them. For the platform role."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from accounts.models import Organization
from billing.invoicing.matching import plain
from billing.models import BankTransfer, Invoice, TransferMatch
from billing.selectors.owed import still_due_cents
from billing.selectors.terms import OWING
from portal.lib.money import NANO_PER_CENT, decimal_string

NEWEST = 200


@dataclass(frozen=True, slots=True)
class TransferRow:
    """A transfer, in dollars. debt: what it pays of lost disputes; the rest is beyond all that it pays."""

    public_id: str
    organization: str
    slug: str
    status: str
    statement_line: str
    amount: str
    debt: str
    rest: str
    value_date: date
    payer: str
    reference: str
    recorded_by: str
    confirmed_by: str
    disputed_by: str
    disputed_because: str
    taken_back_by: str


@dataclass(frozen=True, slots=True)
class PaidRow:
    """An invoice that a transfer pays: how much of it, and what is left to be paid now, in dollars."""

    number: str
    status: str
    amount: str
    left: str


def transfer_rows(organization: Organization | None) -> Sequence[TransferRow]:
    """Return the newest 200 transfers of an organization, or of all."""
    found = BankTransfer.objects.select_related("organization").order_by("-pk")
    if organization is not None:
        found = found.owned_by(organization)
    return [transfer_row(transfer) for transfer in found[:NEWEST]]


def find_transfer(public_id: str) -> BankTransfer | None:
    # PostgreSQL takes no NUL in a text.
    found = BankTransfer.objects.select_related("organization")
    return None if "\0" in public_id else found.filter(public_id=public_id).first()


def transfer_row(transfer: BankTransfer) -> TransferRow:
    paid_cents = sum(match.amount_cents for match in TransferMatch.objects.of_transfer(transfer))
    return TransferRow(
        public_id=transfer.public_id,
        organization=transfer.organization.name,
        slug=transfer.organization.slug,
        status=transfer.get_status_display(),
        statement_line=transfer.statement_line,
        amount=_dollars(transfer.amount_cents),
        debt=_dollars(transfer.debt_cents),
        rest=_dollars(transfer.amount_cents - transfer.debt_cents - paid_cents),
        value_date=transfer.value_date,
        payer=transfer.payer,
        reference=transfer.reference,
        recorded_by=transfer.recorded_by,
        confirmed_by=transfer.confirmed_by,
        disputed_by=transfer.disputed_by,
        disputed_because=transfer.disputed_because,
        taken_back_by=transfer.taken_back_by,
    )


def paid_rows(transfer: BankTransfer) -> Sequence[PaidRow]:
    """Return what a transfer pays, oldest invoice first."""
    return [
        PaidRow(
            number=match.invoice.number or "",
            status=match.invoice.get_status_display(),
            amount=_dollars(match.amount_cents),
            left=_dollars(still_due_cents(match.invoice)),
        )
        for match in TransferMatch.objects.of_transfer(transfer)
    ]


def organization_named_in(reference: str) -> Organization | None:
    """Return whose unpaid invoice a reference names; None where it names none, or those of several."""
    written = plain(reference)
    unpaid = Invoice.objects.filter(status__in=OWING).select_related("organization")
    named = {one.organization for one in unpaid if plain(one.number or "") in written}
    return named.pop() if len(named) == 1 else None


def _dollars(cents: int) -> str:
    return decimal_string(cents * NANO_PER_CENT)
