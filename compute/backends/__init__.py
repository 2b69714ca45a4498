"""Provisioning engines: where machines really run. Each pool names its backend; settings name its maker."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import import_module
from typing import Protocol


class Refused(Exception):
    """The engine will not do it, now or later. `str(error)` is a sentence that may be shown to the customer."""


class TryAgain(Exception):
    """The engine did not answer, or not in time: nobody knows whether it did what was asked."""


class MachineStatus(StrEnum):
    STARTING = "starting"
    RUNNING = "running"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """What to launch.

    name: portal.lib.public_ids.engine_name of the instance; the same name is always the same machine.
    generation: of the boot that is wanted.
    authorized_keys: exactly the public keys that may log in, one line each.
    """

    name: str
    generation: int
    instance_type: str
    image: str
    authorized_keys: tuple[str, ...]
    user_data: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """What an engine says of one of its machines.

    generation: of its last boot. is_ours: whether it carries our tag; a machine without it is never touched.
    host, port: where its SSH server listens; empty while unknown.
    """

    name: str
    status: MachineStatus
    generation: int = 0
    is_ours: bool = True
    host: str = ""
    port: int | None = None
    reason: str = ""


class ProvisioningBackend(Protocol):
    """One engine. Every call may be repeated, by name, with no other effect than the first; all may raise TryAgain."""

    def launch(self, spec: MachineSpec) -> Machine:
        """Make the machine and boot it; a machine of that name that is there already is returned as it is.

        Raises Refused when this engine will never run such a machine.
        """
        ...

    def describe(self, name: str) -> Machine | None:
        """Return the machine, or None when the engine knows none of that name."""
        ...

    def list_instances(self) -> list[Machine]:
        """Return every machine, those without our tag too, in the order of their names."""
        ...

    def start(self, name: str, *, generation: int) -> None:
        """Boot a stopped machine as `generation`; does nothing when it runs or has booted a later one.

        Raises Refused when there is no such machine.
        """
        ...

    def stop(self, name: str, *, generation: int) -> None:
        """Stop a machine and keep its disk; does nothing for a boot later than `generation`, or no machine."""
        ...

    def terminate(self, name: str) -> None:
        """End a machine and remove its disk; does nothing when there is none."""
        ...

    def probe(self, machine: Machine) -> bool:
        """Return whether a customer could log in now: its SSH server answers."""
        ...


@cache
def load_backend(maker: str) -> ProvisioningBackend:
    """Return the engine that the dotted path `maker` makes, one per process."""
    module, _, name = maker.rpartition(".")
    make: Callable[[], ProvisioningBackend] = getattr(import_module(module), name)
    return make()
