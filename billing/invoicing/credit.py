"""Who pays for each line: the waterfall. Whole cents, in a stated order, so that anybody can repeat it."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from billing.invoicing.lines import Bucket, Line
from portal.lib.money import NANO_PER_CENT, apportion

_LAST = datetime.max.replace(tzinfo=UTC)
_FIRST = datetime.min.replace(tzinfo=UTC)
_HOUR = timedelta(hours=1)


class Payer(StrEnum):
    """What a part of a line is paid from."""

    SET_OFF = "set_off"  # against lines that take something back
    HOUSE = "house"  # we pay: usage beyond a cap, and cents that only rounding made
    CREDIT = "credit"  # a credit grant
    OWED = "owed"  # the customer, by the invoice


@dataclass(frozen=True, slots=True)
class Credit:
    """A credit grant as an invoice finds it: its balance in nano-dollars, and what it may pay for.

    products, projects (public ids): the only ones, or all for none. Usage from the hour of `effective_at` until
    `expires_at`, each without limit where it is None.
    """

    grant: str
    balance_nano: int
    priority: int = 50
    is_bought: bool = False
    effective_at: datetime | None = None
    expires_at: datetime | None = None
    products: frozenset[str] = frozenset()
    projects: frozenset[str] = frozenset()

    def covers(self, bucket: Bucket) -> bool:
        return (
            (self.effective_at is None or bucket.hour + _HOUR > self.effective_at)
            and (self.expires_at is None or bucket.hour < self.expires_at)
            and (not self.products or bucket.product in self.products)
            and (not self.projects or bucket.project in self.projects)
        )


@dataclass(frozen=True, slots=True)
class Part:
    """Cents of a line and who pays them. grant: public id of the credit grant, else empty."""

    payer: Payer
    grant: str
    cents: int


def burn_order(credits_: Iterable[Credit]) -> list[Credit]:
    """Return grants in the order in which they pay.

    Lower priority number, then earlier end, then given before bought, then earlier begin, then public id.
    """
    return sorted(
        credits_,
        key=lambda one: (one.priority, one.expires_at or _LAST, one.is_bought, one.effective_at or _FIRST, one.grant),
    )


@dataclass(slots=True)
class _Atom:
    """Cents of a line that the same grants may pay, while they are shared out. is_owed: none may, and we do not."""

    line: int
    grants: tuple[str, ...]
    cents: int
    is_owed: bool = False


class _Sharing:
    """The atoms of all lines, and the parts that were taken out of them."""

    def __init__(self, atoms: Sequence[_Atom]) -> None:
        self.atoms = atoms
        self.parts: defaultdict[tuple[int, Payer, str], int] = defaultdict(int)

    def pay(self, payer: Payer, most: int, grant: str = "") -> None:
        """Take at most so many cents, atom by atom; a grant's only where it covers them."""
        for atom in self.atoms:
            if atom.is_owed:
                continue
            taken = 0 if grant and grant not in atom.grants else min(atom.cents, most)
            if not taken:
                continue
            atom.cents -= taken
            most -= taken
            self.parts[atom.line, payer, grant] += taken

    def set_off(self) -> None:
        """Let what is taken back pay for the others."""
        taken_back = 0
        for atom in self.atoms:
            if atom.cents < 0:
                self.parts[atom.line, Payer.SET_OFF, ""] += atom.cents
                taken_back -= atom.cents
                atom.cents = 0
        self.pay(Payer.SET_OFF, taken_back)

    def owe(self) -> None:
        """Let the customer pay what a contract says it owes."""
        for atom in self.atoms:
            if atom.is_owed:
                self.parts[atom.line, Payer.OWED, ""] += atom.cents
                atom.cents = 0

    def of_line(self, index: int) -> list[Part]:
        mine = [(payer, grant, cents) for (line, payer, grant), cents in self.parts.items() if line == index and cents]
        return [Part(*values) for values in mine]


def split(
    lines: Sequence[Line], cents: Sequence[int], credits_: Iterable[Credit], *, overrun_nano: int, may_owe: bool
) -> list[list[Part]]:
    """Return the parts of each line, which sum to its cents.

    1. What lines take back is set off against the others, in their order. 2. `overrun_nano`, what caps had no room
    for, is paid by us. 3. Grants pay in `burn_order`, each what it covers, line by line. 4. The rest is owed where
    terms say so; without terms nobody may owe, and it is ours. What was not used of a commitment is owed before all
    that: it is no usage, so no grant and no cap knows of it. Raises ValueError for a total below zero.
    """
    total = sum(cents)
    if total < 0:
        raise ValueError("an invoice is not for less than nothing")
    order = burn_order(credits_)
    sharing = _Sharing([atom for i, line in enumerate(lines) for atom in _atoms(i, line, cents[i], order)])
    sharing.owe()
    sharing.set_off()
    sharing.pay(Payer.HOUSE, max(overrun_nano, 0) // NANO_PER_CENT)
    for credit in order:
        sharing.pay(Payer.CREDIT, max(credit.balance_nano, 0) // NANO_PER_CENT, credit.grant)
    sharing.pay(Payer.OWED if may_owe else Payer.HOUSE, total)
    return [sharing.of_line(i) for i in range(len(lines))]


def _atoms(index: int, line: Line, cents: int, order: Sequence[Credit]) -> list[_Atom]:
    if line.contract:
        return [_Atom(index, (), cents, is_owed=cents > 0)]
    exact: defaultdict[tuple[str, ...], int] = defaultdict(int)
    for bucket in line.buckets:
        exact[_payers(bucket, order)] += bucket.amount_nano
    # Those that fewer grants may pay come last, so that ties are settled the same way whatever came first.
    keys = sorted(exact, key=lambda grants: (-len(grants), grants))
    weights = [max(exact[key], 0) for key in keys]
    if line.tier_nano and not any(weights):
        # Nothing was charged that tiers could change: they change what the end of the month costs.
        last = _payers(line.last_hour(), order)
        keys = keys if last in exact else [*keys, last]
        weights = [int(key == last) for key in keys]
    if line.tier_nano:
        for key, change_nano in zip(keys, apportion(line.tier_nano, weights), strict=True):
            exact[key] += change_nano
    shared = share(cents, [exact[key] for key in keys])
    return [_Atom(index, key, part) for key, part in zip(keys, shared, strict=True)]


def _payers(bucket: Bucket, order: Sequence[Credit]) -> tuple[str, ...]:
    return tuple(credit.grant for credit in order if credit.covers(bucket))


def share(cents: int, amounts_nano: Sequence[int]) -> list[int]:
    """Spread whole cents over exact amounts whose sum is within a cent of them, by largest remainder."""
    parts = [amount // NANO_PER_CENT for amount in amounts_nano]
    missing = cents - sum(parts)
    by_remainder = sorted(range(len(parts)), key=lambda i: (-(amounts_nano[i] % NANO_PER_CENT), i))
    for i in by_remainder[:missing]:
        parts[i] += 1
    return parts
