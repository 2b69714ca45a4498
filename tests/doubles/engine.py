"""A provisioning engine in memory, held to the same conformance suite as the real ones; it fails when told to."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from compute.backends import Machine, MachineSpec, MachineStatus, Refused


def _no_fault(moment: str) -> None:
    pass


@dataclass
class EngineDouble:
    """Machines boot at once, or after `looks_to_boot` looks at them.

    fault: called with "before launch", "after launch" and so on; what it raises is what the caller sees, and
    "after" means that the engine has done it.
    """

    fault: Callable[[str], None] = _no_fault
    looks_to_boot: int = 0
    machines: dict[str, Machine] = field(default_factory=dict)
    looks: dict[str, int] = field(default_factory=dict)
    deaf: set[str] = field(default_factory=set)
    launches: int = 0

    def launch(self, spec: MachineSpec) -> Machine:
        self.fault("before launch")
        if not spec.authorized_keys:
            raise Refused("The instance has no SSH key, so nobody could log in.")
        if spec.name not in self.machines:
            self.launches += 1
            self._boot(Machine(spec.name, MachineStatus.STARTING, spec.generation, host="192.0.2.1", port=22))
        self.fault("after launch")
        return self._look(spec.name)

    def describe(self, name: str) -> Machine | None:
        self.fault("before describe")
        return self._look(name) if name in self.machines and self.machines[name].is_ours else None

    def list_instances(self) -> list[Machine]:
        self.fault("before list")
        return [self._look(name) for name in sorted(self.machines)]

    def start(self, name: str, *, generation: int) -> None:
        self.fault("before start")
        machine = self.machines.get(name)
        if machine is None:
            raise Refused("The instance is gone.")
        is_off = machine.status in {MachineStatus.STOPPED, MachineStatus.FAILED}
        if is_off and machine.generation <= generation:
            self._boot(replace(machine, status=MachineStatus.STARTING, generation=generation))
        self.fault("after start")

    def stop(self, name: str, *, generation: int) -> None:
        self.fault("before stop")
        machine = self.machines.get(name)
        if machine is not None and machine.generation <= generation:
            self.machines[name] = replace(machine, status=MachineStatus.STOPPED)
        self.fault("after stop")

    def terminate(self, name: str) -> None:
        self.fault("before terminate")
        if name in self.machines and self.machines[name].is_ours:
            del self.machines[name]
        self.fault("after terminate")

    def probe(self, machine: Machine) -> bool:
        return machine.status is MachineStatus.RUNNING and machine.name not in self.deaf

    def _boot(self, machine: Machine) -> None:
        self.machines[machine.name] = machine
        self.looks[machine.name] = self.looks_to_boot

    def _look(self, name: str) -> Machine:
        machine = self.machines[name]
        if machine.status is MachineStatus.STARTING:
            if self.looks[name] <= 0:
                self.machines[name] = machine = replace(machine, status=MachineStatus.RUNNING)
            self.looks[name] -= 1
        return machine


def make_backend() -> EngineDouble:
    return EngineDouble()
