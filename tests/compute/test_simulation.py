"""One seed is one world: reconcilers that die, answers that get lost, jobs that come twice, a clock that is ours.

The world runs the production `decide` (compute/reconcile.py) against a model of the database's row and the
engine double of the backends' conformance suite. A handler is a generator: each `yield` is where the process may
be killed and where others run in between. Faults stop at half time; then everything must come to rest.

Which rule keeps which invariant is itself tested: a mutant takes one rule away and must be caught.
"""

import heapq
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random

import pytest

from compute.backends import Machine, MachineSpec, MachineStatus, Refused, TryAgain
from compute.reconcile import (
    FINAL,
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
from tests.doubles.engine import EngineDouble

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
FAULTS_END = 1_800.0
END = 4_200.0
CLAIM = 90.0
SWEEP, ORPHANS = 5.0, 60.0
SEEDS = 20_000 if os.environ.get("PROVE") else 2_000


class Killed(Exception):
    """kill -9 between two statements."""


@dataclass
class Interval:
    start: float
    generation: int
    end: float | None = None


@dataclass
class Instance:
    """The row, and the facts that hang from it."""

    name: str
    state: State = State.QUEUED
    state_since: float = 0.0
    want: Want = Want.RUNNING
    generation: int = 1
    boot_generation: int = 1
    was_usable: bool = False
    give_up_at: float = 0.0
    holds_unit: bool = True
    next_check_at: float | None = 0.0
    lease_until: float = 0.0
    intervals: list[Interval] = field(default_factory=list)
    units_given_back: int = 0
    # When each stop or end was accepted, to compare with what was billed.
    accepted: list[tuple[float, float]] = field(default_factory=list)

    def row(self) -> Row:
        return Row(
            self.state,
            self.want,
            self.boot_generation,
            self.was_usable,
            at(self.state_since),
            at(self.give_up_at),
        )

    @property
    def open_interval(self) -> Interval | None:
        return self.intervals[-1] if self.intervals and self.intervals[-1].end is None else None


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


class World:
    """The queue of what happens next, the rows, the engine, and what has been found wrong."""

    def __init__(self, seed: int, mutant: str = "") -> None:
        self.random = Random(seed)
        self.mutant = mutant
        self.now = 0.0
        self.queue: list[tuple[float, int, Callable[[], None]]] = []
        self.numbers = count()
        self.engine = EngineDouble(fault=self.fault)
        self.rows: dict[str, Instance] = {}
        self.wrong: list[str] = []
        self.is_calm = False

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(self.queue, (self.now + seconds, next(self.numbers), what))

    def fault(self, moment: str) -> None:
        if not self.is_calm and self.random.random() < 0.06:
            raise TryAgain(moment)

    # --- the broker and the workers ---

    def enqueue(self, name: str) -> None:
        """At least once, in any order, now and then never: jobs are hints."""
        if not self.is_calm and self.random.random() < 0.1:
            return
        for _ in range(2 if self.random.random() < 0.1 else 1):
            self.after(self.random.uniform(0, 5), lambda: self.work(self.reconcile(name)))

    def work(self, handler: Iterator[None]) -> None:
        try:
            next(handler)
            if not self.is_calm and self.random.random() < 0.04:
                raise Killed
        except (StopIteration, Killed):
            return
        # A stalled worker may come back long after its claim has ended.
        delay = self.random.uniform(60, 300) if self.random.random() < 0.03 else self.random.expovariate(2)
        self.after(delay, lambda: self.work(handler))

    # --- compute.services.reconciliation, as a model ---

    def reconcile(self, name: str) -> Iterator[None]:
        instance = self.rows[name]
        if instance.next_check_at is None or instance.next_check_at > self.now or instance.lease_until > self.now:
            return
        instance.lease_until = claim = self.now + CLAIM
        generation, row, seen_from = instance.generation, instance.row(), self.now
        yield
        observed = self.observe(instance)
        yield
        step = decide(row, observed, at(seen_from))
        # What the statement before the engine's call read; the call itself may come much later.
        boot_generation = instance.boot_generation if generation == instance.generation else row.boot_generation
        yield
        try:
            self.ask(instance, step, boot_generation, generation)
        except (TryAgain, Refused):
            step = Step(step.action, row.state, Billing.KEEP)
        yield
        if instance.lease_until != claim and self.mutant != "nocas":
            return
        instance.lease_until = 0.0
        if instance.generation != generation and self.mutant != "nocas":
            return
        self.write(instance, step, generation)

    def observe(self, instance: Instance) -> Observed:
        try:
            machine = self.engine.describe(instance.name)
        except TryAgain:
            return Observed(Seen.UNKNOWN)
        if machine is None:
            return Observed(Seen.MISSING)
        is_deaf = not self.is_calm and self.random.random() < 0.05
        return Observed(Seen(machine.status.value), machine.generation, self.engine.probe(machine) and not is_deaf)

    def ask(self, instance: Instance, step: Step, boot_generation: int, generation: int) -> None:
        match step.action:
            case Action.LAUNCH:
                self.engine.launch(
                    MachineSpec(self.name_for_launch(instance), boot_generation, "type", "image", ("key",))
                )
            case Action.START:
                self.engine.start(instance.name, generation=boot_generation)
            case Action.STOP:
                self.engine.stop(instance.name, generation=generation)
            case Action.TERMINATE:
                self.engine.terminate(instance.name)

    def name_for_launch(self, instance: Instance) -> str:
        # Without the name as the token of idempotency, a repeated launch is another machine with our tag.
        is_another = self.mutant == "notoken" and instance.name in self.engine.machines
        return f"{instance.name}-{next(self.numbers)}" if is_another else instance.name

    def write(self, instance: Instance, step: Step, generation: int) -> None:
        if step.state is not instance.state:
            if step.state not in TRANSITIONS[instance.state] and self.mutant != "nocas":
                self.wrong.append("arrow")
            instance.state, instance.state_since = step.state, self.now
        if step.frees_unit and instance.holds_unit:
            instance.holds_unit = False
            instance.units_given_back += 1
        if step.state is State.FAILED and instance.want is not Want.TERMINATED:
            self.accept(instance, Want.TERMINATED)
        if step.billing is Billing.RUN:
            instance.was_usable = True
            self.bill(instance, generation)
        elif step.billing is Billing.END:
            self.end_interval(instance)
        is_done = step.frees_unit
        instance.next_check_at = None if is_done else self.now + (2 if step.action is Action.NOTHING else 0)

    def bill(self, instance: Instance, generation: int) -> None:
        if instance.want is not Want.RUNNING:
            self.wrong.append("billed after the stop")
        machine = self.engine.machines.get(instance.name)
        if instance.open_interval is None or self.mutant == "nouniq":
            instance.intervals.append(Interval(self.now, generation))
        if machine is None and self.mutant != "notoken" and self.is_calm:
            self.wrong.append("billed without a machine")

    def end_interval(self, instance: Instance) -> None:
        if instance.open_interval is not None:
            instance.open_interval.end = self.now

    # --- the customer ---

    def accept(self, instance: Instance, want: Want, *, boots: bool = False) -> None:
        if want is not Want.RUNNING or boots:
            self.end_interval(instance)
        instance.want = want
        instance.generation += 1
        if boots:
            instance.boot_generation = instance.generation
            instance.give_up_at = self.now + 600
        instance.next_check_at = self.now
        self.enqueue(instance.name)

    def launch(self, name: str) -> None:
        self.rows[name] = Instance(name, state_since=self.now, give_up_at=self.now + 600, next_check_at=self.now)
        self.enqueue(name)

    def act(self, name: str) -> None:
        """Press a button at random, as far as the page would offer it."""
        instance = self.rows.get(name)
        if instance is None or instance.want is Want.TERMINATED:
            return
        match self.random.choice(["stop", "start", "restart", "terminate"]):
            case "stop" if instance.want is Want.RUNNING and instance.state in {State.ACTIVE, State.UNHEALTHY}:
                instance.state, instance.state_since = State.STOPPING, self.now
                self.accept(instance, Want.STOPPED)
            case "start" if instance.state is State.STOPPED and instance.want is Want.STOPPED:
                instance.holds_unit = True
                instance.units_given_back -= 1 if instance.units_given_back else 0
                instance.state, instance.state_since = State.BOOTING, self.now
                self.accept(instance, Want.RUNNING, boots=True)
            case "restart" if instance.want is Want.RUNNING and instance.state in {State.ACTIVE, State.UNHEALTHY}:
                instance.state, instance.state_since = State.BOOTING, self.now
                self.accept(instance, Want.RUNNING, boots=True)
            case "terminate":
                instance.state, instance.state_since = State.TERMINATING, self.now
                self.accept(instance, Want.TERMINATED)

    # --- the sweeps ---

    def sweep(self) -> None:
        for instance in self.rows.values():
            if instance.next_check_at is not None and instance.next_check_at <= self.now >= instance.lease_until:
                self.enqueue(instance.name)
        self.after(SWEEP, self.sweep)

    def sweep_orphans(self) -> None:
        try:
            machines = self.engine.list_instances()
            for machine in machines:
                self.judge(machine)
        except TryAgain:
            pass
        self.after(ORPHANS, self.sweep_orphans)

    def judge(self, machine: Machine) -> None:
        tag = "-".join(machine.name.split("-")[:2]) if self.mutant == "notoken" else machine.name
        row = self.rows.get(tag)
        if row is None or (row.state in FINAL and not row.holds_unit):
            self.engine.terminate(machine.name)
        elif row.state is State.STOPPED and machine.status is not MachineStatus.STOPPED and row.next_check_at is None:
            row.next_check_at = self.now
            self.enqueue(row.name)

    def crash_of_machine(self, name: str) -> None:
        """The machine itself stops, as machines do."""
        machine = self.engine.machines.get(name)
        if machine is not None and not self.is_calm:
            self.engine.machines[name] = Machine(name, MachineStatus.STOPPED, machine.generation)

    # --- the run ---

    def run(self) -> list[str]:
        for number in range(self.random.randint(1, 4)):
            self.live(f"inst-{number}")
        if self.mutant != "nosweep":
            self.after(SWEEP, self.sweep)
        if self.mutant != "noorphan":
            self.after(ORPHANS, self.sweep_orphans)
        while self.queue:
            self.now, _, what = heapq.heappop(self.queue)
            if self.now > END:
                break
            self.is_calm = self.now > FAULTS_END
            what()
            self.check()
        self.check_rest()
        return self.wrong

    def live(self, name: str) -> None:
        begin = self.random.uniform(0, 200)
        self.after(begin, lambda: self.launch(name))
        for _ in range(self.random.randint(0, 6)):
            self.after(begin + self.random.uniform(0.1, 1_400), lambda: self.act(name))
        if self.random.random() < 0.3:
            self.after(begin + self.random.uniform(1, 1_400), lambda: self.crash_of_machine(name))

    def check(self) -> None:
        for instance in self.rows.values():
            if len([interval for interval in instance.intervals if interval.end is None]) > 1:
                self.wrong.append("double billed")
            if instance.want is not Want.RUNNING and instance.open_interval is not None:
                self.wrong.append("billed after the stop")
            if instance.units_given_back > 1:
                self.wrong.append("unit given back twice")

    def check_rest(self) -> None:
        """Faults ended long ago: what is billed runs, what runs is billed, and nothing else is there."""
        for instance in self.rows.values():
            machine = self.engine.machines.get(instance.name)
            runs = machine is not None and machine.status is MachineStatus.RUNNING
            match instance.want:
                case Want.RUNNING if instance.state is not State.ACTIVE or not runs or instance.open_interval is None:
                    self.wrong.append("missing")
                case Want.STOPPED if instance.state is not State.STOPPED or runs or instance.holds_unit:
                    self.wrong.append("not stopped")
                case Want.TERMINATED if instance.state not in FINAL or machine is not None or instance.holds_unit:
                    self.wrong.append("not ended")
        if set(self.engine.machines) - set(self.rows):
            self.wrong.append("orphan")


def worlds_gone_wrong(seeds: range, mutant: str = "") -> Iterator[tuple[int, list[str]]]:
    for seed in seeds:
        wrong = World(seed, mutant).run()
        if wrong:
            yield seed, sorted(set(wrong))


def test_comes_to_rest_in_every_world():
    assert list(worlds_gone_wrong(range(SEEDS))) == []


@pytest.mark.parametrize("mutant", ["notoken", "nocas", "nouniq", "nosweep", "noorphan"])
def test_notices_when_a_rule_is_taken_away(mutant):
    found = next(worlds_gone_wrong(range(2_000), mutant), None)

    assert found is not None, f"the mutant {mutant} lives"
