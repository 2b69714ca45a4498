"""Caps by scope and period: all of those over a piece of work hold at once, and each begins anew with its period."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from accounts.models import ApiKey, AuditEvent
from billing.models import Reservation, SpendCap, WriteOff
from billing.services.caps import CapTarget, UnableToSetCap, remove_cap, set_cap
from billing.services.limits import Payer
from billing.services.reservations import BudgetExceeded, expire_reservations, extend, release, reserve
from billing.services.usage import record_usage
from portal.lib.money import NANO_PER_USD
from tests.factories.accounts import make_key, make_project
from tests.factories.billing import make_record
from tests.factories.catalog import make_price

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 25, 23, 59, tzinfo=UTC)
TOMORROW = datetime(2026, 11, 26, tzinfo=UTC)
DAY, WEEK, MONTH, LIFETIME = SpendCap.Period.DAY, SpendCap.Period.WEEK, SpendCap.Period.MONTH, SpendCap.Period.LIFETIME


@pytest.fixture
def project():
    return make_project()


@pytest.fixture(autouse=True)
def price():
    """A dollar for a million tokens."""
    make_price("model.demo.input", NANO_PER_USD, 1_000_000)


def cap(project, dollars, *, period=DAY, over="project", key=None, stops=True, now=NOW):
    targets = {
        "organization": CapTarget(project.organization),
        "project": CapTarget(project.organization, project=project),
        "key": CapTarget(project.organization, api_key=key),
    }
    return set_cap(target=targets[over], period=period, limit_nano=int(dollars * NANO_PER_USD), stops=stops, now=now)


def hold(project, dollars, *, key=None, now=NOW, holder="inst_1"):
    return reserve(
        payer=Payer(project.organization_id, project.pk, key.pk if key else None),
        purpose=Reservation.Purpose.INSTANCE_LEASE,
        holder=holder,
        amount_nano=int(dollars * NANO_PER_USD),
        now=now,
        expires_at=now + timedelta(minutes=10),
    )


def use(project, dollars, *, reservation=None, key=None, at=NOW, now=None):
    record = make_record(project, int(dollars * 1_000_000), occurred_at=at, api_key_id=key.pk if key else None)
    return record_usage([record], reservation_id=reservation.pk if reservation else None, now=now or at)


def state(cap):
    cap.refresh_from_db()
    return tuple(amount / NANO_PER_USD for amount in (cap.limit_nano, cap.settled_nano, cap.reserved_nano))


def current(project, period=DAY):
    return SpendCap.objects.limits().current().get(organization=project.organization, period=period)


def test_a_reservation_takes_room_in_every_cap_over_the_work_and_gives_it_back(project):
    key = make_key(project, now=NOW).api_key
    caps = [
        cap(project, 4, over="organization", period=MONTH),
        cap(project, 3, period=WEEK),
        cap(project, 2, over="key", key=key, period=LIFETIME),
    ]
    others = [cap(make_project(organization=project.organization), 1), cap(make_project(), 1)]

    reservation = hold(project, 1.5, key=key)

    assert [state(each)[2] for each in caps] == [1.5, 1.5, 1.5]
    assert [state(each)[2] for each in others] == [0, 0]
    release(reservation_id=reservation.pk, now=NOW)
    assert [state(each)[2] for each in caps] == [0, 0, 0]


@pytest.mark.parametrize(("over", "words"), [("organization", "organization"), ("project", "project"), ("key", "API")])
def test_the_tightest_cap_refuses_says_which_it_is_and_nothing_is_held(project, over, words):
    key = make_key(project, now=NOW).api_key
    tight = cap(project, 1, over=over, key=key)
    wide = cap(project, 4, over="organization", period=MONTH)

    with pytest.raises(BudgetExceeded, match=words) as refusal:
        hold(project, 1.5, key=key)

    assert (refusal.value.scope, refusal.value.period, refusal.value.resets_at) == (over, "day", TOMORROW)
    assert refusal.value.room_nano == NANO_PER_USD
    assert state(tight)[2] == state(wide)[2] == 0
    assert SpendCap.objects.of_organization(project.organization_id).get().reserved_nano == 0
    assert hold(project, 1, key=key)


def test_a_cap_of_one_key_or_project_leaves_the_others_alone(project):
    mine, other = make_key(project, now=NOW).api_key, make_key(project, now=NOW).api_key
    cap(project, 0, over="key", key=mine)
    elsewhere = make_project(organization=project.organization)
    cap(elsewhere, 0)

    with pytest.raises(BudgetExceeded):
        hold(project, 1, key=mine)
    with pytest.raises(BudgetExceeded):
        hold(elsewhere, 1)
    assert hold(project, 1, key=other)


def test_usage_is_charged_to_every_cap_over_it(project):
    key = make_key(project, now=NOW).api_key
    caps = [cap(project, 4, over="organization"), cap(project, 3), cap(project, 2, over="key", key=key)]
    reservation = hold(project, 1, key=key)

    use(project, 0.75, reservation=reservation, key=key)

    assert [state(each)[1:] for each in caps] == [(0.75, 0.25)] * 3
    use(project, 0.5)
    assert [state(each)[1] for each in caps] == [1.25, 1.25, 0.75]


def test_what_one_cap_has_no_room_for_is_written_off_for_all(project):
    tight, wide = cap(project, 1), cap(project, 4, over="organization")

    recorded = use(project, 1.5)

    assert (recorded.charged_nano, recorded.written_off_nano) == (NANO_PER_USD, NANO_PER_USD // 2)
    assert state(tight)[1] == state(wide)[1] == 1
    assert WriteOff.objects.get().amount_nano == NANO_PER_USD // 2


def test_a_cap_that_only_warns_counts_and_refuses_nothing(project):
    soft = cap(project, 1, stops=False)

    use(project, 2)
    assert hold(project, 1)

    assert state(soft) == (1, 2, 1)


@pytest.mark.parametrize(
    ("period", "end"),
    [(DAY, TOMORROW), (WEEK, datetime(2026, 11, 30, tzinfo=UTC)), (MONTH, datetime(2026, 12, 1, tzinfo=UTC))],
)
def test_a_cap_begins_anew_with_its_period(project, period, end):
    full = cap(project, 1, period=period)
    use(project, 1)
    last = end - timedelta(microseconds=1)
    with pytest.raises(BudgetExceeded):
        hold(project, 0.5, now=last)

    assert hold(project, 0.5, now=end)

    fresh = current(project, period)
    assert fresh.pk != full.pk
    assert (fresh.period_start, fresh.limit_nano, state(fresh)[1:]) == (end, NANO_PER_USD, (0, 0.5))
    assert state(full)[1:] == (1, 0)


def test_a_cap_that_slept_through_periods_goes_on_in_the_running_one(project):
    cap(project, 1)
    much_later = NOW + timedelta(days=400)

    hold(project, 0.5, now=much_later)

    assert current(project).covers(much_later)
    assert SpendCap.objects.limits().count() == 2


def test_what_was_held_before_midnight_is_charged_to_that_day_until_it_is_renewed(project):
    yesterday = cap(project, 1)
    reservation = hold(project, 0.6)

    use(project, 0.2, reservation=reservation, at=TOMORROW)
    assert state(yesterday)[1:] == (0.2, 0.4)

    extend(
        reservation_id=reservation.pk,
        additional_nano=NANO_PER_USD // 10,
        now=TOMORROW,
        expires_at=TOMORROW + timedelta(minutes=10),
    )
    assert state(yesterday)[1:] == (0.2, 0)
    assert state(current(project))[1:] == (0, 0.5)
    use(project, 0.5, reservation=reservation, at=TOMORROW)
    assert (state(yesterday)[1:], state(current(project))[1:]) == ((0.2, 0), (0.5, 0))


def test_a_renewal_moves_the_whole_hold_into_a_cap_that_came_since(project):
    reservation = hold(project, 1)
    came = cap(project, 0.9)

    with pytest.raises(BudgetExceeded) as refusal:
        extend(reservation_id=reservation.pk, additional_nano=0, now=NOW, expires_at=NOW + timedelta(minutes=20))
    assert refusal.value.room_nano == 0
    assert state(came)[2] == 0

    cap(project, 1.5)
    extend(reservation_id=reservation.pk, additional_nano=0, now=NOW, expires_at=NOW + timedelta(minutes=20))
    assert state(came)[2] == 1
    with pytest.raises(BudgetExceeded) as refusal:
        extend(
            reservation_id=reservation.pk,
            additional_nano=NANO_PER_USD,
            now=NOW,
            expires_at=NOW + timedelta(minutes=20),
        )
    assert refusal.value.room_nano == NANO_PER_USD // 2


def test_a_hold_that_expires_returns_to_every_cap(project):
    caps = [cap(project, 1), cap(project, 2, over="organization")]
    hold(project, 1)

    assert expire_reservations(now=NOW + timedelta(minutes=10)) == 1

    assert [state(each)[2] for each in caps] == [0, 0]
    assert hold(project, 1)


def test_a_correction_gives_back_to_the_period_that_the_usage_lay_in(project):
    yesterday = cap(project, 1)
    record = make_record(project, 800_000, occurred_at=NOW)
    record_usage([record], reservation_id=None, now=NOW)
    use(project, 0.5, at=TOMORROW + timedelta(hours=1))

    taken_back = replace(make_record(project, -800_000, occurred_at=NOW), corrects=record.event_id)
    record_usage([taken_back], reservation_id=None, now=TOMORROW + timedelta(hours=2))

    assert state(yesterday)[1] == 0
    assert state(current(project))[1] == 0.5


def test_a_cap_made_in_the_middle_of_its_period_counts_what_it_found(project):
    key = make_key(project, now=NOW).api_key
    use(project, 0.5, key=key)
    use(project, 0.25, at=NOW - timedelta(days=1))

    found = [
        state(cap(project, 2, over=over, key=key, period=period))[1]
        for over, period in [("key", DAY), ("project", DAY), ("project", WEEK), ("organization", MONTH)]
    ]

    assert found == [0.5, 0.5, 0.75, 0.75]
    assert state(cap(project, 2, period=LIFETIME))[1] == 0.75


def test_refuses_a_limit_below_what_is_used_and_held_and_names_the_lowest(project):
    use(project, 0.5)
    with pytest.raises(UnableToSetCap, match=r"\$0\.50 at the least"):
        cap(project, 0.25)
    made = cap(project, 2)
    hold(project, 1)

    with pytest.raises(UnableToSetCap, match=r"\$0\.50 is spent .* \$1\.00 is held .* \$1\.50 at the least"):
        cap(project, 1.4999)

    assert state(made) == (2, 0.5, 1)
    cap(project, 1.5)
    assert state(made)[0] == 1.5
    cap(project, 0.25, stops=False)
    assert state(made)[0] == 0.25


@pytest.mark.parametrize("dollars", [-1, 10_000_001])
def test_refuses_limits_out_of_range(project, dollars):
    with pytest.raises(UnableToSetCap, match="between"):
        cap(project, dollars)


def test_the_credit_is_nobodys_to_set(project):
    with pytest.raises(UnableToSetCap, match="credit"):
        cap(project, 1, over="organization", period=LIFETIME)


def test_setting_changing_and_removing_leaves_entries(project):
    key = make_key(project, now=NOW).api_key
    made = cap(project, 1, over="key", key=key)
    assert cap(project, 1, over="key", key=key) == made
    cap(project, 2, over="key", key=key)
    for _ in range(2):
        remove_cap(cap=made, now=NOW)

    entries = AuditEvent.objects.filter(target_kind="cap").order_by("sequence")
    assert list(entries.values_list("action", flat=True)) == ["cap.set", "cap.changed", "cap.removed"]
    assert hold(project, 3, key=key)


def test_processes_hear_of_a_cap_of_a_key(project):
    key = make_key(project, now=NOW).api_key
    later = NOW + timedelta(hours=1)

    made = cap(project, 1, over="key", key=key, now=later)
    assert ApiKey.objects.get(pk=key.pk).changed_at == later
    remove_cap(cap=made, now=later + timedelta(hours=1))
    assert ApiKey.objects.get(pk=key.pk).changed_at == later + timedelta(hours=1)
