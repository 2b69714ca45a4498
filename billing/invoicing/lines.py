"""Buckets of usage, and what tiers take off -> lines of an invoice, with exact amounts."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from portal.lib.money import round_bucket
from portal.lib.periods import Period, month_of


@dataclass(frozen=True, slots=True)
class Bucket:
    """What an invoice bills of one hour, project and SKU: the step from the quantity billed before to the one now.

    project: public id. price: public id of the version, `price_nano` nano-dollars per `unit_size` units.
    """

    hour: datetime
    project: str
    product: str
    sku: str
    price: str
    price_nano: int
    unit_size: int
    before: int
    after: int

    @property
    def amount_nano(self) -> int:
        """Nano-dollars: the difference of two roundings of the whole bucket, so that the steps add up to it."""
        now_nano = round_bucket(self.after, self.price_nano, self.unit_size)
        return now_nano - round_bucket(self.before, self.price_nano, self.unit_size)


@dataclass(frozen=True, slots=True)
class TierShare:
    """What tiers change for one project, SKU and price version of a month since the invoices before: nano-dollars.

    Below 0 where they take more off than was taken off before, above 0 where corrections undo some of that.
    """

    month: datetime
    project: str
    product: str
    sku: str
    price: str
    price_nano: int
    unit_size: int
    amount_nano: int


@dataclass(frozen=True, slots=True)
class Line:
    """The buckets of one month, project, SKU and price version. month: the UTC month of the usage.

    is_adjustment: of hours before the invoice's, for usage that was counted or corrected after their invoice.
    tier_nano: what tiers change; where another project's usage moved the tiers, a line has nothing else.
    contract, true_up_nano: of a line that bills what was not used of a contract's commitment; it has nothing else.
    """

    is_adjustment: bool
    month: datetime
    project: str
    product: str
    sku: str
    price: str
    price_nano: int
    unit_size: int
    buckets: tuple[Bucket, ...]
    tier_nano: int = 0
    contract: str = ""
    true_up_nano: int = 0

    @property
    def quantity(self) -> int:
        return sum(bucket.after - bucket.before for bucket in self.buckets)

    @property
    def rated_nano(self) -> int:
        """At the first price, which is what caps were settled by."""
        return sum(bucket.amount_nano for bucket in self.buckets)

    @property
    def amount_nano(self) -> int:
        return self.rated_nano + self.tier_nano + self.true_up_nano

    def last_hour(self) -> Bucket:
        """Return an empty bucket of the last hour of the line's month."""
        hour = month_of(self.month).end - timedelta(hours=1)
        return Bucket(
            hour, self.project, self.product, self.sku, self.price, self.price_nano, self.unit_size, before=0, after=0
        )


type _Key = tuple[bool, datetime, str, str, str, str, int, int]


def lines_of(buckets: Iterable[Bucket], period: Period, tiers: Iterable[TierShare] = ()) -> Sequence[Line]:
    """Gather buckets, and what tiers change, into lines: the period's own, then earlier months; by project and SKU.

    Raises ValueError for what is after the period: it belongs to a later invoice.
    """

    def key(at: datetime, of: Bucket | TierShare, begin: datetime) -> _Key:
        if at >= period.end:
            raise ValueError("what comes after the period is for a later invoice")
        of_price = (of.price, of.price_nano, of.unit_size)
        return at < begin, month_of(at).start, of.project, of.product, of.sku, *of_price

    steps: defaultdict[_Key, list[Bucket]] = defaultdict(list)
    for bucket in sorted(buckets, key=lambda bucket: bucket.hour):
        steps[key(bucket.hour, bucket, period.start)].append(bucket)
    changes: defaultdict[_Key, int] = defaultdict(int)
    for share in tiers:
        # Of the whole month, of which the period may be a part.
        changes[key(share.month, share, month_of(period.start).start)] += share.amount_nano
    keys = steps.keys() | {key for key, amount_nano in changes.items() if amount_nano}
    return [Line(*key, tuple(steps.get(key, ())), changes.get(key, 0)) for key in sorted(keys)]
