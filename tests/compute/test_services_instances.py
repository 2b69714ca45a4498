"""Launch, stop, start, restart, end: what is written at once, and what reconcilers make of it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db.models import Sum

from billing.models import SpendCap, UsageEvent
from billing.selectors import budget_of
from billing.services.caps import CapTarget, set_cap
from billing.services.reservations import BudgetExceeded, expire_reservations
from catalog.models import LeaseClass
from compute.backends import Refused, TryAgain
from compute.models import HealthInterval, Instance, InstanceEvent, Pool, SshKey
from compute.reconcile import State, Want
from compute.services import reconciliation
from compute.services.capacity import InsufficientCapacity
from compute.services.funding import LEASE_SECONDS, cost_of
from compute.services.instances import (
    UnableToChangeInstance,
    expire_instances,
    restart_instance,
    start_instance,
    stop_instance,
    terminate_instance,
)
from compute.services.launching import LaunchConflict, UnableToLaunch, launch_instances
from compute.services.pools import ensure_demo_pools
from portal.lib.money import NANO_PER_USD
from tests.factories.accounts import make_project
from tests.factories.catalog import make_image, make_instance_type
from tests.factories.compute import HOURLY_NANO, make_instance, make_pool, make_request

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def reconcile(instance: Instance, now: datetime) -> Instance:
    """Take steps at `now` until there is nothing more to do at once."""
    for _ in range(6):
        next_look = reconciliation.reconcile_instance(instance_id=instance.pk, clock=lambda: now)
        if next_look is None or next_look > now:
            break
    instance.refresh_from_db()
    return instance


def run(instance: Instance, start: datetime, length: float) -> Instance:
    """Let the sweep come by every 5 seconds, up to `length` seconds after `start`."""
    for passed in range(0, int(length) + 1, 5):
        reconcile(instance, start + seconds(passed))
    return instance


def billed_seconds(instance: Instance) -> int:
    return UsageEvent.objects.filter(resource_id=instance.public_id).aggregate(total=Sum("quantity"))["total"] or 0


def nothing_changed(pool: Pool) -> bool:
    pool.refresh_from_db()
    return pool.sold_units == 0 and not Instance.objects.exists() and not InstanceEvent.objects.exists()


def test_sells_a_unit_holds_a_lease_and_copies_the_price():
    pool, project = make_pool(), make_project()

    instance = make_instance(NOW, project, pool=pool)

    pool.refresh_from_db()
    assert pool.sold_units == 1
    assert (instance.state, instance.want) == (State.QUEUED, Want.RUNNING)
    assert (instance.price_nano, instance.unit_size, instance.notice_seconds) == (HOURLY_NANO, 3600, 86_400)
    held = cost_of(LEASE_SECONDS, price_nano=HOURLY_NANO, unit_size=3600)
    assert budget_of(project.organization).reserved_nano == held


def test_becomes_active_and_bills_from_the_passing_probe_to_the_accepted_stop_across_an_hour(double):
    start = NOW + timedelta(minutes=50)
    instance = reconcile(make_instance(start), start)
    assert instance.state == State.ACTIVE
    assert billed_seconds(instance) == 0

    run(instance, start, 1200)
    end = start + seconds(1203.7)
    stop_instance(instance=instance, now=end)

    events = UsageEvent.objects.filter(resource_id=instance.public_id)
    assert billed_seconds(instance) == 1203
    assert {event.occurred_at.hour for event in events} == {12, 13}
    assert reconcile(instance, end).state == State.STOPPED
    budget = budget_of(instance.organization)
    assert budget.reserved_nano == 0
    in_first_hour, in_second_hour = 600, 603
    assert budget.settled_nano == sum(
        round(quantity * HOURLY_NANO / 3600) for quantity in (in_first_hour, in_second_hour)
    )
    instance.pool.refresh_from_db()
    assert instance.pool.sold_units == 0


def test_bills_nothing_after_the_stop_even_when_the_engine_is_slow(double):
    instance = reconcile(make_instance(NOW), NOW)
    double.fault = fail_at("before stop")

    stop_instance(instance=instance, now=NOW + seconds(10))
    run(instance, NOW + seconds(10), 120)
    assert instance.state == State.STOPPING
    double.fault = lambda moment: None
    run(instance, NOW + seconds(140), 60)

    assert instance.state == State.STOPPED
    assert billed_seconds(instance) == 10


def test_pauses_billing_while_the_machine_does_not_answer(double):
    instance = reconcile(make_instance(NOW), NOW)
    run(instance, NOW, 100)
    double.deaf.add(instance.engine_name)
    run(instance, NOW + seconds(105), 100)
    assert instance.state == State.UNHEALTHY
    double.deaf.clear()
    run(instance, NOW + seconds(210), 40)
    stop_instance(instance=instance, now=NOW + seconds(300))

    spans = HealthInterval.objects.filter(instance=instance).order_by("started_at")
    assert [(span.started_at - NOW, (span.ended_at or NOW) - NOW) for span in spans] == [
        (seconds(0), seconds(100)),
        (seconds(210), seconds(300)),
    ]
    assert billed_seconds(instance) == 190


def test_bills_no_second_that_nobody_confirmed(double):
    instance = reconcile(make_instance(NOW), NOW)
    run(instance, NOW, 60)

    reconcile(instance, NOW + timedelta(hours=2))
    stop_instance(instance=instance, now=NOW + timedelta(hours=2, seconds=30))

    assert billed_seconds(instance) == 60 + 30


def test_costs_nothing_when_the_boot_never_succeeds(double):
    double.looks_to_boot = 10_000
    pool = make_pool()
    instance = make_instance(NOW, pool=pool)

    run(instance, NOW, 620)

    assert instance.state == State.FAILED
    assert "Nothing was billed" in instance.failure_reason
    assert billed_seconds(instance) == 0
    assert budget_of(instance.organization).reserved_nano == 0
    pool.refresh_from_db()
    assert pool.sold_units == 0
    assert double.machines == {}


@pytest.mark.parametrize("error", [Refused("We are out of disks."), TryAgain("429")])
def test_fails_with_a_sentence_and_gives_everything_back_when_the_engine_will_not(double, error):
    double.fault = fail_at("before launch", error)
    instance = make_instance(NOW)

    run(instance, NOW, 620)

    assert instance.state == State.FAILED
    assert instance.failure_reason
    assert budget_of(instance.organization).reserved_nano == 0
    assert billed_seconds(instance) == 0


def fail_at(moment: str, error: Exception | None = None):
    def fault(now: str) -> None:
        if now == moment:
            raise error or TryAgain(moment)

    return fault


@pytest.mark.parametrize(
    "moment", ["before launch", "after launch", "before describe", "before stop", "after stop", "after terminate"]
)
def test_gets_there_although_the_engine_loses_every_second_answer(double, moment):
    instance = make_instance(NOW)
    odd = iter(range(10_000))

    def fault(now: str) -> None:
        if now == moment and next(odd) % 2 == 0:
            raise TryAgain(moment)

    double.fault = fault
    run(instance, NOW, 60)
    assert instance.state == State.ACTIVE
    stop_instance(instance=instance, now=NOW + seconds(100))
    run(instance, NOW + seconds(100), 60)
    assert instance.state == State.STOPPED
    terminate_instance(instance=instance, now=NOW + seconds(200))
    run(instance, NOW + seconds(200), 60)
    assert instance.state == State.TERMINATED
    assert double.launches == 1
    assert double.machines == {}


def test_renews_its_lease_while_it_runs_and_stops_before_the_first_unfunded_second(double, settings):
    settings.STARTER_CREDIT_USD = Decimal("0.50")  # 722 seconds of $2.49 an hour
    instance = reconcile(make_instance(NOW), NOW)

    for passed in range(0, 1000, 5):
        reconcile(instance, NOW + seconds(passed))

    budget = budget_of(instance.organization)
    assert instance.state == State.STOPPED
    assert 600 < billed_seconds(instance) <= 722
    assert budget.settled_nano <= budget.limit_nano
    assert budget.reserved_nano == 0
    assert "budget" in InstanceEvent.objects.filter(state=State.STOPPING).get().text


def test_stops_before_it_passes_the_cap_of_its_project(double):
    instance = reconcile(make_instance(NOW), NOW)
    target = CapTarget(instance.organization, project=instance.project)
    cap = set_cap(
        target=target, period=SpendCap.Period.DAY, limit_nano=NANO_PER_USD // 2, stops=True, now=NOW + seconds(1)
    )

    for passed in range(0, 1500, 5):
        reconcile(instance, NOW + seconds(passed))

    cap.refresh_from_db()
    assert instance.state == State.STOPPED
    # The lease that it held when the cap was set, and what the cap has room for: 722 seconds of $2.49 an hour.
    assert 700 < billed_seconds(instance) <= 1022
    assert cap.settled_nano <= cap.limit_nano
    assert cap.reserved_nano == 0
    assert budget_of(instance.organization).reserved_nano == 0


def test_runs_on_through_midnight_under_a_daily_cap(double):
    evening = NOW.replace(hour=23, minute=50)
    project = make_project()
    cap = set_cap(
        target=CapTarget(project.organization, project=project),
        period=SpendCap.Period.DAY,
        limit_nano=NANO_PER_USD // 2,
        stops=True,
        now=evening,
    )
    instance = reconcile(make_instance(evening, project), evening)

    for passed in range(0, 1200, 5):
        reconcile(instance, evening + seconds(passed))
    assert instance.state == State.ACTIVE
    for passed in range(1200, 2400, 5):
        reconcile(instance, evening + seconds(passed))

    assert instance.state == State.STOPPED
    days = SpendCap.objects.limits().order_by("period_start")
    assert [f"{day.period_start:%d}" for day in days] == ["22", "23"]
    assert days[0] == cap
    assert all(day.settled_nano <= day.limit_nano and day.reserved_nano == 0 for day in days)
    assert sum(day.settled_nano for day in days) == budget_of(project.organization).settled_nano


def test_runs_on_a_hold_again_when_the_old_one_ended_while_it_did_not_answer(double):
    instance = reconcile(make_instance(NOW), NOW)
    double.deaf.add(instance.engine_name)
    run(instance, NOW + seconds(5), 60)
    later = NOW + timedelta(minutes=20)
    expire_reservations(now=later)
    assert budget_of(instance.organization).reserved_nano == 0
    double.deaf.clear()

    reconcile(instance, later)

    assert instance.state == State.ACTIVE
    held = cost_of(LEASE_SECONDS, price_nano=HOURLY_NANO, unit_size=3600)
    assert budget_of(instance.organization).reserved_nano == held


def test_starts_again_with_its_disk_and_a_new_unit_and_lease(double):
    instance = reconcile(make_instance(NOW), NOW)
    stop_instance(instance=instance, now=NOW + seconds(10))
    reconcile(instance, NOW + seconds(10))

    start_instance(instance=instance, now=NOW + seconds(3600))
    reconcile(instance, NOW + seconds(3600))
    stop_instance(instance=instance, now=NOW + seconds(3605))

    assert instance.state == State.ACTIVE
    assert billed_seconds(instance) == 15
    assert double.launches == 1


def test_restarts_the_machine_and_does_not_bill_while_it_boots(double):
    instance = reconcile(make_instance(NOW), NOW)
    double.looks_to_boot = 3
    boot = double.machines[instance.engine_name].generation

    restart_instance(instance=instance, now=NOW + seconds(10))
    run(instance, NOW + seconds(10), 30)
    stop_instance(instance=instance, now=NOW + seconds(100))

    spans = HealthInterval.objects.filter(instance=instance).order_by("started_at")
    assert double.machines[instance.engine_name].generation > boot
    assert spans.count() == 2
    assert spans[1].started_at > NOW + seconds(10)
    assert billed_seconds(instance) == 10 + (NOW + seconds(100) - spans[1].started_at).total_seconds()


def test_ends_at_its_end_date(double):
    instance = reconcile(make_instance(NOW, expires_at=NOW + seconds(100)), NOW)

    assert expire_instances(now=NOW + seconds(99)) == 0
    assert expire_instances(now=NOW + seconds(101)) == 1
    assert expire_instances(now=NOW + seconds(102)) == 0
    reconcile(instance, NOW + seconds(103))

    assert instance.state == State.TERMINATED
    assert double.machines == {}
    assert billed_seconds(instance) == 90  # The last passing probe was at the start, and a probe vouches for 90 s.


def test_returns_the_same_instances_for_the_same_key_and_refuses_another_body():
    request = make_request(idempotency_key="k1", quantity=2)

    first = launch_instances(request=request, now=NOW)
    second = launch_instances(request=request, now=NOW + timedelta(days=3))

    assert [one.pk for one in first.instances] == [one.pk for one in second.instances]
    assert (first.is_replay, second.is_replay) == (False, True)
    assert Instance.objects.count() == 2
    with pytest.raises(LaunchConflict):
        launch_instances(
            request=make_request(
                request.project, pool=Pool.objects.first(), idempotency_key="k1", ssh_keys=request.ssh_keys
            ),
            now=NOW,
        )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "-nope"),
        ("name", "a b"),
        ("quantity", 0),
        ("quantity", 17),
        ("lease_class", LeaseClass.RESERVED),
        ("ssh_keys", []),
        ("user_data", "x" * 16_385),
        ("expires_at", NOW),
        ("expires_at", NOW + timedelta(days=400)),
    ],
)
def test_refuses_what_cannot_be_had_and_changes_nothing(field, value):
    pool = make_pool()

    with pytest.raises(UnableToLaunch) as refusal:
        make_instance(NOW, pool=pool, **{field: value})

    assert refusal.value.field == field
    assert nothing_changed(pool)


def test_refuses_an_image_that_does_not_fit_and_a_shape_that_is_not_sold():
    pool = make_pool()
    with pytest.raises(UnableToLaunch, match="does not run"):
        make_instance(NOW, pool=pool, image=make_image("tpu-only", kinds=("tpu",)))
    with pytest.raises(UnableToLaunch, match="not sold"):
        make_instance(
            NOW,
            pool=make_pool(instance_type=make_instance_type("gpu_1x_unpriced", price_nano=None)),
            image=make_image("for-all"),
        )

    assert nothing_changed(pool)


def test_refuses_what_the_pool_has_not_and_says_where_it_is():
    pool = make_pool(total_units=2, owner_demand=1)

    with pytest.raises(InsufficientCapacity, match="sold out everywhere"):
        make_instance(NOW, pool=pool, quantity=2)

    assert nothing_changed(pool)


def test_refuses_what_the_budget_has_not_and_gives_the_unit_back(settings):
    settings.STARTER_CREDIT_USD = Decimal("0.10")
    pool = make_pool()

    with pytest.raises(BudgetExceeded):
        make_instance(NOW, pool=pool)

    assert nothing_changed(pool)


def test_refuses_what_its_state_does_not_allow(double):
    instance = make_instance(NOW)

    for change in (stop_instance, start_instance, restart_instance):
        with pytest.raises(UnableToChangeInstance, match="queued"):
            change(instance=instance, now=NOW)

    instance.refresh_from_db()
    assert (instance.generation, instance.want) == (1, Want.RUNNING)


def test_ends_orphans_with_our_tag_and_leaves_machines_of_others_alone(double):
    instance = reconcile(make_instance(NOW), NOW)
    own = double.machines[instance.engine_name]
    double.machines |= {
        "inst-orphan": type(own)("inst-orphan", own.status),
        "somebody-elses": type(own)("somebody-elses", own.status, is_ours=False),
    }

    swept = reconciliation.sweep_engine(backend=double, clock=lambda: NOW)

    assert (swept.ended, swept.foreign) == (1, 1)
    assert set(double.machines) == {instance.engine_name, "somebody-elses"}


def test_stops_a_machine_that_a_late_worker_started_again(double):
    instance = reconcile(make_instance(NOW), NOW)
    running = double.machines[instance.engine_name]
    stop_instance(instance=instance, now=NOW + seconds(5))
    reconcile(instance, NOW + seconds(5))
    double.machines[instance.engine_name] = running

    swept = reconciliation.sweep_engine(backend=double, clock=lambda: NOW + seconds(60))
    reconcile(instance, NOW + seconds(60))

    assert swept.woken == 1
    assert double.machines[instance.engine_name].status == "stopped"
    assert instance.state == State.STOPPED
    assert billed_seconds(instance) == 5


def test_writes_nothing_for_a_row_that_has_moved_on(double):
    instance = make_instance(NOW)
    double.fault = lambda moment: (
        moment == "after launch" and terminate_instance(instance=Instance.objects.get(pk=instance.pk), now=NOW)
    )

    assert reconciliation.reconcile_instance(instance_id=instance.pk, clock=lambda: NOW) == NOW
    instance.refresh_from_db()
    assert instance.state == State.TERMINATING

    double.fault = lambda moment: None
    assert reconcile(instance, NOW).state == State.TERMINATED
    assert not HealthInterval.objects.exists()


def test_keeps_a_machine_when_its_key_is_deleted(double):
    instance = make_instance(NOW)

    SshKey.objects.all().delete()

    assert reconcile(instance, NOW).state == State.ACTIVE


def test_makes_demonstration_pools_once_and_never_outside_development(settings):
    make_pool()
    make_instance_type("cpu_1x_small")

    assert ensure_demo_pools() == 1
    assert ensure_demo_pools() == 0
    settings.DEVELOPMENT = False
    with pytest.raises(Exception, match="for development"):
        ensure_demo_pools()
