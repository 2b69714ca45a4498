"""Bank transfers: recorded by one of staff, confirmed by another; a wrong match is taken back by the counter entry.

All of it for the platform role. Locks: the organization's credit, the transfer, its invoices in order, ledger accounts,
the audit log. Rules: docs/algorithms/transfers.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import ClassVar

import structlog
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from accounts.models import Organization, User
from accounts.services.audit import record_event
from accounts.services.mails import mail_each, page_address
from billing.invoicing.matching import Claim, Match, suggest
from billing.models import (
    AccountKind,
    BankTransfer,
    CreditGrant,
    Invoice,
    LedgerEntry,
    Route,
    TransferMatch,
)
from billing.models.cap import passed_warning
from billing.selectors.debts import debts_of
from billing.selectors.owed import still_due_cents
from billing.selectors.terms import OWING
from billing.services.credits import Award, add_credit, lock_account, lock_cap
from billing.services.details import billing_addresses
from billing.services.invoice_settling import mark_paid, owe_again
from billing.services.ledger import Journal, Line, Overdraft, post, reverse
from billing.services.standing import relieve
from billing.services.terms import staff_actor
from portal.lib.batches import one_by_one
from portal.lib.errors import DomainError
from portal.lib.money import NANO_PER_CENT, decimal_string

log = structlog.get_logger(__name__)

PERMISSION = "billing.record_transfer"
Status = BankTransfer.Status


class UnableToRecordTransfer(DomainError):
    code: ClassVar[str] = "unable_to_record_transfer"


class UnableToChangeTransfer(DomainError):
    code: ClassVar[str] = "unable_to_change_transfer"


@dataclass(frozen=True, slots=True)
class ArrivedTransfer:
    """A line of a bank statement. statement_line: how the bank names it.

    debt_cents: how much of it pays what lost disputes leave owed, as finance says; nobody guesses that.
    """

    statement_line: str
    amount_cents: int
    value_date: date
    payer: str
    reference: str = ""
    debt_cents: int = 0


@transaction.atomic
def record_transfer(
    *,
    organization: Organization,
    arrived: ArrivedTransfer,
    matches: Sequence[Match] | None,
    by: User,
    now: datetime,
) -> BankTransfer:
    """Write down what arrived and which invoices it pays; nothing is paid until another person confirms it.

    matches: None for what `suggest` finds; what is beyond them becomes credit. Raises UnableToRecordTransfer for a line
    that is recorded already, a date ahead, matches that the invoices or the amount have no room for, or if `by` may
    not.
    """
    if not _may(by):
        raise UnableToRecordTransfer(_("You may not record bank transfers."))
    if arrived.amount_cents <= 0 or arrived.value_date > now.date():
        raise UnableToRecordTransfer(_("A transfer is of more than nothing, and has arrived."))
    lock_cap(organization_id=organization.pk, now=now)
    unpaid = {invoice.number or "": invoice for invoice in unpaid_invoices(organization.pk)}
    if matches is None:
        claims = [Claim(number, still_due_cents(invoice)) for number, invoice in unpaid.items()]
        matches = suggest(arrived.amount_cents - arrived.debt_cents, arrived.reference, claims)
    _refuse_bad_matches(arrived, matches, unpaid)
    if not 0 <= arrived.debt_cents <= (owed_cents := debts_of(organization.pk).cents):
        raise UnableToRecordTransfer(_debt_left(owed_cents))
    try:
        with transaction.atomic():
            transfer = BankTransfer.objects.create(
                organization=organization,
                statement_line=arrived.statement_line.strip(),
                amount_cents=arrived.amount_cents,
                debt_cents=arrived.debt_cents,
                value_date=arrived.value_date,
                payer=arrived.payer.strip(),
                reference=arrived.reference.strip(),
                recorded_by=by.public_id,
                recorded_at=now,
            )
    except IntegrityError as error:
        raise UnableToRecordTransfer(_("This line of the statement is recorded already.")) from error
    TransferMatch.objects.bulk_create(
        TransferMatch(
            organization=organization, transfer=transfer, invoice=unpaid[match.number], amount_cents=match.cents
        )
        for match in matches
    )
    _record("transfer.recorded", transfer, by, now)
    return transfer


@transaction.atomic
def confirm_transfer(*, transfer: BankTransfer, by: User, now: datetime) -> BankTransfer:
    """Pay the invoices as a second person, and give what is beyond them as credit. One that is confirmed stays so.

    Raises UnableToChangeTransfer for who recorded it, and where an invoice or a debt is not owed as much any more.
    """
    transfer = _locked(transfer, by, now)
    if transfer.status == Status.CONFIRMED:
        return transfer
    _refuse_unless(transfer, Status.CONFIRMED)
    if transfer.recorded_by == by.public_id:
        raise UnableToChangeTransfer(_("Somebody else confirms what you have recorded."))
    matches = list(TransferMatch.objects.of_transfer(transfer))
    for match in matches:
        _refuse_unpayable(match)
    if transfer.debt_cents > (owed_cents := debts_of(transfer.organization_id).cents):
        raise UnableToChangeTransfer(_debt_left(owed_cents))
    paid = [match.amount_cents for match in matches] + [transfer.debt_cents] * bool(transfer.debt_cents)
    _post_paid(transfer, paid, now)
    transfer.credit_grant = _give_rest(transfer, sum(paid), now)
    transfer.status, transfer.confirmed_by, transfer.confirmed_at = Status.CONFIRMED, by.public_id, now
    transfer.save(update_fields=["credit_grant", "status", "confirmed_by", "confirmed_at"])
    for match in matches:
        if still_due_cents(match.invoice) == 0:
            mark_paid(invoice=match.invoice, now=now)
    if transfer.debt_cents:
        relieve(organization_id=transfer.organization_id, now=now)
    _record("transfer.confirmed", transfer, by, now)
    return transfer


@transaction.atomic
def discard_transfer(*, transfer: BankTransfer, by: User, now: datetime) -> BankTransfer:
    """Give up one that is not confirmed; its line may be recorded again. Raises UnableToChangeTransfer."""
    transfer = _locked(transfer, by, now)
    _refuse_unless(transfer, Status.DISCARDED)
    transfer.status = Status.DISCARDED
    transfer.save(update_fields=["status"])
    _record("transfer.discarded", transfer, by, now)
    return transfer


@transaction.atomic
def dispute_transfer(*, transfer: BankTransfer, because: str, by: User, now: datetime) -> BankTransfer:
    """Say that a confirmed transfer was matched wrongly, so that another person may take it back.

    Raises UnableToChangeTransfer without a reason, and for one that is not confirmed.
    """
    transfer = _locked(transfer, by, now)
    _refuse_unless(transfer, Status.TAKEN_BACK)
    if not because.strip():
        raise UnableToChangeTransfer(_("Say what is wrong with it."))
    transfer.disputed_by, transfer.disputed_because = by.public_id, because.strip()[:300]
    transfer.save(update_fields=["disputed_by", "disputed_because"])
    _record("transfer.disputed", transfer, by, now)
    return transfer


@transaction.atomic
def take_back_transfer(*, transfer: BankTransfer, by: User, now: datetime) -> BankTransfer:
    """Undo a confirmed transfer by the counter entries: invoices are owed again, credit beyond them goes.

    Debts come back even where the room that they gave was used meanwhile. Safe to repeat. Raises
    UnableToChangeTransfer for who disputed it, where nobody did, and where its credit is used.
    """
    transfer = _locked(transfer, by, now)
    if transfer.status == Status.TAKEN_BACK:
        return transfer
    _refuse_unless(transfer, Status.TAKEN_BACK)
    if transfer.disputed_by in ("", by.public_id):
        raise UnableToChangeTransfer(_("One person says that it is wrong, and another takes it back."))
    _take_credit(transfer, now)
    matches = list(TransferMatch.objects.of_transfer(transfer))
    if matches or transfer.debt_cents:
        reverse(organization_id=transfer.organization_id, source=_source(transfer), effective_at=now, now=now)
    transfer.status, transfer.taken_back_by, transfer.taken_back_at = Status.TAKEN_BACK, by.public_id, now
    transfer.save(update_fields=["status", "taken_back_by", "taken_back_at"])
    for match in matches:
        owe_again(invoice=match.invoice, now=now)
    _record("transfer.taken_back", transfer, by, now)
    return transfer


def unpaid_invoices(organization_id: int) -> list[Invoice]:
    """Return invoices that may still be paid, the oldest first."""
    owing = Invoice.objects.of_organization(organization_id).filter(status__in=OWING)
    return list(owing.order_by("issued_at", "pk"))


def mail_transfers(*, now: datetime) -> int:
    """Mail every confirmed transfer to those who look after bills; return how many. For the platform role."""
    return one_by_one(
        list(BankTransfer.objects.unmailed(now).values_list("pk", flat=True)[:500]),
        lambda pk: _mail(pk, now),
        lambda pk: log.exception("billing.transfer_not_mailed", transfer_id=pk),
    )


@transaction.atomic
def _mail(pk: int, now: datetime) -> int:
    transfers = BankTransfer.objects.select_for_update(skip_locked=True, of=("self",)).select_related("organization")
    transfer = transfers.filter(pk=pk, mailed_at=None, status=Status.CONFIRMED).first()
    if transfer is None:
        return 0
    matches = TransferMatch.objects.of_transfer(transfer)
    paid = [(match.invoice.number, match.amount_cents * NANO_PER_CENT) for match in matches]
    mail_each(
        "transfer_received",
        billing_addresses(transfer.organization),
        transfer=transfer,
        amount_nano=transfer.amount_cents * NANO_PER_CENT,
        paid=paid,
        debt_nano=transfer.debt_cents * NANO_PER_CENT,
        credit_nano=transfer.credit_grant.amount_nano if transfer.credit_grant else 0,
        organization=transfer.organization.name,
        address=page_address("billing:invoice-list", transfer.organization.slug),
    )
    transfer.mailed_at = now
    transfer.save(update_fields=["mailed_at"])
    return 1


def _may(by: User) -> bool:
    return by.is_staff and by.has_perm(PERMISSION)


def _locked(transfer: BankTransfer, by: User, now: datetime) -> BankTransfer:
    if not _may(by):
        raise UnableToChangeTransfer(_("You may not change bank transfers."))
    lock_account(organization_id=transfer.organization_id, now=now)
    return BankTransfer.objects.select_for_update(no_key=True, of=("self",)).get(pk=transfer.pk)


def _refuse_unless(transfer: BankTransfer, status: BankTransfer.Status) -> None:
    if not transfer.can_become(status):
        words = {"status": transfer.get_status_display().lower()}
        raise UnableToChangeTransfer(_("The transfer is %(status)s.") % words)


def _refuse_bad_matches(arrived: ArrivedTransfer, matches: Sequence[Match], unpaid: dict[str, Invoice]) -> None:
    if len({match.number for match in matches}) < len(matches):
        raise UnableToRecordTransfer(_("Name each invoice once."))
    for match in matches:
        invoice = unpaid.get(match.number)
        if invoice is None:
            raise UnableToRecordTransfer(_("%(number)s is no unpaid invoice of it.") % {"number": match.number})
        if not 0 < match.cents <= still_due_cents(invoice):
            due = decimal_string(still_due_cents(invoice) * NANO_PER_CENT)
            words = {"number": match.number, "due": due}
            raise UnableToRecordTransfer(_("%(number)s has %(due)s left to be paid.") % words)
    if sum(match.cents for match in matches) + arrived.debt_cents > arrived.amount_cents:
        raise UnableToRecordTransfer(_("The invoices are paid with more than has arrived."))


def _refuse_unpayable(match: TransferMatch) -> None:
    invoice = match.invoice
    due_cents = still_due_cents(invoice)
    is_whole = match.amount_cents == due_cents
    if invoice.status not in OWING or match.amount_cents > due_cents:
        words = {"number": invoice.number}
        raise UnableToChangeTransfer(_("%(number)s is not owed as much any more: record it again.") % words)
    if invoice.status == Invoice.Status.UNCOLLECTIBLE and not is_whole:
        raise UnableToChangeTransfer(_("%(number)s was given up: it is paid whole.") % {"number": invoice.number})


def _post_paid(transfer: BankTransfer, paid: Sequence[int], now: datetime) -> None:
    """Say in the ledger that cash has paid so many cents, each a line."""
    cash, receivable = Route(AccountKind.CASH), Route(AccountKind.RECEIVABLE)
    lines = tuple(Line(LedgerEntry.Code.PAYMENT, cash, receivable, cents * NANO_PER_CENT) for cents in paid)
    if lines:
        post(Journal(transfer.organization_id, _source(transfer), _arrived_at(transfer), lines), now=now)


def _give_rest(transfer: BankTransfer, paid_cents: int, now: datetime) -> CreditGrant | None:
    rest_cents = transfer.amount_cents - paid_cents
    if not rest_cents:
        return None
    given = Award(
        CreditGrant.Kind.PREPAID,
        rest_cents * NANO_PER_CENT,
        _source(transfer),
        arrived_in=AccountKind.CASH,
    )
    return add_credit(cap=lock_cap(organization_id=transfer.organization_id, now=now), given=given, now=now)


def _take_credit(transfer: BankTransfer, now: datetime) -> None:
    grant = transfer.credit_grant
    if grant is None:
        return
    cap = lock_cap(organization_id=transfer.organization_id, now=now)
    try:
        if cap.remaining_nano < grant.amount_nano:
            raise UnableToChangeTransfer(_("The credit that was beyond its invoices is used."))
        reverse(organization_id=transfer.organization_id, source=f"grant:{grant.public_id}", effective_at=now, now=now)
    except Overdraft as error:
        raise UnableToChangeTransfer(_("The credit that was beyond its invoices is used.")) from error
    cap.limit_nano -= grant.amount_nano
    cap.warned_percent = min(cap.warned_percent, passed_warning(cap.settled_nano, cap.limit_nano))
    cap.save(update_fields=["limit_nano", "warned_percent"])


def _debt_left(cents: int) -> str:
    left = decimal_string(cents * NANO_PER_CENT)
    return _("Of payments that were taken back, %(left)s are owed: no more of it is paid so.") % {"left": left}


def _source(transfer: BankTransfer) -> str:
    return f"transfer:{transfer.public_id}"


def _arrived_at(transfer: BankTransfer) -> datetime:
    return datetime.combine(transfer.value_date, time(), tzinfo=UTC)


def _record(action: str, transfer: BankTransfer, by: User, now: datetime) -> None:
    record_event(
        action,
        organization_id=transfer.organization_id,
        target=("transfer", transfer.public_id),
        changes={
            "amount": (None, decimal_string(transfer.amount_cents * NANO_PER_CENT)),
            "status": (None, transfer.status),
        },
        actor=staff_actor(by),
        now=now,
    )
