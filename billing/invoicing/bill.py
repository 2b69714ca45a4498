"""A whole invoice, computed: lines in cents, their parts, tax, and what is due."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from billing.invoicing.commitment import Commitment, true_ups
from billing.invoicing.credit import Credit, Part, Payer, split
from billing.invoicing.lines import Bucket, Line, TierShare, lines_of
from billing.invoicing.tax import NOBODY, Party, TaxQuote, quote_tax
from portal.lib.money import to_cents
from portal.lib.periods import Period


@dataclass(frozen=True, slots=True)
class Terms:
    """What was agreed with the buyer, and who the parties are.

    credit_limit_nano: how much it may owe, in nano-dollars; 0 means that it pays from credit only.
    """

    seller: Party = NOBODY
    buyer: Party = NOBODY
    credit_limit_nano: int = 0
    net_days: int = 0
    purchase_order: str = ""

    @property
    def may_owe(self) -> bool:
        return self.credit_limit_nano > 0


@dataclass(frozen=True, slots=True)
class BilledLine:
    """A line in cents. The parts sum to it."""

    line: Line
    cents: int
    parts: Sequence[Part]


@dataclass(frozen=True, slots=True)
class Bill:
    """An invoice before it has a number. Cents, but for `exact_nano`."""

    lines: Sequence[BilledLine]
    tax: TaxQuote

    @property
    def exact_nano(self) -> int:
        return sum(one.line.amount_nano for one in self.lines)

    @property
    def total_cents(self) -> int:
        """Of the lines, without tax."""
        return sum(one.cents for one in self.lines)

    @property
    def due_cents(self) -> int:
        return self.paid_by(Payer.OWED) + self.tax.tax_cents

    def paid_by(self, payer: Payer) -> int:
        return sum(part.cents for one in self.lines for part in one.parts if part.payer is payer)

    def burned(self) -> Mapping[str, int]:
        """Cents that each grant pays, by public id."""
        cents: defaultdict[str, int] = defaultdict(int)
        for one in self.lines:
            for part in one.parts:
                if part.payer is Payer.CREDIT:
                    cents[part.grant] += part.cents
        return cents


def bill(
    buckets: Iterable[Bucket],
    period: Period,
    *,
    credits_: Iterable[Credit],
    overrun_nano: int,
    terms: Terms,
    tiers: Iterable[TierShare] = (),
    commitments: Iterable[Commitment] = (),
) -> Bill | None:
    """Return the invoice of a period, None where there is nothing to bill yet.

    That is so without buckets, and while what is taken back is more than what is charged: it waits, unbilled, for
    charges that it can be set off against. overrun_nano: what caps had no room for and no invoice has written off.
    tiers: what they change, for the same usage. commitments: those whose term may be over; what was not used of one is
    billed and owed even while usage waits.
    """
    lines = list(lines_of(buckets, period, tiers))
    if sum(line.amount_nano for line in lines) < 0:
        lines = []
    lines += true_ups(commitments, lines, period)
    cents = to_cents([line.amount_nano for line in lines])
    if not lines or sum(line.amount_nano for line in lines) < 0:
        return None
    parts = split(lines, cents, credits_, overrun_nano=overrun_nano, may_owe=terms.may_owe)
    billed = [BilledLine(*values) for values in zip(lines, cents, parts, strict=True)]
    owed_cents = sum(part.cents for one in billed for part in one.parts if part.payer is Payer.OWED)
    return Bill(billed, quote_tax(terms.seller, terms.buyer, owed_cents))
