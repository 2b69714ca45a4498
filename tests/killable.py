"""Processes of the portal that a test may kill, forked from one that has imported everything.

To start Python for each takes seconds of a processor. The one that forks connects to nothing, so nothing is shared.
"""

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from dev.paths import ROOT

LONGEST_SECONDS = 120

_FORKING = """
import gc
import json
import os
import sys
import traceback

import django

django.setup()
import billing.tasks
import billing.webhooks

# What a job is sent through is imported when the first one is.
import celery.app.amqp
import celery.app.events
import celery.backends.base
import celery.events
import kombu.transport.redis


def work(asked):
    os.dup2(2, 1)  # what it prints is no answer of ours
    os.environ["CRASH_AT"] = asked["crash_at"]
    sys.argv = ["-c", *asked["arguments"]]
    try:
        exec(compile(asked["script"], "script of a test", "exec"), {"__name__": "__main__"})
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


# What is there by now is looked through by no child, and so not copied for it.
gc.freeze()
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        work(json.loads(line))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@dataclass
class Killable:
    """Runs scripts in processes of their own, one after the other, with the environment of the portal they ask for."""

    _forking: dict[tuple[tuple[str, str], ...], subprocess.Popen[str]] = field(default_factory=dict)

    def run(self, environment: Mapping[str, str], script: str, *arguments: str, crash_at: str = "") -> int:
        """Run a script and return how that ended: 0, 1 for an exception, -9 when it was killed at the crashpoint."""
        process = self._process(environment)
        assert process.stdin is not None
        assert process.stdout is not None
        asked = {"script": script, "arguments": arguments, "crash_at": crash_at}
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        is_answered, _, _ = select.select([process.stdout], [], [], LONGEST_SECONDS)
        assert is_answered, "the script hangs"
        return int(process.stdout.readline())

    def end(self) -> None:
        for process in self._forking.values():
            # One that hangs in a child does not read that its input has ended.
            process.kill()
            process.communicate()

    def _process(self, environment: Mapping[str, str]) -> subprocess.Popen[str]:
        key = tuple(sorted(environment.items()))
        if key not in self._forking:
            known = {**os.environ, **environment, "DJANGO_SETTINGS_MODULE": "portal.settings"}
            self._forking[key] = subprocess.Popen(
                [sys.executable, "-c", _FORKING],
                cwd=ROOT,
                env=known,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        return self._forking[key]


@contextmanager
def killable_processes() -> Iterator[Killable]:
    processes = Killable()
    try:
        yield processes
    finally:
        processes.end()
