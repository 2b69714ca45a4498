"""What an organization's money is by the rules of docs/algorithms, reckoned in plain Python for test_whole_machine.py.

Caps and holds are reckoned by caps_reckoning.py; here are grants, invoices and the accounts of the ledger.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from portal.lib.money import NANO_PER_CENT, divide_half_even
from portal.lib.periods import month_of

LAST = datetime.max.replace(tzinfo=UTC)
# Hour, project (primary key), SKU.
type Where = tuple[datetime, int, str]


@dataclass(frozen=True, slots=True)
class Rate:
    price_nano: int
    unit_size: int

    def of(self, quantity: int) -> int:
        return divide_half_even(quantity * self.price_nano, self.unit_size)


@dataclass(slots=True)
class Grant:
    """Credit that was given, and where it went; nano-dollars."""

    pk: int
    name: str
    amount: int
    priority: int
    ends: datetime | None
    is_bought: bool
    burned: int = 0
    ended: int = 0
    refunded: int = 0
    lost: int = 0
    frozen: int = 0

    @property
    def left(self) -> int:
        return self.amount - self.burned - self.ended - self.refunded - self.lost

    @property
    def cents(self) -> int:
        """What it can pay, in whole cents."""
        return max(self.left - self.frozen, 0) // NANO_PER_CENT

    def covers(self, hour: datetime) -> bool:
        return self.ends is None or hour < self.ends


@dataclass(slots=True)
class Bill:
    """An invoice: what it billed and who paid, in cents but for `exact`. burned: by name of the grant."""

    pk: int
    end: datetime
    steps: Mapping[Where, int]  # quantities
    burned: Mapping[str, int]
    total: int
    owed: int
    tax: int
    house: int
    overrun: int  # nano-dollars
    status: str
    noted: set[int] = field(default_factory=set)  # positions
    noted_owed: int = 0
    noted_tax: int = 0

    @property
    def is_live(self) -> bool:
        return self.status != "void"

    @property
    def due(self) -> int:
        return self.owed + self.tax - self.noted_owed - self.noted_tax


@dataclass(frozen=True, slots=True)
class Shares:
    """Who pays for usage, in nano-dollars, before it is rounded to cents; off by a cent at most for each part."""

    grants: Mapping[str, int]
    house: int
    owed: int
    part_count: int

    @property
    def tolerance(self) -> int:
        return (self.part_count + 1) * NANO_PER_CENT


@dataclass
class Money:
    """What was used and billed, the grants, and what stands in every kind of account."""

    rates: Mapping[str, Rate]
    may_owe: bool
    # Projects by primary key, in the order of invoices, and the product of each SKU.
    order_of: Mapping[int, str]
    product_of: Mapping[str, str]
    used: Counter[Where] = field(default_factory=Counter)
    billed: Counter[Where] = field(default_factory=Counter)
    grants: dict[str, Grant] = field(default_factory=dict)
    bills: list[Bill] = field(default_factory=list)
    accounts: Counter[str] = field(default_factory=Counter)

    def move(self, debit: str, credit: str, cents: int) -> None:
        """Post: accounts grow by what is debited, and are below zero where credits are more."""
        self.accounts[debit] += cents * NANO_PER_CENT
        self.accounts[credit] -= cents * NANO_PER_CENT

    @property
    def rated(self) -> int:
        return sum(self.rates[where[2]].of(quantity) for where, quantity in self.used.items())

    def steps(self, before: datetime) -> dict[Where, int]:
        """Return the quantities of hours before an instant that no invoice has billed."""
        return {
            where: quantity - self.billed[where]
            for where, quantity in self.used.items()
            if where[0] < before and quantity != self.billed[where]
        }

    def amount(self, where: Where, step: int) -> int:
        """Return what a step costs: the difference of two roundings, so that the steps of a bucket add up to it."""
        rate, before = self.rates[where[2]], self.billed[where]
        return rate.of(before + step) - rate.of(before)

    def overrun(self, written_off: int) -> int:
        """Return what no cap had room for and no invoice has taken as ours."""
        taken = sum(min(bill.house, bill.overrun // NANO_PER_CENT) for bill in self.bills if bill.is_live)
        return max(written_off - taken * NANO_PER_CENT, 0)

    @property
    def billed_until(self) -> datetime | None:
        return max((bill.end for bill in self.bills if bill.is_live), default=None)

    def shares(self, steps: Mapping[Where, int], start: datetime, written_off: int) -> Shares | None:
        """Let us, grants and the organization pay for usage, line by line; None where less than nothing is charged.

        start: of the invoice's period; what is before it are adjustments, which come after the month's own.
        """
        parts = self._parts(steps, start)
        if sum(amount for amount, _grants in parts) < 0 or not steps:
            return None
        left = [amount for amount, _grants in parts]

        def pay(most: int, grant: str = "") -> int:
            paid = 0
            for at, (_amount, grants) in enumerate(parts):
                if not grant or grant in grants:
                    taken = max(min(left[at], most - paid), 0)
                    left[at] -= taken
                    paid += taken
            return paid

        taken_back = -sum(amount for amount in left if amount < 0)
        left = [max(amount, 0) for amount in left]
        pay(taken_back)
        house = pay(self.overrun(written_off) // NANO_PER_CENT * NANO_PER_CENT)
        burned = {grant.name: pay(grant.cents * NANO_PER_CENT, grant.name) for grant in self.order()}
        rest = sum(left)
        return Shares(burned, house + (0 if self.may_owe else rest), rest if self.may_owe else 0, len(parts))

    def order(self) -> Sequence[Grant]:
        """Return grants with something left in the order in which they pay."""
        paying = [grant for grant in self.grants.values() if grant.cents]
        return sorted(paying, key=lambda one: (one.priority, one.ends or LAST, one.is_bought, one.name))

    def _parts(self, steps: Mapping[Where, int], start: datetime) -> list[tuple[int, tuple[str, ...]]]:
        """Return amounts and which grants may pay them, in the order of an invoice's lines."""
        order = self.order()
        lines: defaultdict[tuple[bool, datetime, str, str, str], Counter[tuple[str, ...]]] = defaultdict(Counter)
        for where, step in steps.items():
            hour, project, sku = where
            payers = tuple(grant.name for grant in order if grant.covers(hour))
            line = hour < start, month_of(hour).start, self.order_of[project], self.product_of[sku], sku
            lines[line][payers] += self.amount(where, step)
        return [
            (amounts[payers], payers)
            for _line, amounts in sorted(lines.items(), key=lambda item: item[0])
            for payers in sorted(amounts, key=lambda payers: (-len(payers), payers))
        ]

    def needed(self, grant: Grant, now: datetime, written_off: int) -> tuple[int, int]:
        """Return what unbilled usage will take of a grant, in nano-dollars, and by how much that may be off."""
        month = month_of(now)
        shares = self.shares(self.steps(month.end), month.start, written_off)
        return (0, 0) if shares is None else (shares.grants.get(grant.name, 0), shares.tolerance)

    def issue(self, bill: Bill) -> None:
        self.bills.append(bill)
        self._book(bill, 1)

    def void(self, bill: Bill) -> None:
        bill.status = "void"
        self._book(bill, -1)

    def _book(self, bill: Bill, sign: int) -> None:
        for where, step in bill.steps.items():
            self.billed[where] += sign * step
        for name, cents in bill.burned.items():
            self.grants[name].burned += sign * cents * NANO_PER_CENT
        self.move("credit", "revenue", sign * sum(bill.burned.values()))
        self.move("receivable", "revenue", sign * bill.owed)
        self.move("write_off", "revenue", sign * bill.house)
        self.move("receivable", "tax", sign * bill.tax)

    def give(self, grant: Grant) -> None:
        self.grants[grant.name] = grant
        source = "cash_in_transit" if grant.is_bought else "promotions"
        self.move(source, "credit", grant.amount // NANO_PER_CENT)

    def wrong_burns(self, bill: Bill, expected: Shares) -> Iterable[str]:
        """Name whoever pays otherwise than expected."""
        for name in self.grants:
            if abs(bill.burned.get(name, 0) * NANO_PER_CENT - expected.grants.get(name, 0)) > expected.tolerance:
                yield name
        if abs(bill.house * NANO_PER_CENT - expected.house) > expected.tolerance:
            yield "house"
        if abs(bill.owed * NANO_PER_CENT - expected.owed) > expected.tolerance:
            yield "owed"
