"""Buckets of usage -> lines of an invoice, with exact amounts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

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
class Line:
    """The buckets of one month, project, SKU and price version. month: the UTC month of the usage.

    is_adjustment: of an earlier month than the invoice's, for usage that was counted or corrected after its invoice.
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

    @property
    def quantity(self) -> int:
        return sum(bucket.after - bucket.before for bucket in self.buckets)

    @property
    def amount_nano(self) -> int:
        return sum(bucket.amount_nano for bucket in self.buckets)


type _Key = tuple[bool, datetime, str, str, str, str, int, int]


def lines_of(buckets: Iterable[Bucket], period: Period) -> Sequence[Line]:
    """Gather buckets into lines: the period's own, then those of earlier months; by project and SKU.

    Raises ValueError for a bucket that begins after the period: it belongs to a later invoice.
    """

    def key(bucket: Bucket) -> _Key:
        month = month_of(bucket.hour).start
        early = bucket.hour < period.start
        of_price = (bucket.price, bucket.price_nano, bucket.unit_size)
        return early, month, bucket.project, bucket.product, bucket.sku, *of_price

    found = sorted(buckets, key=lambda bucket: (key(bucket), bucket.hour))
    if any(bucket.hour >= period.end for bucket in found):
        raise ValueError("a bucket after the period is for a later invoice")
    return [Line(*values, tuple(mine)) for values, mine in groupby(found, key=key)]
