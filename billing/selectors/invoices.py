"""Invoices as pages print them: ready strings."""

from dataclasses import dataclass
from datetime import date, datetime

from django.utils.translation import gettext as _

from accounts.models import Organization
from billing.invoicing import Payer
from billing.models import CreditNote, Invoice, InvoiceLine, TransferMatch
from billing.selectors.center_spend import center_sums
from billing.selectors.invoice_export import usd
from billing.selectors.owed import still_due_cents
from billing.selectors.words import per_words, quantity_words
from catalog.models import Sku
from portal.lib.money import NANO_PER_CENT, decimal_string, display_usd

# Twenty years of months.
MOST_SHOWN = 240


@dataclass(frozen=True, slots=True)
class InvoiceRow:
    """An invoice in a list. number: empty while it is being prepared."""

    public_id: str
    number: str
    month: str
    status: str
    status_words: str
    total: str
    due: str
    issued_at: datetime | None
    due_at: datetime | None


@dataclass(frozen=True, slots=True)
class LineRow:
    position: int
    name: str
    sku: str
    project: str
    month: str  # of an adjustment; else empty
    quantity: str
    unit_price: str
    price_version: str
    tiers: str  # what they change, exactly; else empty
    exact: str
    amount: str
    paid: str  # by whom, in words


@dataclass(frozen=True, slots=True)
class NoteRow:
    number: str
    amount: str
    reason: str
    issued_at: datetime | None


@dataclass(frozen=True, slots=True)
class TransferRow:
    """What a bank transfer paid of an invoice."""

    day: date
    amount: str
    reference: str


@dataclass(frozen=True, slots=True)
class InvoicePage:
    """An invoice with its lines, projects with what each cost, sums (words, amount), credit notes and transfers."""

    row: InvoiceRow
    revision: int
    seller: list[str]
    buyer: list[str]
    purchase_order: str
    period: str
    lines: list[LineRow]
    projects: list[tuple[str, str]]
    cost_centers: list[tuple[str, str]]  # exactly; empty where no project ever had a tag
    sums: list[tuple[str, str]]
    tax_legend: str
    notes: list[NoteRow]
    transfers: list[TransferRow]


def invoice_rows(organization: Organization) -> list[InvoiceRow]:
    """Return an organization's invoices, newest first, void drafts apart."""
    mine = Invoice.objects.owned_by(organization).exclude(status=Invoice.Status.VOID, issued_at=None)
    return [invoice_row(invoice) for invoice in mine.newest_first()[:MOST_SHOWN]]


def invoice_row(invoice: Invoice) -> InvoiceRow:
    return InvoiceRow(
        public_id=invoice.public_id,
        number=invoice.number or "",
        month=f"{invoice.period_start:%Y-%m}",
        status=invoice.status,
        status_words=str(invoice.get_status_display()),
        total=_money(invoice.total_cents),
        due=_money(invoice.due_cents),
        issued_at=invoice.issued_at,
        due_at=invoice.due_at,
    )


def invoice_page(invoice: Invoice) -> InvoicePage:
    """Return an issued invoice as its page and its PDF print it."""
    lines = list(InvoiceLine.objects.of_invoice(invoice).select_related("project", "contract"))
    skus = {sku.code: sku for sku in Sku.objects.filter(code__in={line.sku for line in lines}).select_related("meter")}
    of_project: dict[str, int] = {}
    for line in lines:
        if line.project is not None:
            of_project[line.project.name] = of_project.get(line.project.name, 0) + line.amount_cents
    issued = CreditNote.objects.of_invoice(invoice).filter(status=CreditNote.Status.ISSUED)
    return InvoicePage(
        row=invoice_row(invoice),
        revision=invoice.revision,
        seller=_party(invoice.terms["seller"]),
        buyer=_party(invoice.terms["buyer"]),
        purchase_order=invoice.terms["purchase_order"],
        period=f"{invoice.period_start:%Y-%m-%d %H:%M} to {invoice.period_end:%Y-%m-%d %H:%M} UTC",
        lines=[_true_up(line) if line.contract else _line(line, skus[line.sku]) for line in lines],
        projects=[(name, _money(cents)) for name, cents in sorted(of_project.items())],
        cost_centers=center_sums(invoice),
        sums=_sums(invoice),
        tax_legend=invoice.tax_legend,
        notes=[
            NoteRow(note.number or "", _money(note.amount_cents + note.tax_cents), note.reason, note.decided_at)
            for note in issued
        ],
        transfers=[
            TransferRow(match.transfer.value_date, _money(match.amount_cents), match.transfer.reference)
            for match in TransferMatch.objects.paying(invoice)
        ],
    )


def _true_up(line: InvoiceLine) -> LineRow:
    assert line.contract is not None  # noqa: S101  # for the type checker
    words = _("Not used of what was committed to: %(name)s, until %(end)s")
    if line.amount_cents < 0:
        words = _("Used of what was billed as not used: %(name)s, until %(end)s")
    return LineRow(
        position=line.position,
        name=words % {"name": line.contract.name, "end": f"{line.contract.committed_until:%Y-%m-%d}"},
        sku="",
        project="",
        month="",
        quantity="",
        unit_price="",
        price_version=line.contract.public_id,
        tiers="",
        exact=decimal_string(line.amount_nano),
        amount=_money(line.amount_cents),
        paid=_paid(line),
    )


def _line(line: InvoiceLine, sku: Sku) -> LineRow:
    assert line.project is not None  # noqa: S101  # for the type checker
    return LineRow(
        position=line.position,
        name=sku.name,
        sku=line.sku,
        project=line.project.name,
        month=f"{line.month:%Y-%m}" if line.is_adjustment else "",
        quantity=quantity_words(line.quantity, sku.meter.unit),
        unit_price=f"{decimal_string(line.price_nano)} {per_words(line.unit_size, sku.meter.unit)}",
        price_version=line.price_id,
        tiers=decimal_string(line.tier_nano) if line.tier_nano else "",
        exact=decimal_string(line.amount_nano),
        amount=_money(line.amount_cents),
        paid=_paid(line),
    )


def _paid(line: InvoiceLine) -> str:
    return ", ".join(f"{_payer(part['payer'])} {usd(part['cents'])}" for part in line.parts)


def _payer(payer: str) -> str:
    return {
        Payer.SET_OFF: _("set off"),
        Payer.HOUSE: _("paid by us"),
        Payer.CREDIT: _("credit"),
        Payer.OWED: _("owed"),
    }[Payer(payer)]


def _sums(invoice: Invoice) -> list[tuple[str, str]]:
    percent = decimal_string(invoice.tax_rate_millionths * 100_000).removesuffix(".00")
    sums = [
        (_("Total of the lines"), invoice.total_cents),
        (_("Paid from credit"), -invoice.credit_cents),
        (_("Paid by us: beyond a cap, or rounding"), -invoice.house_cents),
        (_("Tax, %(percent)s %%") % {"percent": percent}, invoice.tax_cents),
    ]
    shown = [(words, _money(cents)) for words, cents in sums[:1] + [one for one in sums[1:] if one[1]]]
    shown.append((_("Due"), _money(invoice.due_cents)))
    left_cents = still_due_cents(invoice) if invoice.status == Invoice.Status.OPEN else invoice.due_cents
    if left_cents != invoice.due_cents:
        shown.append((_("Left to pay, after credit notes and transfers"), _money(left_cents)))
    return shown


def _party(frozen: dict[str, str]) -> list[str]:
    return [frozen[name] for name in ("name", "address", "country", "tax_id") if frozen[name]]


def _money(cents: int) -> str:
    return display_usd(cents * NANO_PER_CENT)
