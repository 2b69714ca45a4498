"""What docs/algorithms/caps.md says of caps, reckoned in plain Python: the books that test_caps_machine.py compares."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count, groupby
from uuid import UUID

from portal.lib.periods import calendar_period, hour_of

# What a cap is over: a scope, and the project or key; and the place of the credit among the rows.
type Over = tuple[str, int | None]
ORGANIZATION: Over = ("organization", None)
CREDIT = 0


class Refused(Exception):
    """Something is refused, and has changed nothing. room: what could have been held instead, in nano-dollars."""

    def __init__(self, room: int | None = None) -> None:
        super().__init__(room)
        self.room = room


@dataclass(frozen=True, slots=True)
class Work:
    """Who works: a project, by one of its keys or by none."""

    project: int
    key: int | None = None

    @property
    def limited_by(self) -> set[Over]:
        return {ORGANIZATION, ("project", self.project), ("key", self.key)}


@dataclass(frozen=True, slots=True)
class Event:
    """Usage, in nano-dollars: below 0 for a correction."""

    event_id: UUID
    at: datetime
    work: Work
    amount: int


@dataclass(frozen=True, slots=True)
class Cap:
    """A row of a cap, for one period of it; amounts in nano-dollars."""

    series: int  # the same for all periods of one cap
    over: Over
    period: str
    start: datetime | None
    end: datetime | None
    stops: bool
    limit: int
    settled: int = 0
    reserved: int = 0
    is_current: bool = True

    @property
    def room(self) -> int:
        return self.limit - self.settled - self.reserved

    def covers(self, instant: datetime) -> bool:
        return self.start is None or self.end is None or self.start <= instant < self.end


@dataclass(frozen=True, slots=True)
class Hold:
    """A reservation and the places of the caps that hold it, the credit first."""

    holder: str
    work: Work
    amount: int
    caps: tuple[int, ...]
    expires_at: datetime
    is_held: bool = True


def _bounds(period: str, now: datetime) -> tuple[datetime | None, datetime | None]:
    if period == "lifetime":
        return None, None
    span = calendar_period(period, now)
    return span.start, span.end


class Reckoning:
    """An organization's caps and holds, in the order in which they were made, and what it has used."""

    def __init__(self, credit_nano: int) -> None:
        self.caps = [Cap(0, ORGANIZATION, "lifetime", None, None, True, credit_nano)]
        self.holds: list[Hold] = []
        self.events: dict[UUID, Event] = {}
        self.written_off = 0
        self.removed: set[int] = set()  # series
        self._series = count(1)

    # --- Caps ---------------------------------------------------------------------------------------

    def find(self, over: Over, period: str) -> int | None:
        """Return the place of the last row of a cap that somebody has set."""
        rows = enumerate(self.caps)
        return next((at for at, cap in rows if cap.is_current and (cap.over, cap.period) == (over, period)), None)

    def used(self, over: Over, period: str, now: datetime) -> int:
        """Return what a limit that stops may not be below: settled and reserved, or what the period has cost."""
        at = self.find(over, period)
        if at is None:
            return self.spent(over, period, now)
        cap = self.caps[at]
        return cap.settled + cap.reserved if cap.covers(now) else 0

    def spent(self, over: Over, period: str, now: datetime) -> int:
        span = None if period == "lifetime" else calendar_period(period, now)
        mine = (event for event in self.events.values() if over in event.work.limited_by)
        return max(sum(event.amount for event in mine if span is None or span.contains(event.at)), 0)

    def set_cap(self, over: Over, period: str, limit: int, *, stops: bool, now: datetime) -> None:
        if (over, period) == (ORGANIZATION, "lifetime") or (stops and limit < self.used(over, period, now)):
            raise Refused
        at = self.find(over, period)
        if at is None:
            start, end = _bounds(period, now)
            spent = self.spent(over, period, now)
            self.caps.append(Cap(next(self._series), over, period, start, end, stops, limit, spent))
        else:
            self._change(self._running(at, now), limit=limit, stops=stops)

    def remove_cap(self, at: int) -> None:
        self.removed.add(self.caps[at].series)
        self._change(at, is_current=False)

    def add_credit(self, amount: int) -> None:
        self._change(CREDIT, limit=self.caps[CREDIT].limit + amount)

    def over(self, works: Collection[Work], now: datetime) -> list[int]:
        """Return the places of the caps beside the credit over any of the work, each in its running period."""
        limited_by = set().union(*(work.limited_by for work in works))
        mine = [at for at, cap in enumerate(self.caps) if at != CREDIT and cap.is_current and cap.over in limited_by]
        return [self._running(at, now) for at in mine]

    def least_room(self, work: Work, now: datetime) -> int:
        """Return what the tightest cap that stops this work has left."""
        caps = [cap for cap in self.caps if cap.is_current and cap.stops and cap.over in work.limited_by]
        return min(cap.room if cap.covers(now) else cap.limit for cap in caps)

    def _running(self, at: int, now: datetime) -> int:
        cap = self.caps[at]
        if cap.covers(now):
            return at
        start, end = _bounds(cap.period, now)
        self._change(at, is_current=False)
        self.caps.append(replace(cap, start=start, end=end, settled=0, reserved=0))
        return len(self.caps) - 1

    def _change(self, at: int, **values: object) -> None:
        self.caps[at] = replace(self.caps[at], **values)  # type: ignore[arg-type]

    def _move(self, places: Collection[int], *, settled: int = 0, reserved: int = 0) -> None:
        for at in places:
            cap = self.caps[at]
            self._change(at, settled=cap.settled + settled, reserved=cap.reserved + reserved)

    # --- Holds --------------------------------------------------------------------------------------

    def reserve(self, work: Work, holder: str, amount: int, now: datetime, expires_at: datetime) -> int:
        with self._all_or_nothing():
            held = (at for at, hold in enumerate(self.holds) if hold.is_held and hold.holder == holder)
            if (at := next(held, None)) is not None:
                if self.holds[at].expires_at > now:
                    return at
                self.end(at)
            caps = (CREDIT, *self.over([work], now))
            self._refuse(dict.fromkeys(caps, amount), amount)
            self._move(caps, reserved=amount)
            self.holds.append(Hold(holder, work, amount, caps, expires_at))
            return len(self.holds) - 1

    def extend(self, at: int, more: int, now: datetime, expires_at: datetime) -> None:
        with self._all_or_nothing():
            hold = self.holds[at]
            if not hold.is_held:
                raise Refused
            caps = (CREDIT, *self.over([hold.work], now))
            whole = hold.amount + more
            self._refuse({cap: more if cap in hold.caps else whole for cap in caps}, more)
            self._move(hold.caps, reserved=-hold.amount)
            self._move(caps, reserved=whole)
            until = max(hold.expires_at, expires_at)
            self.holds[at] = replace(hold, amount=whole, caps=caps, expires_at=until)

    def end(self, at: int) -> int:
        """Give back what is still held, and return it."""
        hold = self.holds[at]
        self._move(hold.caps, reserved=-hold.amount)
        self.holds[at] = replace(hold, amount=0, is_held=False)
        return hold.amount

    def expire(self, now: datetime) -> int:
        overdue = [at for at, hold in enumerate(self.holds) if hold.is_held and hold.expires_at <= now]
        for at in overdue:
            self.end(at)
        return len(overdue)

    def _refuse(self, needs: dict[int, int], amount: int) -> None:
        room = min(self.caps[at].room - need + amount for at, need in needs.items() if self.caps[at].stops)
        if room < amount:
            raise Refused(max(room, 0))

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        before = self.caps[:], self.holds[:]
        try:
            yield
        except Refused:
            self.caps, self.holds = before
            raise

    # --- Usage --------------------------------------------------------------------------------------

    def use(self, events: Sequence[Event], hold: int | None, now: datetime) -> tuple[int, int, int]:
        """Settle what is new of the events; return how many those were, what was charged and what written off."""
        new = {event.event_id: event for event in events if event.event_id not in self.events}
        self.events |= new
        charged = written_off = 0
        for caps, amount in self._parts(list(new.values()), now):
            part = self._charge(caps, amount, hold) if amount > 0 else self._give_back(caps, -amount)
            charged += part
            written_off += amount - part
        self.written_off += written_off
        return len(new), charged, written_off

    def _parts(self, events: Sequence[Event], now: datetime) -> Iterator[tuple[tuple[int, ...], int]]:
        """Yield the caps beside the credit and what is settled in them, corrections first."""
        changes: Counter[tuple[Work, datetime]] = Counter()
        for event in events:
            changes[event.work, hour_of(event.at)] += event.amount
        moved = [(work, hour, amount) for (work, hour), amount in changes.items() if amount]
        running = self.over([work for work, _hour, _amount in moved], now) if moved else []
        parts = []
        for work, hour, amount in moved:
            caps = running if amount > 0 else [at for at in range(1, len(self.caps)) if self.caps[at].covers(hour)]
            mine = tuple(at for at in caps if self.caps[at].over in work.limited_by)
            parts.append((amount > 0, mine, amount))
        for (_is_charge, caps_of_part), same in groupby(sorted(parts), key=lambda part: part[:2]):
            yield caps_of_part, sum(amount for _, _, amount in same)

    def _charge(self, caps: tuple[int, ...], amount: int, at: int | None) -> int:
        over = (CREDIT, *caps)
        room = min(self.caps[cap].room for cap in over if self.caps[cap].stops)
        hold = None if at is None else self.holds[at]
        from_hold = min(amount, hold.amount) if hold else 0
        if hold and at is not None:
            self.holds[at] = replace(hold, amount=hold.amount - from_hold)
            self._move(hold.caps, settled=from_hold, reserved=-from_hold)
        from_room = min(amount - from_hold, room)
        self._move(over, settled=from_room)
        return from_hold + from_room

    def _give_back(self, caps: tuple[int, ...], amount: int) -> int:
        given = min(amount, self.caps[CREDIT].settled)
        self._move([CREDIT], settled=-given)
        for at in caps:
            self._move([at], settled=-min(given, self.caps[at].settled))
        return -given
