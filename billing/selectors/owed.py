"""How much of an invoice is still to be paid."""

from dataclasses import dataclass

from django.db.models import Q, Sum

from billing.models import CreditNote, Invoice, InvoiceLine, LedgerEntry, TransferMatch
from portal.lib.money import NANO_PER_CENT


@dataclass(frozen=True, slots=True)
class Noted:
    """What issued credit notes took back of what an invoice leaves owed, and of its tax, in cents."""

    owed_cents: int
    tax_cents: int


def noted_of(invoice: Invoice) -> Noted:
    issued = CreditNote.objects.of_invoice(invoice).filter(status=CreditNote.Status.ISSUED)
    sums = issued.aggregate(owed=Sum("owed_cents"), tax=Sum("tax_cents"))
    return Noted(sums["owed"] or 0, sums["tax"] or 0)


def true_up_cents_of(invoice: Invoice) -> int:
    """Return what an invoice bills as unused, in cents, without what credit notes took back of it."""
    lines = InvoiceLine.objects.of_invoice(invoice).filter(contract__isnull=False, amount_cents__gt=0)
    issued = CreditNote.objects.of_invoice(invoice).filter(status=CreditNote.Status.ISSUED)
    taken_back = {position for note in issued for position in note.positions}
    return sum(line.amount_cents for line in lines if line.position not in taken_back)


def room_nano_of(invoice: Invoice) -> int:
    """Return what an invoice leaves owed that took room of the credit, in nano-dollars: what was not used took none."""
    owed_cents = invoice.owed_cents - noted_of(invoice).owed_cents
    return max(owed_cents - true_up_cents_of(invoice), 0) * NANO_PER_CENT


def transferred_cents_of(invoice: Invoice) -> int:
    """Return what confirmed bank transfers have paid of an invoice."""
    return TransferMatch.objects.paying(invoice).aggregate(Sum("amount_cents"))["amount_cents__sum"] or 0


def settled_cents_of(invoice: Invoice) -> int:
    """Return what was paid of an invoice otherwise than by transfer, such as by card, and not taken back."""
    source = paid_source(invoice)
    mine = LedgerEntry.objects.filter(organization_id=invoice.organization_id)
    paid = mine.filter(Q(source=source) | Q(source__startswith=f"{source}:"))
    taken_back = mine.filter(reverses__in=paid).values("reverses")
    paid_nano = paid.exclude(pk__in=taken_back).aggregate(Sum("amount_nano"))["amount_nano__sum"] or 0
    return int(paid_nano // NANO_PER_CENT)


def paid_source(invoice: Invoice) -> str:
    """Return under which source a payment is posted; those after the first have `:` and a number behind it."""
    return f"invoice-paid:{invoice.public_id}"


def still_due_cents(invoice: Invoice) -> int:
    """Return what is left to be paid of an invoice: less credit notes, transfers and other payments."""
    noted = noted_of(invoice)
    paid_cents = transferred_cents_of(invoice) + settled_cents_of(invoice)
    return invoice.due_cents - noted.owed_cents - noted.tax_cents - paid_cents


# The payment provider charges no less; what is below is carried forward.
SMALLEST_CENTS = 50


def payable_cents(invoice: Invoice) -> int:
    """Return what of an invoice can be paid by card now, 0 where nothing can."""
    cents = still_due_cents(invoice) if invoice.status in (Invoice.Status.OPEN, Invoice.Status.UNCOLLECTIBLE) else 0
    return cents if cents >= SMALLEST_CENTS else 0
