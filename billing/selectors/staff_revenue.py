"""What each SKU earned in a month's invoices, and what is left after its costs. For the platform role."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from billing.invoicing import Payer
from billing.models import CreditNote, Invoice, InvoiceLine, SkuCost
from billing.selectors.invoice_export import usd
from portal.lib.money import NANO_PER_CENT, decimal_string, round_bucket
from portal.lib.periods import Period

# What a credit note gives back of a line: what we paid ourselves goes back to nobody.
_GIVEN_BACK = (Payer.CREDIT, Payer.OWED)


@dataclass(frozen=True, slots=True)
class RevenueRow:
    """Decimals in USD. revenue: billed less noted. house: what of it we paid ourselves. cost, margin: "" if unknown."""

    sku: str
    product: str
    quantity: int
    billed: str
    noted: str
    house: str
    revenue: str
    cost: str
    margin: str


@dataclass(frozen=True, slots=True)
class Revenue:
    """The SKUs of a month's invoices, and their sum.

    unknown_count: how many have no cost, so that the sums of cost and margin are of the others.
    """

    rows: Sequence[RevenueRow]
    total: RevenueRow
    unknown_count: int


@dataclass(slots=True)
class _Sums:
    """Of one SKU, in cents but for the cost; cost_nano: None where a month of it has no cost."""

    product: str = ""
    quantity: int = 0
    billed: int = 0
    noted: int = 0
    house: int = 0
    cost_nano: int | None = 0

    @property
    def revenue(self) -> int:
        return self.billed - self.noted


def revenue_of(month: Period) -> Revenue:
    """Return what the issued invoices of a UTC month come to, SKU by SKU; void ones are none.

    All months together are the ledger's revenue. A line's cost is that of the month in which it was used.
    """
    invoices = Invoice.objects.issued().live().of_period(month)
    noted = _noted_positions(invoices.values_list("pk", flat=True))
    costs = _costs()
    sums: defaultdict[str, _Sums] = defaultdict(_Sums)
    for line in InvoiceLine.objects.filter(invoice__in=invoices).iterator():
        mine = sums[line.sku]
        mine.product = line.product
        mine.quantity += line.quantity
        mine.billed += line.amount_cents
        mine.house += sum(part["cents"] for part in line.parts if part["payer"] == Payer.HOUSE)
        if (line.invoice_id, line.position) in noted:
            mine.noted += sum(part["cents"] for part in line.parts if part["payer"] in _GIVEN_BACK)
        cost = cost_in(costs.get(line.sku, ()), line.month)
        if cost is None or mine.cost_nano is None:
            mine.cost_nano = None
        else:
            mine.cost_nano += round_bucket(line.quantity, cost.cost_nano, cost.unit_size)
    known = [one for one in sums.values() if one.cost_nano is not None]
    total = _Sums(
        billed=sum(one.billed for one in sums.values()),
        noted=sum(one.noted for one in sums.values()),
        house=sum(one.house for one in sums.values()),
    )
    cost_nano = sum(one.cost_nano or 0 for one in known)
    earned_nano = sum(one.revenue for one in known) * NANO_PER_CENT
    return Revenue(
        [_row(sku, one) for sku, one in sorted(sums.items())],
        _total(total, cost_nano, earned_nano - cost_nano),
        len(sums) - len(known),
    )


def newest_month() -> datetime | None:
    """Return the start of the newest month that has an issued invoice."""
    return Invoice.objects.issued().live().order_by("-period_start").values_list("period_start", flat=True).first()


def cost_in(costs: Sequence[SkuCost], month: datetime | date) -> SkuCost | None:
    """Return the cost that holds in a month: of the latest month until then, as it was entered last."""
    day = month.date() if isinstance(month, datetime) else month
    held = [cost for cost in costs if cost.from_month <= day]
    return max(held, key=lambda cost: (cost.from_month, cost.pk), default=None)


def _costs() -> Mapping[str, list[SkuCost]]:
    found: defaultdict[str, list[SkuCost]] = defaultdict(list)
    for cost in SkuCost.objects.select_related("sku").order_by("pk"):
        found[cost.sku.code].append(cost)
    return found


def _noted_positions(invoice_ids: Iterable[int]) -> set[tuple[int, int]]:
    issued = CreditNote.objects.filter(status=CreditNote.Status.ISSUED, invoice__in=invoice_ids)
    return {(note.invoice_id, position) for note in issued for position in note.positions}


def _row(sku: str, one: _Sums) -> RevenueRow:
    cost_nano = one.cost_nano
    return RevenueRow(
        sku=sku,
        product=one.product,
        quantity=one.quantity,
        billed=usd(one.billed),
        noted=usd(one.noted),
        house=usd(one.house),
        revenue=usd(one.revenue),
        cost="" if cost_nano is None else decimal_string(cost_nano),
        margin="" if cost_nano is None else decimal_string(one.revenue * NANO_PER_CENT - cost_nano),
    )


def _total(one: _Sums, cost_nano: int, margin_nano: int) -> RevenueRow:
    return RevenueRow(
        sku="",
        product="",
        quantity=0,
        billed=usd(one.billed),
        noted=usd(one.noted),
        house=usd(one.house),
        revenue=usd(one.revenue),
        cost=decimal_string(cost_nano),
        margin=decimal_string(margin_nano),
    )
