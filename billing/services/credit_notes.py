"""Take lines of an issued invoice back: one person proposes, another issues. Rules: docs/algorithms/invoicing.md."""

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from django.conf import settings
from django.db import transaction
from django.db.models import F, Sum
from django.utils.translation import gettext as _

from accounts.models import User
from accounts.services.audit import record_event, staff_actor
from billing.invoicing import Part, Payer
from billing.invoicing.tax import tax_of
from billing.models import CreditGrant, CreditNote, Invoice, InvoiceLine, LedgerAccount, Route, SpendCap
from billing.models.ledger import CREDIT, AccountKind
from billing.services.credits import lock_account, lock_cap
from billing.services.invoice_posting import note_entries
from billing.services.invoices import next_number
from billing.services.ledger import Journal, post
from billing.services.standing import relieve
from billing.services.terms_room import fit_room
from portal.lib.errors import DomainError
from portal.lib.money import NANO_PER_CENT, decimal_string

PROPOSE, DECIDE = "billing.add_creditnote", "billing.change_creditnote"


class UnableToCredit(DomainError):
    code: ClassVar[str] = "unable_to_credit"


_TAKES_BACK = (Invoice.Status.OPEN, Invoice.Status.PAID)


@transaction.atomic
def propose_credit_note(
    *, invoice: Invoice, positions: Sequence[int], reason: str, by: User, now: datetime
) -> CreditNote:
    """Propose to take whole lines of an invoice back. positions: of the lines.

    Raises UnableToCredit if `by` may not, for an invoice that is neither open nor paid, for lines that it has not, that
    another note takes back, that were set off against others, or that take something back themselves.
    """
    _refuse_without(by, PROPOSE)
    lock_cap(organization_id=invoice.organization_id, now=now)
    invoice = Invoice.objects.select_for_update(no_key=True).get(pk=invoice.pk)
    if invoice.status not in _TAKES_BACK:
        raise UnableToCredit(_("Only an invoice that is open or paid is credited."))
    if not reason.strip():
        raise UnableToCredit(_("Say why: the reason is on the note."))
    lines = _lines(invoice, positions)
    taken = {
        position
        for note in CreditNote.objects.of_invoice(invoice).exclude(status=CreditNote.Status.DECLINED)
        for position in note.positions
    }
    if taken & set(positions):
        raise UnableToCredit(_("Another credit note has one of these lines already."))
    parts = [part for line in lines for part in _parts(line)]
    note = CreditNote.objects.create(
        organization_id=invoice.organization_id,
        invoice=invoice,
        positions=sorted(positions),
        reason=reason.strip()[:300],
        amount_cents=sum(part.cents for part in parts if part.payer in (Payer.CREDIT, Payer.OWED)),
        owed_cents=sum(part.cents for part in parts if part.payer is Payer.OWED),
        proposed_by=by.public_id,
        proposed_at=now,
    )
    record_event(
        "credit_note.proposed",
        organization_id=invoice.organization_id,
        target=("credit_note", note.public_id),
        changes={"amount": (None, decimal_string(note.amount_cents * NANO_PER_CENT))},
        actor=staff_actor(by),
        now=now,
    )
    return note


@transaction.atomic
def issue_credit_note(*, note: CreditNote, by: User, now: datetime) -> CreditNote:
    """Issue a proposed note: number, ledger and room in the cap in one transaction. One that is issued stays as it is.

    Grants get back what they paid, in full and whatever was burned since; the customer what it owed, and the tax on
    it: of all notes together exactly that of the invoice. Raises UnableToCredit if `by` may not or proposed it, and for
    one that was declined.
    """
    _refuse_without(by, DECIDE)
    note, invoice = _locked(note, now)
    if note.status == CreditNote.Status.ISSUED:
        return note
    _refuse_decision(note, by)
    before = CreditNote.objects.of_invoice(invoice).filter(status=CreditNote.Status.ISSUED)
    owed_before = before.aggregate(Sum("owed_cents"))["owed_cents__sum"] or 0
    left_cents = invoice.owed_cents - owed_before
    rate = invoice.tax_rate_millionths
    note.tax_cents = tax_of(left_cents, rate) - tax_of(left_cents - note.owed_cents, rate)
    lines = _lines(invoice, note.positions)
    entries = note_entries(
        [(line.product, part) for line in lines for part in _parts(line)], note.tax_cents, _routes(invoice)
    )
    if entries:
        post(Journal(invoice.organization_id, f"credit-note:{note.public_id}", now, entries), now=now)
    # What grants pay again, and a debt that is no more, is room; what was paid in cash is refunded instead.
    # What was not used of a commitment had taken no room.
    unused_cents = sum(line.amount_cents for line in lines if line.contract_id)
    room_cents = note.amount_cents - unused_cents
    if invoice.status == Invoice.Status.PAID:
        room_cents = note.amount_cents - note.owed_cents
    SpendCap.objects.of_organization(invoice.organization_id).update(
        limit_nano=F("limit_nano") + room_cents * NANO_PER_CENT
    )
    note.number = next_number(f"{settings.INVOICE_PREFIX}-CN")
    _decide(note, CreditNote.Status.ISSUED, by, now)
    fit_room(organization_id=invoice.organization_id)
    relieve(organization_id=invoice.organization_id, now=now)
    record_event(
        "credit_note.issued",
        organization_id=note.organization_id,
        target=("credit_note", note.public_id),
        changes={"number": (None, note.number)},
        actor=staff_actor(by),
        now=now,
    )
    return note


@transaction.atomic
def decline_credit_note(*, note: CreditNote, by: User, now: datetime) -> CreditNote:
    """Decline a proposed note; its lines may be proposed again. Whoever proposed it may take it back so.

    Raises UnableToCredit if `by` may not, and for one that is decided.
    """
    _refuse_without(by, DECIDE)
    note, _invoice = _locked(note, now)
    if note.status != CreditNote.Status.PROPOSED:
        raise UnableToCredit(_("This credit note is decided already."))
    _decide(note, CreditNote.Status.DECLINED, by, now)
    record_event(
        "credit_note.declined",
        organization_id=note.organization_id,
        target=("credit_note", note.public_id),
        actor=staff_actor(by),
        now=now,
    )
    return note


def _refuse_without(by: User, permission: str) -> None:
    if not by.is_staff or not by.has_perm(permission):
        raise UnableToCredit(_("You may not do this with credit notes."))


def _refuse_decision(note: CreditNote, by: User) -> None:
    if note.status != CreditNote.Status.PROPOSED:
        raise UnableToCredit(_("This credit note is decided already."))
    if by.public_id == note.proposed_by:
        raise UnableToCredit(_("Somebody else than who proposed a credit note issues it."))


def _decide(note: CreditNote, status: CreditNote.Status, by: User, now: datetime) -> None:
    note.status = status
    note.decided_by = by.public_id
    note.decided_at = now
    note.save(update_fields=["status", "number", "tax_cents", "decided_by", "decided_at"])


def _locked(note: CreditNote, now: datetime) -> tuple[CreditNote, Invoice]:
    lock_account(organization_id=note.organization_id, now=now)
    invoice = Invoice.objects.select_for_update(no_key=True).get(pk=note.invoice_id)
    return CreditNote.objects.select_for_update(no_key=True).get(pk=note.pk), invoice


def _lines(invoice: Invoice, positions: Sequence[int]) -> list[InvoiceLine]:
    lines = list(InvoiceLine.objects.of_invoice(invoice).filter(position__in=positions))
    if not lines or len(lines) != len(positions):
        raise UnableToCredit(_("Name lines that the invoice has, each once."))
    if any(part.payer is Payer.SET_OFF for line in lines for part in _parts(line)):
        raise UnableToCredit(_("A line that was set off against others is not taken back alone."))
    return lines


def _parts(line: InvoiceLine) -> list[Part]:
    return [Part(Payer(part["payer"]), part["grant"], part["cents"]) for part in line.parts]


def _routes(invoice: Invoice) -> dict[str, Route]:
    grants = CreditGrant.objects.of_organization(invoice.organization_id)
    accounts = LedgerAccount.objects.filter(kind__in=CREDIT, grant__in=grants).values_list(
        "grant__public_id", "kind", "grant_id"
    )
    return {name: Route(AccountKind(kind), grant_id=pk) for name, kind, pk in accounts}
