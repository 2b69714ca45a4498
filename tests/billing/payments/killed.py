"""A portal that sells through a double of Stripe and commits, for tests that kill its processes."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from tests.doubles.provider import selling_through
from tests.doubles.stripe_double import KEY, SIGNING_SECRET, StripeDouble
from tests.killable import Killable
from tests.own_database import SUPERUSER, OwnDatabase


@dataclass
class Portal:
    database: OwnDatabase
    double: StripeDouble
    processes: Killable

    @contextmanager
    def selling(self) -> Iterator[StripeDouble]:
        """Let this process see and make the portal's rows, and the provider begin empty."""
        self.double.control("reset")
        with self.database.in_use(SUPERUSER), selling_through(self.double):
            yield self.double
        assert self.double.look("drift") == []

    def run(self, script: str, now: datetime, *arguments: str) -> None:
        """Run a script in a process of its own, which gets the instant and the arguments, to its end."""
        assert self._run(script, now, *arguments) == 0

    def kill(self, script: str, now: datetime, *arguments: str, at: str) -> None:
        """Run a script in a process that is killed when it comes to a crashpoint."""
        assert self._run(script, now, *arguments, crash_at=at) == -signal.SIGKILL

    def _run(self, script: str, now: datetime, *arguments: str, crash_at: str = "") -> int:
        provider = {
            "STRIPE_SECRET_KEY": KEY,
            "STRIPE_API_URL": self.double.url,
            "STRIPE_WEBHOOK_SECRETS": SIGNING_SECRET,
        }
        known = self.database.environment | provider
        return self.processes.run(known, script, now.isoformat(), *arguments, crash_at=crash_at)
