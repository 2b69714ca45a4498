"""The words in which every app says how long its tables are kept, and what of them people may take along.

Pure data: `portal.retention` collects the tables, deletes what is past its time and writes docs/retention.md.
SQL in here calls the row `t`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

MONTHS_A_YEAR = 12


@dataclass(frozen=True, slots=True)
class Age:
    """How old a row may become: whole calendar months and days."""

    months: int = 0
    days: int = 0

    def __str__(self) -> str:
        parts = [(self.months, "month"), (self.days, "day")]
        return " and ".join(f"{count} {word}{'s' if count > 1 else ''}" for count, word in parts if count)

    def before(self, now: datetime) -> datetime:
        """Return the instant that a row of this age is from; the last of a shorter month stands for its missing days.

        PostgreSQL's `now() - interval` agrees, which the owner's functions compute with.
        """
        years, month = divmod(now.year * MONTHS_A_YEAR + now.month - 1 - self.months, MONTHS_A_YEAR)
        first_of_next = datetime(
            years + (month + 1) // MONTHS_A_YEAR, (month + 1) % MONTHS_A_YEAR + 1, 1, tzinfo=now.tzinfo
        )
        last_day = (first_of_next - timedelta(days=1)).day
        return now.replace(year=years, month=month + 1, day=min(now.day, last_day)) - timedelta(days=self.days)


class Whose(Enum):
    ORGANIZATION = "an organization"
    PERSON = "a person"
    PORTAL = "the portal"


@dataclass(frozen=True, slots=True)
class Deleted:
    """Rows go by themselves once `counted_from` is as long ago as `after` says.

    held: SQL of the rows that a legal hold keeps. unless, unless_words: SQL and words of those that are still needed;
    `%(before)s` is the instant that they are too old by. through: the owner's function that deletes where no role of
    the portal may; its condition is fixed in a migration, so that the table stays append-only for all of them.
    """

    after: Age
    counted_from: str
    held: str = "false"
    unless: str = "false"
    unless_words: str = ""
    through: str = ""

    def __str__(self) -> str:
        spared = f", unless {self.unless_words}" if self.unless_words else ""
        return f"{self.after} from `{self.counted_from}`{spared}"


@dataclass(frozen=True, slots=True)
class Kept:
    """Rows stay as long as something else does. until: what, or `forever`."""

    until: str

    def __str__(self) -> str:
        return self.until if self.until == "forever" else f"as long as {self.until}"


@dataclass(frozen=True, slots=True)
class AfterClosing:
    """What of an organization that was closed goes before its time: rows, or what is in a few columns of text.

    after: counted from the closing. clears: columns that are emptied, while the row stays; empty: the rows go.
    """

    after: Age
    clears: tuple[str, ...] = ()

    def __str__(self) -> str:
        what = f"{' and '.join(f'`{column}`' for column in self.clears)} " if self.clears else ""
        return f"; {what}no longer than {self.after} after the organization closed"


@dataclass(frozen=True, slots=True)
class Personal:
    """A column that may say who somebody is. kept: why erasing the person leaves it; empty where erasing takes it."""

    column: str
    kept: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A table in an export.

    where: SQL of the rows, by `%(organization)s` or by `%(user)s` and `%(public_id)s`; without it, all rows of the
    organization. key: columns that rows are read in the order of. hidden: columns that never leave; `id` and
    `organization_id` are in none. shown: column -> SQL that says the same outwardly, under the column's name without
    `_id`. only: SQL that some of those rows fulfill, and no others leave.
    """

    name: str
    where: str = ""
    key: tuple[str, ...] = ("id",)
    hidden: tuple[str, ...] = ()
    shown: Mapping[str, str] = field(default_factory=dict)
    only: str = "true"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A table that no export has, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the database.

    of_organization, of_person: how it is exported to whom it belongs or is about. after_closing: what goes although
    `rule` would keep it, once the organization is closed.
    """

    name: str
    holds: str
    whose: Whose
    rule: Deleted | Kept
    why: str
    personal: tuple[Personal, ...] = ()
    of_organization: Part | LeftOut | None = None
    of_person: Part | LeftOut | None = None
    after_closing: AfterClosing | None = None

    @property
    def kept(self) -> str:
        """How long rows stay, in words."""
        return f"{self.rule}{self.after_closing or ''}"


def name_of(table: str, column: str, name: str = "public_id") -> str:
    """Return the SQL of what another table calls the row that `column` refers to."""
    return f"(SELECT r.{name} FROM {table} AS r WHERE r.id = t.{column})"  # noqa: S608  # names from our own code
