"""What the gateway costs between a client and a model: requests and streams per core, CPU per request, added delay.

One gateway process on a core of its own, against the demonstration server asked directly in the same run; all else
shares the other cores. Keys, budget, rate limits, receipts and logs are on. The load is made by `wrk`, which asks
the demonstration server several times faster than the gateway answers, so it is not what is measured.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil

from bench import database
from bench.tables import print_table
from dev.paths import ROOT
from dev.services import free_port

CONNECTIONS = 16
SECONDS = 6
CHUNKS = 50
# Every key may burst 6,000 requests: a run stays below what this many may.
KEYS = 24

# wrk asks with one key after the other, and says in microseconds how long answers took.
_SCRIPT = """
local requests, turn = {}, 0
function init(args)
  for key in string.gmatch("%(keys)s", "[^ ]+") do
    local headers = {["authorization"] = "Bearer " .. key, ["content-type"] = "application/json"}
    table.insert(requests, wrk.format("POST", "/v1/chat/completions", headers, [==[%(body)s]==]))
  end
end
function request() turn = turn %% #requests + 1; return requests[turn] end
function done(summary, latency, _)
  local errors = summary.errors
  local bad = errors.status + errors.connect + errors.read + errors.write + errors.timeout
  print(string.format("RESULT %%d %%d %%d %%d %%d", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), bad))
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of wrk saw; times in microseconds."""

    requests: int
    duration: int
    median: int
    slowest: int
    failures: int

    @property
    def per_second(self) -> float:
        return self.requests * 1_000_000 / self.duration


def main() -> None:
    if shutil.which("wrk") is None:
        print("Needs wrk: apt install wrk.")
        return
    os.environ["STARTER_CREDIT_USD"] = "1000000"
    services = database.start()
    try:
        others = set(range(1, psutil.cpu_count() or 1)) or {0}
        with tempfile.TemporaryDirectory() as folder, served(_upstream(), others) as (upstream, _):
            keys = _load(upstream)
            with served(gateway_command(), {0}) as (gateway, process):
                _measure(Path(folder), upstream, gateway, keys, process)
    finally:
        database.stop(*services)


def _measure(folder: Path, upstream: str, gateway: str, keys: Sequence[str], process: psutil.Process) -> None:
    def ask(url: str, *, connections: int, is_stream: bool = False, seconds: int = SECONDS) -> Load:
        return _wrk(
            folder,
            url,
            [os.environ["MODEL_UPSTREAM_KEY"]] if url == upstream else keys,
            connections,
            seconds,
            is_stream=is_stream,
        )

    ask(gateway, connections=CONNECTIONS, seconds=1)
    rows: list[tuple[object, ...]] = []
    for what, connections, is_stream in (
        ("answers", CONNECTIONS, False),
        ("answers, one at a time", 1, False),
        (f"streams of {CHUNKS} chunks", CONNECTIONS, True),
    ):
        direct = ask(upstream, connections=connections, is_stream=is_stream)
        before = sum(process.cpu_times()[:2])
        through = ask(gateway, connections=connections, is_stream=is_stream)
        cpu_ms = (sum(process.cpu_times()[:2]) - before) * 1000 / through.requests
        rows.append(
            (
                what,
                f"{direct.per_second:.0f}/s",
                f"{through.per_second:.0f}/s",
                f"{cpu_ms:.2f} ms",
                f"{1000 / cpu_ms:.0f}/s",
                f"{(through.median - direct.median) / 1000:.1f} ms",
                f"{(through.slowest - direct.slowest) / 1000:.1f} ms",
                direct.failures + through.failures,
            )
        )
    print_table(("what", "direct", "gateway", "CPU each", "per full core", "added p50", "added p99", "failures"), rows)
    print(f"\nmemory of the gateway process: {process.memory_info().rss / 1024 / 1024:.0f} MiB")


def _wrk(folder: Path, url: str, keys: Sequence[str], connections: int, seconds: int, *, is_stream: bool) -> Load:
    body = {
        "model": "bench-chat",
        "messages": [{"role": "user", "content": "How much does a gateway cost between us?"}],
        "max_tokens": CHUNKS,
        "stream": is_stream,
    }
    script = folder / "ask.lua"
    script.write_text(_SCRIPT % {"keys": " ".join(keys), "body": msgspec.json.encode(body).decode()})
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), url]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    line = next(line for line in said.splitlines() if line.startswith("RESULT"))
    return Load(*map(int, line.split()[1:]))


def _load(upstream: str) -> list[str]:
    """Make a model that the demonstration server serves, and an organization with keys; return their secrets."""
    from datetime import UTC, datetime  # noqa: PLC0415

    from inference.models import Deployment  # noqa: PLC0415
    from portal.lib.tenancy import as_platform  # noqa: PLC0415
    from tests.factories.accounts import make_key, make_organization  # noqa: PLC0415  # Django is set up by now
    from tests.factories.catalog import make_region, make_served_model  # noqa: PLC0415

    now = datetime.now(UTC)
    with as_platform():
        Deployment.objects.create(
            served_model=make_served_model("bench-chat", price_nano=1_000_000_000),
            region=make_region(),
            base_url=upstream,
            created_at=now,
        )
        project = make_organization().projects.in_order()[0]
        return [make_key(project, now=now).secret for _ in range(KEYS)]


def _upstream() -> list[str]:
    return ["inference.demo_upstream"]


def gateway_command() -> list[str]:
    return ["uvicorn", "portal.asgi:application", "--no-proxy-headers", "--no-access-log"]


@contextmanager
def served(module: list[str], cores: set[int]) -> Iterator[tuple[str, psutil.Process]]:
    """Run a server until the block ends; yields its address. cores: numbers of those that it has, empty for all."""
    port = free_port()
    command = [sys.executable, "-m", *module, "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        process = psutil.Process(server.pid)
        if cores:
            process.cpu_affinity(sorted(cores))
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_for(f"{url}/healthz")
            yield url, process
        finally:
            server.terminate()


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310  # an address of our own
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
