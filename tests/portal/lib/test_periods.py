"""Spans of time are half-open and in UTC."""

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.lib.periods import Period, day_of, hour_of, month_of

instants = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # hypothesis wants naive bounds


def test_refuses_bounds_outside_utc():
    with pytest.raises(ValueError, match="UTC"):
        Period(datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1))), datetime(2026, 1, 2, tzinfo=UTC))


def test_refuses_an_end_before_its_start():
    with pytest.raises(ValueError, match="end before"):
        Period(datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))


@given(instants, st.timedeltas(timedelta(0), timedelta(days=2)))
def test_splits_at_hours_without_gap_or_overlap(start, length):
    period = Period(start, start + length)

    parts = list(period.split_at_hours())

    assert sum((part.end - part.start for part in parts), timedelta()) == length
    assert all(left.end == right.start for left, right in pairwise(parts))
    assert all(hour_of(part.start) == hour_of(part.end - timedelta(microseconds=1)) for part in parts)


@given(instants, st.integers(0, 60))
def test_weeks_and_days_cover_a_period_once(instant, count):
    start = day_of(instant)

    weeks, days = Period(start, start + timedelta(count)).weeks_and_days()

    covered = days + [week + timedelta(day) for week in weeks for day in range(7)]
    assert sorted(covered) == [start + timedelta(day) for day in range(count)]
    assert all(week.weekday() == 0 for week in weeks)
    assert len(days) <= 12


@given(instants)
def test_a_month_holds_its_instants_and_touches_its_neighbors(instant):
    month = month_of(instant)

    assert month.contains(instant)
    assert month.start.day == month.end.day == 1
    assert month_of(month.end).start == month.end
    assert month.start <= day_of(instant) <= hour_of(instant) <= instant
