"""Half-open spans of time."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True, slots=True)
class Period:
    """A half-open span [start, end), both aware and in UTC. Raises ValueError for any other bounds."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.utcoffset() != timedelta(0) or self.end.utcoffset() != timedelta(0):
            raise ValueError("a period needs bounds in UTC")
        if self.start > self.end:
            raise ValueError("a period cannot end before it starts")

    @property
    def seconds(self) -> int:
        """Whole seconds in the period, rounded down."""
        return (self.end - self.start) // timedelta(seconds=1)

    def contains(self, instant: datetime) -> bool:
        return self.start <= instant < self.end

    def days(self) -> Iterator[datetime]:
        """Yield where each UTC day of the period begins. Only for periods of whole UTC days."""
        day = self.start
        while day < self.end:
            yield day
            day += timedelta(1)

    def weeks_and_days(self) -> tuple[list[datetime], list[datetime]]:
        """Return where the whole UTC weeks (from Monday) of the period begin, and where its other days do.

        Only for periods of whole UTC days.
        """
        days = list(self.days())
        first = next((i for i, day in enumerate(days) if day.weekday() == 0), len(days))
        weeks = days[first : max(first, len(days) - 6) : 7]
        return weeks, days[:first] + days[first + 7 * len(weeks) :]

    def split_at_hours(self) -> Iterator["Period"]:
        """Yield the parts of the period that lie in one UTC hour each, in order; nothing for an empty period."""
        start = self.start
        while start < self.end:
            end = min(hour_of(start) + timedelta(hours=1), self.end)
            yield Period(start, end)
            start = end


def hour_of(instant: datetime) -> datetime:
    """Return the start of the UTC hour that holds `instant`."""
    return instant.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def day_of(instant: datetime) -> datetime:
    """Return the start of the UTC day that holds `instant`."""
    return hour_of(instant).replace(hour=0)


def month_of(instant: datetime) -> Period:
    """Return the UTC calendar month that holds `instant`."""
    start = day_of(instant).replace(day=1)
    end = (start + timedelta(days=32)).replace(day=1)
    return Period(start, end)


def week_of(instant: datetime) -> Period:
    """Return the UTC week, from Monday on, that holds `instant`."""
    day = day_of(instant)
    start = day - timedelta(days=day.weekday())
    return Period(start, start + timedelta(days=7))


def calendar_period(unit: str, instant: datetime) -> Period:
    """Return the UTC day, week or month that holds `instant`. Raises ValueError for any other unit."""
    match unit:
        case "day":
            return Period(day_of(instant), day_of(instant) + timedelta(days=1))
        case "week":
            return week_of(instant)
        case "month":
            return month_of(instant)
    raise ValueError(f"{unit} is no day, week or month")
