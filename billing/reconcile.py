"""Hold two sides against each other and say where they differ. Rules: docs/algorithms/agreement.md."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from portal.lib.money import decimal_string


@dataclass(frozen=True, slots=True)
class Thing:
    """What is compared. name: unique in its job and day. organization: public id, empty where it is nobody's."""

    name: str
    organization: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """A thing of which our books and their source say different things, in words.

    amount_nano: how much money that is, without a sign; 0 where it is no money.
    """

    thing: Thing
    ours: str
    theirs: str
    amount_nano: int = 0


@dataclass(frozen=True, slots=True)
class Findings:
    """What a job came to: how many things it compared, and those that differ."""

    checked_count: int
    differences: tuple[Found, ...] = ()

    @property
    def amount_nano(self) -> int:
        return sum(found.amount_nano for found in self.differences)

    def __add__(self, other: "Findings") -> "Findings":
        return Findings(self.checked_count + other.checked_count, self.differences + other.differences)


NOTHING = Findings(0)
ABSENT = "nothing"


def compare_amounts(ours: Mapping[Thing, int], theirs: Mapping[Thing, int]) -> Findings:
    """Compare amounts in nano-dollars thing by thing. What one side does not have differs, also from zero."""
    things = sorted(ours.keys() | theirs.keys(), key=lambda thing: (thing.organization, thing.name))
    differing = [
        Found(
            thing,
            ours=_usd(ours.get(thing)),
            theirs=_usd(theirs.get(thing)),
            amount_nano=abs(ours.get(thing, 0) - theirs.get(thing, 0)),
        )
        for thing in things
        if ours.get(thing) != theirs.get(thing)
    ]
    return Findings(len(things), tuple(differing))


def leave_out(findings: Findings, organizations: Iterable[str]) -> Findings:
    """Return the findings without those about organizations whose source is known to be wrong already.

    So that one mistake has one name.
    """
    known = set(organizations)
    kept = tuple(found for found in findings.differences if found.thing.organization not in known)
    return Findings(findings.checked_count, kept)


def _usd(amount_nano: int | None) -> str:
    return ABSENT if amount_nano is None else f"{decimal_string(amount_nano)} USD"
