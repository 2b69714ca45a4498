"""The one step of a reconciler, case by case."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

from compute.reconcile import (
    FINAL,
    LOST,
    MISSING_PATIENCE,
    TRANSITIONS,
    Action,
    Billing,
    Observed,
    Row,
    Seen,
    State,
    Step,
    Want,
    decide,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
NEW = Row(
    state=State.QUEUED,
    want=Want.RUNNING,
    boot_generation=1,
    was_usable=False,
    state_since=NOW,
    give_up_at=NOW + timedelta(minutes=10),
)
ACTIVE = replace(NEW, state=State.ACTIVE, was_usable=True)
MISSING = Observed(Seen.MISSING)
HEALTHY = Observed(Seen.RUNNING, generation=1, is_healthy=True)
DEAF = Observed(Seen.RUNNING, generation=1)


def test_launches_what_is_wanted_and_missing():
    assert decide(NEW, MISSING, NOW) == Step(Action.LAUNCH, State.PROVISIONING)


def test_launches_again_when_the_answer_was_lost():
    row = replace(NEW, state=State.PROVISIONING)

    assert decide(row, MISSING, NOW).action is Action.LAUNCH


def test_bills_only_from_a_passing_probe():
    assert decide(replace(NEW, state=State.BOOTING), DEAF, NOW) == Step(Action.NOTHING, State.BOOTING, Billing.END)
    assert decide(replace(NEW, state=State.BOOTING), HEALTHY, NOW) == Step(Action.NOTHING, State.ACTIVE, Billing.RUN)


def test_stops_billing_when_a_probe_fails():
    assert decide(ACTIVE, DEAF, NOW) == Step(Action.NOTHING, State.UNHEALTHY, Billing.END)


def test_gives_up_a_boot_that_never_succeeded_and_removes_what_may_be_left():
    row = replace(NEW, state=State.BOOTING, give_up_at=NOW)

    for observed in (MISSING, DEAF, Observed(Seen.STARTING)):
        step = decide(row, observed, NOW)
        assert (step.action, step.state) == (Action.TERMINATE, State.FAILED)
        assert "Nothing was billed" in step.reason


def test_never_gives_up_a_disk_with_customer_data_because_of_a_slow_boot():
    row = replace(ACTIVE, state=State.BOOTING, give_up_at=NOW)

    assert decide(row, DEAF, NOW).state is State.UNHEALTHY


def test_never_replaces_a_lost_machine_by_an_empty_one():
    assert decide(ACTIVE, MISSING, NOW) == Step(Action.NOTHING, State.UNHEALTHY)
    missing_long = replace(ACTIVE, state=State.UNHEALTHY, state_since=NOW - MISSING_PATIENCE)
    assert decide(missing_long, MISSING, NOW) == Step(Action.NOTHING, State.FAILED, reason=LOST)


def test_boots_again_after_a_restart():
    row = replace(ACTIVE, state=State.BOOTING, boot_generation=2)

    assert decide(row, HEALTHY, NOW).action is Action.STOP
    assert decide(row, Observed(Seen.STOPPED, generation=1), NOW).action is Action.START
    assert decide(row, replace(HEALTHY, generation=2), NOW).state is State.ACTIVE


def test_stops_and_rests():
    row = replace(ACTIVE, state=State.STOPPING, want=Want.STOPPED)

    assert decide(row, HEALTHY, NOW) == Step(Action.STOP, State.STOPPING)
    assert decide(row, Observed(Seen.STOPPED), NOW) == Step(Action.NOTHING, State.STOPPED, frees_unit=True)


def test_stops_a_machine_that_a_late_worker_started():
    row = replace(ACTIVE, state=State.STOPPED, want=Want.STOPPED)

    assert decide(row, HEALTHY, NOW) == Step(Action.STOP, State.STOPPED)


def test_ends_only_when_the_engine_knows_it_no_more():
    row = replace(ACTIVE, state=State.TERMINATING, want=Want.TERMINATED)

    assert decide(row, HEALTHY, NOW) == Step(Action.TERMINATE, State.TERMINATING)
    assert decide(row, MISSING, NOW) == Step(Action.NOTHING, State.TERMINATED, frees_unit=True)


EVERY_ROW = [
    Row(state, want, 2, was_usable, NOW - age, NOW + patience)
    for state, want, was_usable, age, patience in product(
        State, Want, (False, True), (timedelta(0), timedelta(hours=1)), (timedelta(-1), timedelta(1))
    )
    # What services never write: an end that somebody still wants, work before the first probe, waiting after it.
    if not (state in FINAL and want is not Want.TERMINATED)
    and not (state is State.TERMINATING and want is not Want.TERMINATED)
    and not (state in {State.ACTIVE, State.UNHEALTHY} and not was_usable)
    and not (state in {State.STOPPING, State.STOPPED} and not (was_usable and want is Want.STOPPED))
    and not (want is Want.STOPPED and state not in {State.STOPPING, State.STOPPED})
    and not (state in {State.QUEUED} and was_usable)
]
EVERYTHING_SEEN = [
    Observed(seen, generation, is_healthy)
    for seen, generation, is_healthy in product(Seen, (1, 2), (False, True))
    if seen is Seen.RUNNING or not is_healthy
]


def test_only_ever_takes_arrows_of_the_diagram_and_bills_only_healthy_wanted_machines():
    for row, observed in product(EVERY_ROW, EVERYTHING_SEEN):
        step = decide(row, observed, NOW)

        assert step.state is row.state or step.state in TRANSITIONS[row.state]
        if step.billing is Billing.RUN:
            assert row.want is Want.RUNNING
            assert observed.is_healthy
            assert observed.generation == row.boot_generation
        if step.state in FINAL and row.want is not Want.TERMINATED:
            assert step.reason
        if row.want is Want.TERMINATED:
            assert step.action in {Action.TERMINATE, Action.NOTHING}
