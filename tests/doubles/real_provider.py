"""A real OpenID Connect provider, oidc-provider-mock, in a process of its own: the standard as others read it."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from dev.services import free_port

START_SECONDS = 30


@contextmanager
def running_real_provider(log: Path, *people: dict[str, Any]) -> Iterator[str]:
    """Run the provider for people with these claims (sub, email) and yield its issuer. log: where its output goes."""
    port = free_port()
    issuer = f"http://127.0.0.1:{port}"
    claims = [part for person in people for part in ("--user-claims", json.dumps(person))]
    command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(port), *claims]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        wait_for(process, f"{issuer}/.well-known/openid-configuration", log)
        yield issuer
    finally:
        process.terminate()
        process.wait(START_SECONDS)


def wait_for(process: "subprocess.Popen[bytes]", address: str, log: Path) -> None:
    """Return once a provider answers at an address of its own."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            urlopen(address, timeout=5).close()
        except (URLError, ConnectionError):
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"the provider did not start: {log.read_text()}")
