"""From rated buckets to an invoice: lines, cents, who pays for what, tax. Plain values in, frozen results out.

Definitions and worked numbers: docs/algorithms/invoicing.md and docs/algorithms/tax.md.
"""

from billing.invoicing.bill import Bill, BilledLine, Terms, bill
from billing.invoicing.commitment import Commitment
from billing.invoicing.credit import Credit, Part, Payer
from billing.invoicing.lines import Bucket, Line, TierShare, lines_of
from billing.invoicing.tax import NOBODY, Party, TaxQuote, quote_tax

__all__ = [
    "NOBODY",
    "Bill",
    "BilledLine",
    "Bucket",
    "Commitment",
    "Credit",
    "Line",
    "Part",
    "Party",
    "Payer",
    "TaxQuote",
    "Terms",
    "TierShare",
    "bill",
    "lines_of",
    "quote_tax",
]
