"""What a reconciler does next for one instance: pure, so that the simulator tests what production runs.

The database says what should be, the engine says what is; `decide` names the one step between them. It is
level-triggered: it never asks what happened, only what is, so that a lost message, a repeated one or a killed
worker changes nothing but the time. The picture: docs/algorithms/reconciling.md.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class State(StrEnum):
    """Where an instance is in its life; the words of pages, API and documents."""

    QUEUED = "queued"
    PROVISIONING = "provisioning"
    BOOTING = "booting"
    ACTIVE = "active"
    UNHEALTHY = "unhealthy"
    STOPPING = "stopping"
    STOPPED = "stopped"
    PREEMPTED = "preempted"
    FAILED = "failed"
    TERMINATING = "terminating"
    TERMINATED = "terminated"


class Want(StrEnum):
    """What the customer, or a rule acting for them, wants of the instance."""

    RUNNING = "running"
    STOPPED = "stopped"
    TERMINATED = "terminated"


# States that nothing leaves: the machine is gone or is being removed, and nothing is billed.
FINAL = frozenset({State.PREEMPTED, State.FAILED, State.TERMINATED})
# States in which the machine was seen to work before.
SEEN_WORKING = frozenset({State.ACTIVE, State.UNHEALTHY})
# States in which a page need not look again by itself.
AT_REST = FINAL | {State.STOPPED}

TRANSITIONS: dict[State, frozenset[State]] = {
    # Straight on to booting or active when the worker that asked the engine died before it could write.
    State.QUEUED: frozenset(
        {
            State.PROVISIONING,
            State.BOOTING,
            State.ACTIVE,
            State.FAILED,
            State.TERMINATING,
            State.TERMINATED,
        }
    ),
    State.PROVISIONING: frozenset(
        {State.BOOTING, State.ACTIVE, State.UNHEALTHY, State.FAILED, State.TERMINATING, State.TERMINATED}
    ),
    State.BOOTING: frozenset(
        {State.PROVISIONING, State.ACTIVE, State.UNHEALTHY, State.FAILED, State.TERMINATING, State.TERMINATED}
    ),
    State.ACTIVE: frozenset(
        {State.BOOTING, State.UNHEALTHY, State.STOPPING, State.PREEMPTED, State.TERMINATING, State.TERMINATED}
    ),
    State.UNHEALTHY: frozenset(
        {
            State.BOOTING,
            State.ACTIVE,
            State.STOPPING,
            State.PREEMPTED,
            State.FAILED,
            State.TERMINATING,
            State.TERMINATED,
        }
    ),
    State.STOPPING: frozenset({State.STOPPED, State.FAILED, State.TERMINATING, State.TERMINATED}),
    State.STOPPED: frozenset({State.BOOTING, State.FAILED, State.TERMINATING, State.TERMINATED}),
    State.TERMINATING: frozenset({State.TERMINATED}),
    State.PREEMPTED: frozenset(),
    State.FAILED: frozenset(),
    State.TERMINATED: frozenset(),
}

# How long an engine may fail to know a machine that worked before it counts as lost: lists lag.
MISSING_PATIENCE = timedelta(seconds=120)


class Seen(StrEnum):
    """What the engine says of the machine."""

    MISSING = "missing"
    STARTING = "starting"
    RUNNING = "running"
    STOPPED = "stopped"
    FAILED = "failed"
    UNKNOWN = "unknown"  # it did not answer


class Action(StrEnum):
    """What to ask of the engine; each is harmless when repeated."""

    NOTHING = "nothing"
    LAUNCH = "launch"
    START = "start"
    STOP = "stop"
    TERMINATE = "terminate"


class Billing(StrEnum):
    """What the step means for the healthy interval that is billed."""

    KEEP = "keep"  # leave it as it is
    RUN = "run"  # confirmed healthy: open one, or confirm the open one up to now
    END = "end"  # not healthy: close the open one where it was last confirmed


@dataclass(frozen=True, slots=True)
class Row:
    """What the database says of an instance.

    boot_generation: the generation whose boot the machine must run; an older boot is stopped first.
    give_up_at: when a boot that has not succeeded by then has failed.
    """

    state: State
    want: Want
    boot_generation: int
    was_usable: bool
    state_since: datetime
    give_up_at: datetime


@dataclass(frozen=True, slots=True)
class Observed:
    """What the engine says. generation: of the machine's last boot; is_healthy: whether the probe passed."""

    seen: Seen
    generation: int = 0
    is_healthy: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One step: ask the engine for `action`, then write `state` and what follows from it."""

    action: Action
    state: State
    billing: Billing = Billing.END
    frees_unit: bool = False
    reason: str = ""


NEVER_READY = "The instance did not become ready in time. Nothing was billed and the held budget was released."
LOST = "The instance was lost. Billing ended when it was last seen working."


def decide(row: Row, observed: Observed, now: datetime) -> Step:
    """Return the one step that brings the engine closer to what the row wants, or the row closer to what is."""
    if observed.seen is Seen.UNKNOWN:
        return _without_answer(row, now)
    if row.state in FINAL or row.want is Want.TERMINATED:
        return _towards_nothing(row, observed)
    if row.want is Want.STOPPED:
        return _towards_rest(row, observed, now)
    return _towards_running(row, observed, now)


def _without_answer(row: Row, now: datetime) -> Step:
    is_first_boot = row.want is Want.RUNNING and not row.was_usable and row.state not in FINAL
    if is_first_boot and now >= row.give_up_at:
        # Whatever was launched meanwhile is ended when the engine answers again.
        return Step(Action.NOTHING, State.FAILED, reason=NEVER_READY)
    return Step(Action.NOTHING, row.state, Billing.KEEP)


def _towards_nothing(row: Row, observed: Observed) -> Step:
    if observed.seen is Seen.MISSING:
        return Step(Action.NOTHING, row.state if row.state in FINAL else State.TERMINATED, frees_unit=True)
    return Step(Action.TERMINATE, row.state if row.state in FINAL else State.TERMINATING)


def _towards_rest(row: Row, observed: Observed, now: datetime) -> Step:
    match observed.seen:
        case Seen.MISSING if now - row.state_since >= MISSING_PATIENCE:
            return Step(Action.NOTHING, State.FAILED, reason=LOST)
        case Seen.MISSING:
            return Step(Action.NOTHING, row.state)
        case Seen.STOPPED | Seen.FAILED:
            return Step(Action.NOTHING, State.STOPPED, frees_unit=True)
    # A late start by a worker that was thought dead: the row is right, the machine is not.
    return Step(Action.STOP, row.state if row.state is State.STOPPED else State.STOPPING)


def _towards_running(row: Row, observed: Observed, now: datetime) -> Step:
    match observed.seen:
        case Seen.MISSING:
            return _without_machine(row, now)
        case Seen.RUNNING if observed.generation < row.boot_generation:
            return Step(Action.STOP, _while_waiting(row))
        case Seen.RUNNING if observed.is_healthy:
            return Step(Action.NOTHING, State.ACTIVE, Billing.RUN)
        case Seen.FAILED if not row.was_usable:
            return Step(Action.TERMINATE, State.FAILED, reason=observed.reason or NEVER_READY)
        case Seen.STOPPED | Seen.FAILED:
            return _wait(row, now, Action.START)
    return _wait(row, now, Action.NOTHING)


def _without_machine(row: Row, now: datetime) -> Step:
    if not row.was_usable:
        if now >= row.give_up_at:
            # The launch may have been heard and its answer lost: make sure that nothing stays behind.
            return Step(Action.TERMINATE, State.FAILED, reason=NEVER_READY)
        return Step(Action.LAUNCH, State.PROVISIONING)
    # Its disk held the customer's data: an empty new machine under the same name would hide the loss.
    if row.state is State.UNHEALTHY and now - row.state_since >= MISSING_PATIENCE:
        return Step(Action.NOTHING, State.FAILED, reason=LOST)
    return Step(Action.NOTHING, State.UNHEALTHY)


def _wait(row: Row, now: datetime, action: Action) -> Step:
    """Wait for a boot, with a limit for one that never succeeded; a machine that worked is only unhealthy."""
    if row.state in SEEN_WORKING:
        return Step(action, State.UNHEALTHY)
    if now < row.give_up_at:
        return Step(action, State.BOOTING)
    if row.was_usable:
        return Step(action, State.UNHEALTHY)
    return Step(Action.TERMINATE, State.FAILED, reason=NEVER_READY)


def _while_waiting(row: Row) -> State:
    return State.UNHEALTHY if row.state in SEEN_WORKING else State.BOOTING
