"""What a contract commits an organization to, and what of it is billed at the end of its term: the true-up."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from billing.invoicing.lines import Line
from portal.lib.periods import Period, month_of

# The product of true-up lines, for revenue.
PRODUCT = "commitment"


@dataclass(frozen=True, slots=True)
class Commitment:
    """What is to be used in whole UTC months [starts_at, ends_at), in nano-dollars, by a contract (public id).

    drawn_nano: what invoices have billed of these months. booked_nano: what they have billed as true-up.
    """

    contract: str
    starts_at: datetime
    ends_at: datetime
    amount_nano: int
    drawn_nano: int = 0
    booked_nano: int = 0

    def covers(self, month: datetime) -> bool:
        return self.starts_at <= month < self.ends_at


def true_ups(commitments: Iterable[Commitment], lines: Sequence[Line], period: Period) -> list[Line]:
    """Return the lines that bill what was not used, of terms that are over with the period, by contract.

    What is missing, with the usage of `lines`, less what was billed as missing before: below 0 where late usage has
    drawn what an invoice took for unused.
    """
    found = []
    for one in sorted(commitments, key=lambda commitment: commitment.contract):
        if one.ends_at > period.end:
            continue
        drawn_nano = one.drawn_nano + sum(line.amount_nano for line in lines if one.covers(line.month))
        change_nano = max(one.amount_nano - drawn_nano, 0) - one.booked_nano
        if change_nano:
            month = month_of(one.ends_at - timedelta(hours=1)).start
            found.append(
                Line(
                    is_adjustment=month < month_of(period.start).start,
                    month=month,
                    project="",
                    product=PRODUCT,
                    sku="",
                    price="",
                    price_nano=0,
                    unit_size=1,
                    buckets=(),
                    contract=one.contract,
                    true_up_nano=change_nano,
                )
            )
    return found
