"""Named points at which a test may kill a process, to prove that dying there harms nothing."""

import os
import signal

from django.conf import settings


def crashpoint(name: str) -> None:
    """Die as of kill -9 when the environment variable CRASH_AT names this point; development only."""
    if settings.DEVELOPMENT and os.environ.get("CRASH_AT") == name:
        os.kill(os.getpid(), signal.SIGKILL)
