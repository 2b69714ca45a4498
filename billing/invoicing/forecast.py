"""What a month comes to at the pace so far. The law: docs/algorithms/caps.md."""

from datetime import datetime, timedelta

from portal.lib.periods import Period

# A pace says little before so many percent of the month are over.
FORECAST_FROM = 10
SECOND = timedelta(seconds=1)


def at_this_rate(spent_nano: int, month: Period, now: datetime) -> int | None:
    """Return what a month that has cost `spent_nano` so far will have cost by its end, in nano-dollars, rounded down.

    None while it is too early to say, and where nothing was spent.
    """
    gone, whole = now - month.start, month.end - month.start
    if gone * 100 < whole * FORECAST_FROM or spent_nano <= 0:
        return None
    return spent_nano * (whole // SECOND) // (gone // SECOND)
