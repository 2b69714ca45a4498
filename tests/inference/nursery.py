"""A process with the portal loaded that forks the workers which test_cap_under_fire.py kills: they begin at once.

It reads `kind number` lines and answers each with a JSON line that has the worker's process id; workers write lines of
their own. A killed worker leaves nothing behind: it is waited for by nobody.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import django

django.setup()

import uvicorn  # noqa: E402  # Django's apps must be loaded before our models
from django.db import transaction  # noqa: E402

from accounts.models import Organization, Project  # noqa: E402
from billing.models import Reservation, SpendCap  # noqa: E402
from billing.services.credits import lock_cap  # noqa: E402
from billing.services.limits import Payer  # noqa: E402
from billing.services.reported import UsageReport  # noqa: E402
from billing.services.reservations import (  # noqa: E402
    BudgetExceeded,
    ReservationEnded,
    extend,
    release,
    reserve,
)
from billing.services.usage import UsageRecord, record_usage  # noqa: E402
from billing.services.usage_reports import report_usage  # noqa: E402
from portal.asgi import application  # noqa: E402
from portal.lib.money import NANO_PER_CENT  # noqa: E402
from portal.lib.tenancy import as_platform, set_organization  # noqa: E402
from tests.inference.fire_prices import NANO_PER_SECOND, SECONDS_SKU, TOKENS_SKU  # noqa: E402

HOLD = timedelta(seconds=4)


def say(**told: Any) -> None:
    # In one write, so that lines of several processes are not mixed.
    os.write(1, json.dumps(told).encode() + b"\n")


def serve(port: int) -> None:
    uvicorn.run(application, port=port, proxy_headers=False, log_config=None, timeout_graceful_shutdown=5)


def lease(number: int) -> None:
    """Live as an instance does: hold budget, use of it, hold more, give it back or forget it; for ever."""
    random, organization_id = Random(number), int(os.environ["ORGANIZATION"])
    project_id, count = int(os.environ["PROJECT"]), 0
    while True:
        count += 1
        holder = f"inst_{number}_{os.getpid()}_{count}"
        with transaction.atomic():
            set_organization(organization_id)
            held = hold(Payer(organization_id, project_id), holder, random.randint(5, 120) * NANO_PER_CENT)
        if held is None:
            continue
        for _ in range(random.randint(0, 2)):
            with transaction.atomic():
                set_organization(organization_id)
                random.choice((use, renew))(held, random)
        if random.random() < 0.7:
            with transaction.atomic():
                set_organization(organization_id)
                release(reservation_id=held.pk, now=datetime.now(UTC))
            say(kind="released")


def hold(payer: Payer, holder: str, amount_nano: int) -> Reservation | None:
    now = datetime.now(UTC)
    # Locked until the end of the transaction: what is refused can be checked against the room that there is.
    cap = lock_cap(organization_id=payer.organization_id, now=now)
    try:
        with transaction.atomic():
            held = reserve(
                payer=payer,
                purpose=Reservation.Purpose.INSTANCE_LEASE,
                holder=holder,
                amount_nano=amount_nano,
                now=now,
                expires_at=now + HOLD,
            )
    except BudgetExceeded:
        room_nano = SpendCap.objects.get(pk=cap.pk).remaining_nano
        say(kind="refused", rightly=room_nano < amount_nano)
        return None
    say(kind="held")
    return held


def use(held: Reservation, random: Random) -> None:
    """At times a little more than is held."""
    now = datetime.now(UTC)
    seconds = held.amount_nano * random.randint(10, 110) // 100 // NANO_PER_SECOND
    record = UsageRecord(
        event_id=uuid5(NAMESPACE_URL, f"{held.public_id} {now.isoformat()}"),
        occurred_at=now,
        organization_id=held.organization_id,
        project_id=held.project_id,
        sku=SECONDS_SKU,
        quantity=max(seconds, 1),
        resource_id=held.holder,
        api_key_id=None,
        user_id=None,
    )
    record_usage([record], reservation_id=held.pk, now=now)
    say(kind="used")


def renew(held: Reservation, random: Random) -> None:
    now = datetime.now(UTC)
    more_nano = random.randint(0, 20) * NANO_PER_CENT
    try:
        with transaction.atomic():
            extend(reservation_id=held.pk, additional_nano=more_nano, now=now, expires_at=now + HOLD)
    except (BudgetExceeded, ReservationEnded):
        say(kind="not renewed")
    else:
        say(kind="renewed")


def report(number: int) -> None:
    """Report usage from outside, in calls of three events; whoever begins again reports from the first one on."""
    now = datetime.fromisoformat(os.environ["BEGAN_AT"])
    with as_platform():
        organization = Organization.objects.get(pk=os.environ["ORGANIZATION"])
        project = Project.objects.get(pk=os.environ["PROJECT"])
        for call in range(int(os.environ["CALLS"])):
            reports = [
                UsageReport(
                    event_id=uuid5(NAMESPACE_URL, f"reporter {number} call {call} event {event}"),
                    occurred_at=now,
                    organization=organization.public_id,
                    project=project.public_id,
                    sku=TOKENS_SKU,
                    quantity=10 * (1 + call + event),
                    resource_id="outside",
                )
                for event in range(3)
            ]
            outcomes = {answer.outcome.value for answer in report_usage(reports, now=datetime.now(UTC))}
            say(kind="reported", rightly=outcomes in ({"counted"}, {"duplicate"}))
    say(kind="finished", number=number)


WORKERS: Mapping[str, Callable[[int], None]] = {"gateway": serve, "lease": lease, "report": report}


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in iter(sys.stdin.readline, ""):
        kind, number = line.split()
        if (pid := os.fork()) == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            with open(os.devnull) as nothing:
                os.dup2(nothing.fileno(), 0)
            try:
                WORKERS[kind](int(number))
            finally:
                os._exit(0)
        say(kind="begun", pid=pid)


if __name__ == "__main__":
    main()
