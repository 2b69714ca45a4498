"""What a gateway does when another process holds the budget: in the order of what happens, on a clock of its own.

Every look for other processes' leases is a place where a test lets something happen, as another process would do it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from accounts.models import Project
from billing.models import Reservation, SpendCap
from billing.services.limits import Payer
from billing.services.reservations import release, reserve
from inference.gateway import budget as module
from inference.gateway.budget import RECALL_SECONDS, Budget
from inference.gateway.database import Database
from inference.gateway.errors import ApiError
from inference.gateway.keys import Caller
from tests.factories.accounts import make_organization
from tests.own_database import SUPERUSER, OwnDatabase

LIMIT_NANO = 600_000
HELD_NANO = 500_000
ASKED_NANO = 400_000


@dataclass
class Clock:
    """Stands still until it is moved."""

    seconds: float = 1_000.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Watched(Database):
    """The gateway's database, which counts the looks for other processes' leases and says so before each."""

    before_look: Callable[[int], object] = lambda number: None
    looks: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        super().__init__()

    async def run[**P, T](self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        if work is module._has_other_leases:
            self.looks += 1
            await super().run(self.before_look, self.looks)
        return await super().run(work, *args, **kwargs)


@dataclass
class Scene:
    """A project of which another process holds most of the budget."""

    project: Project
    other: Reservation

    @property
    def caller(self) -> Caller:
        return Caller(organization_id=self.project.organization_id, project_id=self.project.pk)

    def give_back(self) -> None:
        release(reservation_id=self.other.pk, now=datetime.now(UTC))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "monotonic", clock)
    monkeypatch.setattr(module, "RECALL_LOOK_SECONDS", 0)
    return clock


@pytest.fixture
def scene(own_database: OwnDatabase, clock: Clock) -> Iterator[Scene]:
    with own_database.in_use(SUPERUSER):
        organization = make_organization()
        project = organization.projects.get()
        now = datetime.now(UTC)
        SpendCap.objects.create(
            organization=organization,
            scope=SpendCap.Scope.ORGANIZATION,
            limit_nano=LIMIT_NANO,
            created_at=now,
        )
        other = reserve(
            payer=Payer(organization.pk, project.pk),
            purpose=Reservation.Purpose.GATEWAY_LEASE,
            holder="another process",
            amount_nano=HELD_NANO,
            now=now,
            expires_at=now + timedelta(minutes=1),
        )
        yield Scene(project, other)


async def ask(budget: Budget, scene: Scene) -> str:
    try:
        await budget.hold(scene.caller, ASKED_NANO)
    except ApiError as error:
        return str(error.code)
    return "held"


def run(database: Watched, asking: Callable[[Budget], Awaitable[None]]) -> None:
    async def go() -> None:
        budget = Budget(database)
        await asking(budget)
        await budget.close()

    try:
        asyncio.run(go())
    finally:
        database.close()


def test_looks_once_more_when_it_was_given_back_between_the_refusal_and_the_look(scene: Scene):
    """Then nobody holds anything any more, and the refusal is out of date."""
    database = Watched(before_look=lambda number: scene.give_back())
    answers: list[str] = []

    async def asking(budget: Budget) -> None:
        answers.append(await ask(budget, scene))

    run(database, asking)

    assert answers == ["held"]
    assert database.looks == 1


def test_waits_for_what_another_process_gives_back(scene: Scene):

    def give_back_late(number: int) -> None:
        if number == 3:
            scene.give_back()

    database = Watched(before_look=give_back_late)
    answers: list[str] = []

    async def asking(budget: Budget) -> None:
        answers.append(await ask(budget, scene))

    run(database, asking)

    # Twice it saw that somebody held something, and asked again.
    assert answers == ["held"]
    assert database.looks == 3


def test_refuses_after_one_wait_and_then_at_once_until_as_long_has_passed(scene: Scene, clock: Clock):
    def let_time_pass(number: int) -> None:
        clock.seconds += 1

    database = Watched(before_look=let_time_pass)
    seen: list[tuple[str, int]] = []

    async def asking(budget: Budget) -> None:
        for pause in (0.0, 0.0, 0.0, RECALL_SECONDS):
            clock.seconds += pause
            database.looks = 0
            seen.append((await ask(budget, scene), database.looks))

    run(database, asking)

    # A second passes with each look, and the fifth comes later than anybody may withhold an idle lease.
    waited, at_once = ("budget_exceeded", 5), ("budget_exceeded", 0)
    assert seen == [waited, at_once, at_once, waited]
    assert SpendCap.objects.get().reserved_nano == HELD_NANO
