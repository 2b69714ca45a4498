"""Close the difference between what rows want and what engines have: one instance and one step at a time.

Between claiming a row and writing what came of the step no transaction is open, because engines take their time;
the row's lease keeps other reconcilers away meanwhile, and the generation says whether the row still wants what
it wanted. Time comes in as a clock and not as an instant, since minutes may pass in between.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from compute.backends import Machine, MachineSpec, MachineStatus, ProvisioningBackend, Refused, TryAgain, load_backend
from compute.models import Instance, Pool
from compute.models.instance import STATE_LABELS
from compute.reconcile import Action, Billing, Observed, Row, Seen, State, Step, Want, decide
from compute.services.capacity import give_back_unit
from compute.services.instances import accept_stop, fail_instance
from compute.services.metering import (
    confirm_healthy,
    end_at_request,
    end_if_unconfirmed,
    end_where_confirmed,
    renew_lease,
)
from compute.services.timeline import enter_state
from portal.lib.crashpoints import crashpoint
from portal.lib.jobs import enqueue

log = structlog.get_logger(__name__)

type Clock = Callable[[], datetime]

# Longer than a task may run, so that a claim never outlives its holder's right to write.
CLAIM = timedelta(seconds=90)
# How soon to look again. While the engine is at work the first looks come quickly and the later ones less so, so that
# a machine that is ready is seen to be ready and one that takes minutes costs little.
SOONEST = timedelta(milliseconds=250)
WHILE_WAITING = timedelta(seconds=2)
WHILE_UNHEALTHY = timedelta(seconds=10)
WHILE_ACTIVE = timedelta(seconds=20)
SWEEP_SIZE = 500


def backend_of(pool: Pool) -> ProvisioningBackend:
    """Return the engine that a pool names."""
    return load_backend(settings.PROVISIONING_BACKENDS[pool.backend])


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a step, to be written: `machine` is None when the engine told nothing new of it."""

    step: Step
    machine: Machine | None
    probed_from: datetime
    probed_to: datetime


def reconcile_instance(*, instance_id: int, clock: Clock) -> datetime | None:
    """Take one idempotent step for an instance; return when the next one is due, None when the row is at rest.

    Does nothing and returns None when the instance is not due or another reconciler has it. For the platform role,
    and never inside a transaction.
    """
    instance = _claim(instance_id, clock())
    if instance is None:
        return None
    crashpoint("reconcile_after_claim")
    outcome = _take_step(instance, clock)
    crashpoint("reconcile_before_write")
    next_look = _write(instance, outcome, clock())
    crashpoint("reconcile_after_write")
    return next_look


def enqueue_due_instances(*, now: datetime) -> int:
    """Name a job for every instance that is due and return how many. For the platform role."""
    due = list(Instance.objects.due(now).order_by("next_check_at", "pk").values_list("pk", flat=True)[:SWEEP_SIZE])
    with transaction.atomic():
        for instance_id in due:
            enqueue("compute.reconcile_instance", instance_id=instance_id)
    return len(due)


@transaction.atomic
def _claim(instance_id: int, now: datetime) -> Instance | None:
    rows = Instance.objects.select_for_update(of=("self",), skip_locked=True).due(now)
    instance = rows.select_related("pool", "instance_type", "image").filter(pk=instance_id).first()
    if instance is not None:
        instance.lease_until = now + CLAIM
        instance.save(update_fields=["lease_until"])
    return instance


def _take_step(instance: Instance, clock: Clock) -> Outcome:
    backend = backend_of(instance.pool)
    machine: Machine | None = None
    probed_from = clock()
    try:
        machine = backend.describe(instance.engine_name)
        observed = _observe(backend, instance, machine)
    except TryAgain as error:
        log.warning("compute.engine.unreachable", instance=instance.public_id, error=str(error))
        observed = Observed(Seen.UNKNOWN)
    probed_to = clock()
    step = decide(_row_of(instance), observed, probed_from)
    try:
        machine = _ask(backend, instance, step) or machine
    except TryAgain as error:
        log.warning("compute.engine.try_again", instance=instance.public_id, action=step.action, error=str(error))
        step = Step(step.action, State(instance.state), Billing.KEEP)
    except Refused as error:
        log.warning("compute.engine.refused", instance=instance.public_id, action=step.action, error=str(error))
        step = _after_refusal(instance, step, error)
    return Outcome(step, machine, probed_from, probed_to)


def _row_of(instance: Instance) -> Row:
    return Row(
        state=State(instance.state),
        want=Want(instance.want),
        boot_generation=instance.boot_generation,
        was_usable=instance.usable_at is not None,
        state_since=instance.state_since,
        give_up_at=instance.give_up_at,
    )


def _observe(backend: ProvisioningBackend, instance: Instance, machine: Machine | None) -> Observed:
    if machine is None:
        return Observed(Seen.MISSING)
    seen = Seen(machine.status.value)
    is_wanted = seen is Seen.RUNNING and instance.want == Want.RUNNING
    return Observed(seen, machine.generation, is_wanted and backend.probe(machine), machine.reason)


def _ask(backend: ProvisioningBackend, instance: Instance, step: Step) -> Machine | None:
    """Ask the engine for the step's action; return the machine where the engine answers with one."""
    name = instance.engine_name
    crashpoint(f"reconcile_before_{step.action}")
    machine = None
    match step.action:
        case Action.LAUNCH:
            machine = backend.launch(
                MachineSpec(
                    name=name,
                    generation=instance.boot_generation,
                    instance_type=instance.instance_type.name,
                    image=instance.image.name,
                    authorized_keys=tuple(instance.authorized_keys),
                    user_data=instance.user_data,
                )
            )
        case Action.START:
            backend.start(name, generation=instance.boot_generation)
        case Action.STOP:
            backend.stop(name, generation=instance.generation)
        case Action.TERMINATE:
            backend.terminate(name)
    crashpoint(f"reconcile_after_{step.action}")
    return machine


def _after_refusal(instance: Instance, step: Step, error: Refused) -> Step:
    if step.action is Action.LAUNCH:
        return Step(Action.NOTHING, State.FAILED, reason=str(error))
    return Step(Action.NOTHING, State(instance.state), Billing.KEEP)


@transaction.atomic
def _write(claimed: Instance, outcome: Outcome, now: datetime) -> datetime | None:
    """Write what came of a step, unless the row has moved on; return when the next look is due."""
    instance = Instance.objects.select_for_update().get(pk=claimed.pk)
    if instance.lease_until != claimed.lease_until:
        return None
    instance.lease_until = None
    if instance.generation == claimed.generation:
        _apply(instance, outcome, now)
        instance.next_check_at = _next_look(instance, outcome.step, now)
    instance.save()
    return instance.next_check_at


def _apply(instance: Instance, outcome: Outcome, now: datetime) -> None:
    step, machine = outcome.step, outcome.machine
    if machine is not None:
        instance.host, instance.port = machine.host, machine.port
    if step.frees_unit:
        give_back_unit(instance)
    if step.state is State.FAILED and instance.state != State.FAILED:
        fail_instance(instance, step.reason, now=now)
        return
    if step.state is State.TERMINATED:
        instance.ended_at = now
    if _settle(instance, outcome, now) and step.state != instance.state:
        enter_state(instance, step.state, _sentence(step.state), now=now)


def _settle(instance: Instance, outcome: Outcome, now: datetime) -> bool:
    """Bring the healthy interval up to what was seen; False when the instance was stopped for want of budget."""
    match outcome.step.billing:
        case Billing.RUN:
            return _bill(instance, outcome, now)
        case Billing.END:
            end_where_confirmed(instance, now=now)
        case Billing.KEEP:
            end_if_unconfirmed(instance, now=now)
    return True


def _bill(instance: Instance, outcome: Outcome, now: datetime) -> bool:
    if instance.usable_at is None:
        instance.usable_at = outcome.probed_to
    confirm_healthy(instance, probed_from=outcome.probed_from, probed_to=outcome.probed_to)
    if renew_lease(instance, now=now):
        return True
    if instance.state != State.ACTIVE:
        enter_state(instance, State.ACTIVE, _sentence(State.ACTIVE), now=now)
    end_at_request(instance, now=now)
    accept_stop(instance, _("Stopped: the budget has no room for the next minutes. The disk is kept."), now=now)
    return False


def _next_look(instance: Instance, step: Step, now: datetime) -> datetime | None:
    state = State(instance.state)
    if step.billing is Billing.KEEP:
        return now + WHILE_UNHEALTHY
    if step.frees_unit:
        return None
    if state is State.ACTIVE:
        return now + WHILE_ACTIVE
    if state is State.UNHEALTHY:
        return now + WHILE_UNHEALTHY
    is_waiting = step.action is Action.NOTHING and step.billing is not Billing.RUN
    return now + min(WHILE_WAITING, max(SOONEST, (now - instance.state_since) / 2)) if is_waiting else now


def _sentence(state: State) -> str:
    sentences = {
        State.PROVISIONING: _("The instance is being made."),
        State.BOOTING: _("The instance is booting."),
        State.ACTIVE: _("The instance answers. Billing runs, second by second."),
        State.UNHEALTHY: _("The instance does not answer. Billing is paused; we keep trying."),
        State.STOPPING: _("The instance is being stopped."),
        State.STOPPED: _("The instance has stopped. Nothing is billed."),
        State.TERMINATING: _("The instance is being removed."),
        State.TERMINATED: _("The instance and its disk are gone."),
    }
    return sentences.get(state) or str(STATE_LABELS[state])


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep over an engine found: machines ended, rows woken, machines of somebody else."""

    ended: int
    woken: int
    foreign: int


def sweep_engine(*, backend: ProvisioningBackend, clock: Clock) -> Swept:
    """End every machine with our tag that no row wants, and wake rows whose machine runs though it should rest.

    Machines without our tag are logged and never touched. For the platform role. Raises TryAgain when the engine
    does not answer.
    """
    # The list comes first: a machine in it has a row that was committed before it was launched.
    machines = backend.list_instances()
    holding = Instance.objects.living() | Instance.objects.filter(holds_unit=True)
    rows = {instance.engine_name: instance for instance in holding.order_by()}
    ended = woken = foreign = 0
    for machine in machines:
        row = rows.get(machine.name)
        if not machine.is_ours:
            foreign += 1
            log.warning("compute.orphans.foreign", machine=machine.name)
        elif row is None:
            log.warning("compute.orphans.ended", machine=machine.name)
            backend.terminate(machine.name)
            ended += 1
        elif row.state == State.STOPPED and machine.status is not MachineStatus.STOPPED:
            woken += _wake(row, clock())
    return Swept(ended, woken, foreign)


@transaction.atomic
def _wake(row: Instance, now: datetime) -> int:
    woken = Instance.objects.filter(pk=row.pk, generation=row.generation, next_check_at=None).update(next_check_at=now)
    if woken:
        enqueue("compute.reconcile_instance", instance_id=row.pk)
    return woken
