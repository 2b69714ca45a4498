"""A real demonstration upstream, and the gateway served by uvicorn on a database of the test's own."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2 as httpx
import openai
import pytest
import uvicorn
from django.conf import settings

from accounts.models import Organization, Project, RateLimit
from accounts.services.api_keys import IssuedKey
from billing.models import SpendCap
from catalog.models import ServedModel
from dev.services import free_port
from inference.gateway.app import GatewayFront
from inference.models import Deployment
from portal.asgi import django_application
from tests.factories.accounts import make_key, make_organization, make_user
from tests.factories.catalog import make_region, make_served_model
from tests.own_database import SUPERUSER, OwnDatabase

ROOT = Path(__file__).resolve().parents[2]
STALLS_AFTER = 3  # tokens


@dataclass
class DemoUpstreamProcess:
    """The demonstration server as a process that a test may kill."""

    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "inference.demo_upstream", "--port", str(self.port), "--faults"]
        environment = {**os.environ, "MODEL_UPSTREAM_KEY": settings.MODEL_UPSTREAM_KEY}
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
        wait_until(self._answers)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz", timeout=1).status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture(scope="session")
def shared_upstream() -> Iterator[DemoUpstreamProcess]:
    upstream = DemoUpstreamProcess()
    upstream.start()
    yield upstream
    upstream.kill()


@pytest.fixture
def mortal_upstream() -> Iterator[DemoUpstreamProcess]:
    """One for this test alone, to be killed in it."""
    upstream = DemoUpstreamProcess()
    upstream.start()
    yield upstream
    upstream.kill()


def wait_until(is_so: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


class ServedGateway:
    """The gateway before Django, on a port of its own, with one organization that may call one model."""

    def __init__(self, upstream_url: str) -> None:
        now = datetime.now(UTC)
        self.owner = make_user("owner@example.com")
        self.organization: Organization = make_organization(owner=self.owner)
        self.project: Project = self.organization.projects.in_order()[0]
        self.key: IssuedKey = make_key(self.project, now=now)
        self.region = make_region()
        self.model: ServedModel = make_served_model("demo-chat", price_nano=1_000_000_000)
        self.embedder = make_served_model("demo-embed", kind=ServedModel.Kind.EMBEDDING, price_nano=50_000_000)
        self.deployment = self.deploy(self.model, upstream_url)
        self.deploy(self.embedder, upstream_url)
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._clients: list[openai.OpenAI] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def deploy(self, model: ServedModel, url: str, **fields: Any) -> Deployment:
        return Deployment.objects.create(
            served_model=model, region=self.region, base_url=url, created_at=datetime.now(UTC), **fields
        )

    def faulty_model(self, name: str, faults: str, upstream_url: str, **fields: Any) -> str:
        """A model whose upstream goes wrong in the named ways; before `start`."""
        self.deploy(make_served_model(name), upstream_url, upstream_model=f"{name}!{faults}", **fields)
        return name

    def start(self) -> None:
        self.port = free_port()
        front = GatewayFront(behind=django_application)
        config = uvicorn.Config(
            front, port=self.port, proxy_headers=False, log_config=None, lifespan="on", timeout_graceful_shutdown=5
        )
        server = self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
        self._thread.start()
        wait_until(lambda: server.started)

    def stop(self) -> None:
        for client in self._clients:
            client.close()
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(20)
            assert not self._thread.is_alive()
            self._server = None

    # Any: the package's types know only OpenAI's own models and fields, and we look at ours too.
    def client(self, key: str | None = None) -> Any:
        client = openai.OpenAI(base_url=f"{self.url}/v1", api_key=key or self.key.secret, max_retries=0)
        self._clients.append(client)
        return client

    def set_cap(self, limit_nano: int) -> None:
        """Give the organization exactly this much to spend."""
        SpendCap.objects.create(
            organization=self.organization,
            scope=SpendCap.Scope.ORGANIZATION,
            limit_nano=limit_nano,
            created_at=datetime.now(UTC),
        )

    def limit(self, **rates: int) -> None:
        """Let the key ask no faster; before `start`."""
        RateLimit.objects.create(
            organization=self.organization, api_key=self.key.api_key, changed_at=datetime.now(UTC), **rates
        )

    @property
    def cap(self) -> SpendCap:
        return SpendCap.objects.of_organization(self.organization.pk).get()


@pytest.fixture
def gateway(own_database: OwnDatabase, shared_upstream: DemoUpstreamProcess) -> Iterator[ServedGateway]:
    """Not started yet, so that the test may prepare its rows first."""
    with own_database.in_use(SUPERUSER):
        served = ServedGateway(shared_upstream.url)
        yield served
        served.stop()


@pytest.fixture
def stalling(gateway: ServedGateway) -> ServedGateway:
    """Not started yet. Its model `stalling` stops after three tokens and never ends."""
    gateway.faulty_model("stalling", f"stall={STALLS_AFTER}", gateway.deployment.base_url)
    gateway.faulty_model("hanging", "hang", gateway.deployment.base_url)
    return gateway
