"""Time, work, usage, caps and credit: the first rules of test_whole_machine.py."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID, uuid5

from django.db import transaction
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
)

from accounts.models import Organization
from billing.models import (
    CreditGrant,
    Reservation,
    SpendCap,
)
from billing.services.caps import CapTarget, UnableToSetCap, remove_cap, set_cap
from billing.services.credit_expiry import expire_grant
from billing.services.credits import Award, award_credit
from billing.services.limits import Payer
from billing.services.reservations import (
    BudgetExceeded,
    ReservationEnded,
    expire_reservations,
    extend,
    release,
    reserve,
)
from billing.services.usage import UsageRecord, record_usage
from portal.lib.money import NANO_PER_CENT
from portal.lib.periods import calendar_period, hour_of
from tests.billing.caps_reckoning import CREDIT, ORGANIZATION, Event, Over, Reckoning, Refused, Work
from tests.billing.whole_reckoning import Grant, Money
from tests.billing.whole_scene import CAPS, HOLDS, OLDEST, PAUSES, PERCENT, PICK, RATES, SKUS, USES, Back, Paid, Scene
from tests.factories.billing import make_record


class Working(RuleBasedStateMachine):
    """What was reckoned so far stands in `caps` and `money`."""

    scene: Scene
    organization: Organization
    now: datetime
    workers: list[Work]
    targets: list[tuple[Over, CapTarget]]
    caps: Reckoning
    money: Money
    holds: list[int]  # primary keys, in the order of `caps.holds`
    sent: dict[UUID, UsageRecord]
    paid: list[Paid]
    backs: list[Back]
    # All that was told, in its order: usage, and what repeats a message of the provider.
    told: list[UsageRecord | Callable[[], object]]
    heard: set[object]  # what the provider has said
    serial = 0

    def number(self) -> int:
        self.serial += 1
        return self.serial

    def either(self, refusals, do, *, may: bool | None):
        """Do something, which is refused unless it may be done; None where that is not known exactly."""
        try:
            with transaction.atomic():
                done = do()
        except refusals:
            assert not may
            return None
        assert may is not False
        return done

    # --- Time ---------------------------------------------------------------------------------------

    def wait(self, pause):
        if isinstance(pause, int):
            self.now += timedelta(seconds=pause)
        else:
            period, seconds = pause
            self.now = max(calendar_period(period, self.now).end + timedelta(seconds=seconds), self.now)
        if pause:
            self.end_credit()

    def end_credit(self):
        """What is past its end ends: what no usage before needs and no work holds."""
        for grant in list(self.money.grants.values()):
            if grant.ends is None or grant.ends > self.now or not grant.cents:
                continue
            free, tolerance = self.unspent(grant)
            row = CreditGrant.objects.select_related("organization").get(pk=grant.pk)
            ended = expire_grant(grant=row, now=self.now)
            assert ended % NANO_PER_CENT == 0
            assert abs(ended - max(free, 0)) <= tolerance
            grant.ended += ended
            self.caps.add_credit(-ended)
            self.money.move("credit", "ended" if grant.is_bought else "promotions", ended // NANO_PER_CENT)

    def unspent(self, grant: Grant) -> tuple[int, int]:
        """Return what can be taken of a grant, and by how many nano-dollars that may be off."""
        needed, tolerance = self.money.needed(grant, self.now, self.caps.written_off)
        return min(grant.left - grant.frozen - needed, self.caps.caps[CREDIT].room), tolerance + NANO_PER_CENT

    # --- Work ---------------------------------------------------------------------------------------

    @rule(hold=HOLDS, again=st.sampled_from([None, None, 0, 1]), pause=PAUSES)
    def reserve(self, hold, again, pause):
        """again: a holder that may hold already, or whose hold is overdue."""
        self.wait(pause)
        self.hold(hold, again)

    def hold(self, hold, again):
        who, percent, seconds = hold
        work = self.workers[who]
        holder = f"inst_{len(self.holds) if again is None else again % (len(self.holds) + 1)}"
        amount = max(self.caps.least_room(work, self.now) * percent // 100, 1)
        until = self.now + timedelta(seconds=seconds)
        payer = Payer(self.organization.pk, work.project, work.key)
        purpose = Reservation.Purpose.INSTANCE_LEASE
        at = self.reckoned(lambda: self.caps.reserve(work, holder, amount, self.now, until))
        held = self.either(
            BudgetExceeded,
            lambda: (
                reserve(
                    payer=payer, purpose=purpose, holder=holder, amount_nano=amount, now=self.now, expires_at=until
                ).pk
            ),
            may=at is not None,
        )
        if at is not None:
            self.holds += [held] if at == len(self.holds) else []
            assert self.holds[at] == held

    @staticmethod
    def reckoned[T](reckon: Callable[[], T]) -> T | None:
        try:
            return reckon()
        except Refused:
            return None

    @staticmethod
    def is_allowed(reckon: Callable[[], object]) -> bool:
        try:
            reckon()
        except Refused:
            return False
        return True

    def hold_of(self, pick):
        """Return the place of a hold: one that is held, or that ended last."""
        places = range(len(self.holds))
        held = [at for at in places if self.caps.holds[at].is_held]
        ended = [at for at in places if not self.caps.holds[at].is_held][-1:]
        return (held + ended)[pick % len(held + ended)] if places else None

    @precondition(lambda self: self.holds)
    @rule(pick=PICK, percent=st.just(0) | PERCENT, pause=PAUSES)
    def extend(self, pick, percent, pause):
        self.wait(pause)
        at = self.hold_of(pick)
        more = self.caps.least_room(self.caps.holds[at].work, self.now) * percent // 100
        until = self.now + timedelta(seconds=600)
        self.either(
            (BudgetExceeded, ReservationEnded),
            lambda: extend(reservation_id=self.holds[at], additional_nano=more, now=self.now, expires_at=until),
            may=self.is_allowed(lambda: self.caps.extend(at, more, self.now, until)),
        )

    @rule(pick=st.none() | PICK, pause=PAUSES)
    def give_back(self, pick, pause):
        """Release a hold, twice, or sweep up all that are overdue."""
        self.wait(pause)
        at = None if pick is None else self.hold_of(pick)
        if at is None:
            assert expire_reservations(now=self.now) == self.caps.expire(self.now)
        else:
            assert release(reservation_id=self.holds[at], now=self.now) == self.caps.end(at)
            assert release(reservation_id=self.holds[at], now=self.now) == 0
        self.end_credit()

    @rule(uses=st.lists(USES, min_size=1, max_size=3), pick=st.none() | PICK, pause=PAUSES)
    def use(self, uses, pick, pause):
        """One call with the usage of several; out of a hold of anybody's, or of none."""
        self.wait(pause)
        self.record([self.used(*use) for use in uses], pick)

    def used(self, who, what, percent, ago):
        work, sku = self.workers[who], SKUS[what]
        rate = RATES[sku]
        amount = max(self.caps.least_room(work, self.now), NANO_PER_CENT) * percent // 100
        record = make_record(
            next(project for project in self.scene.projects if project.pk == work.project),
            max(amount * rate.unit_size // rate.price_nano, 1),
            sku=sku,
            occurred_at=self.now - timedelta(seconds=ago),
            api_key_id=work.key,
            cause=f"{self.number()}",
        )
        self.sent[record.event_id] = record
        return record

    @precondition(lambda self: self.sent)
    @rule(picks=st.lists(PICK, min_size=1, max_size=3), uses=st.lists(USES, max_size=1), pause=PAUSES)
    def correct(self, picks, uses, pause):
        """Take back what was used, and use some of what that gives back in the same call."""
        self.wait(pause)
        sent = [one for one in self.sent.values() if one.corrects is None]
        wrong = {one.event_id: one for one in (sent[pick % len(sent)] for pick in picks)}.values()
        corrections = [
            replace(one, event_id=uuid5(one.event_id, "correct"), quantity=-one.quantity, corrects=one.event_id)
            for one in wrong
            if one.occurred_at > self.now - OLDEST
        ]
        self.record([*corrections, *(self.used(*use) for use in uses)], None)

    def record(self, records, pick):
        at = None if pick is None else self.hold_of(pick)
        known = {one.event_id for one in self.told if isinstance(one, UsageRecord)}
        new = [one for one in records if one.event_id not in known]
        events = self.explained(new)
        done = record_usage(records, reservation_id=None if at is None else self.holds[at], now=self.now)
        _count, charged, written_off = self.caps.use(events, at, self.now)
        self.sent |= {one.event_id: one for one in new}
        self.told += new
        assert (done.counted, done.duplicate) == (len(new), len(records) - len(new))
        assert (done.charged_nano, done.written_off_nano) == (charged, written_off)

    def explained(self, records):
        """Return what the buckets cost more for it: each a difference of two roundings, key by key."""
        parts: Counter[tuple[datetime, int, str, int]] = Counter()
        for one in records:
            parts[hour_of(one.occurred_at), one.project_id, one.sku, one.api_key_id or 0] += one.quantity
        events = []
        for (hour, project, sku, key), quantity in sorted(parts.items()):
            before = self.money.used[hour, project, sku]
            self.money.used[hour, project, sku] += quantity
            amount = RATES[sku].of(before + quantity) - RATES[sku].of(before)
            events.append(Event(UUID(int=self.number()), hour, Work(project, key or None), amount))
        return events

    # --- Caps and credit ----------------------------------------------------------------------------

    @rule(cap=CAPS, pause=PAUSES)
    def change_cap(self, cap, pause):
        self.wait(pause)
        self.set_cap(cap)

    def set_cap(self, cap):
        place, period, percent, stops = cap
        over, target = self.targets[place]
        at = self.caps.find(over, period)
        if (over, period) != (ORGANIZATION, "lifetime") and percent is None:
            if at is not None:
                remove_cap(cap=SpendCap.objects.owned_by(self.organization).order_by("pk")[at], now=self.now)
                self.caps.remove_cap(at)
            return
        limit = max(self.caps.used(over, period, self.now) + self.caps.caps[CREDIT].room * (percent or 0) // 100, 0)
        is_raised = at is not None and limit > self.caps.caps[at].limit
        may = not (is_raised and self.is_contested) and self.is_allowed(
            lambda: self.caps.set_cap(over, period, limit, stops=stops, now=self.now)
        )
        self.either(
            UnableToSetCap,
            lambda: set_cap(target=target, period=SpendCap.Period(period), limit_nano=limit, stops=stops, now=self.now),
            may=may,
        )

    @property
    def is_contested(self) -> bool:
        return any(paid.dispute in ("open", "answered") for paid in self.paid)

    @rule(cents=st.integers(1, 800), days=st.none() | st.integers(1, 30), first=st.booleans(), pause=PAUSES)
    def award(self, cents, days, first, pause):
        self.wait(pause)
        ends = None if days is None else self.now + timedelta(days=days)
        kind = CreditGrant.Kind.PROMOTIONAL if first else CreditGrant.Kind.RESEARCH
        given = Award(kind, cents * NANO_PER_CENT, f"machine:{self.number()}", 10 if first else 50, ends)
        grant = award_credit(organization=self.organization, given=given, now=self.now)
        self.note_grant(grant)
        self.caps.add_credit(grant.amount_nano)
        then = self.now
        self.told.append(lambda: award_credit(organization=self.organization, given=given, now=then))

    def note_grant(self, row: CreditGrant) -> Grant:
        grant = Grant(
            row.pk, row.public_id, row.amount_nano, row.priority, row.expires_at, row.kind == CreditGrant.Kind.PREPAID
        )
        self.money.give(grant)
        return grant
