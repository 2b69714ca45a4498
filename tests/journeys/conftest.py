"""One portal for all journeys of a worker: `make up` in a folder of its own, with everything that belongs to it."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from dev import testing
from tests.chromium import FLAGS, chromium_path
from tests.doubles.nameserver import Nameserver, running_nameserver
from tests.running import RunningPortal


@pytest.fixture(scope="session")
def nameserver() -> Iterator[Nameserver]:
    """The name server that the portal asks."""
    with running_nameserver() as running:
        yield running


@pytest.fixture(scope="session")
def portal(worker_id: str, nameserver: Nameserver) -> Iterator[RunningPortal]:
    chromium_path()  # Skips or fails before anything is started.
    running = RunningPortal(testing.FOLDER / f"journey_{worker_id}")
    running.reset()
    running.start(DNS_RESOLVERS=nameserver.address)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def journey_chromium() -> Iterator[Browser]:
    """Chromium for one module: while Playwright's event loop runs in a thread, Django refuses its database there."""
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def wide(journey_chromium: Browser, portal: RunningPortal) -> Iterator[Page]:
    """A stranger at a desk."""
    yield from _stranger(journey_chromium, portal, width=1280)


@pytest.fixture
def narrow(journey_chromium: Browser, portal: RunningPortal) -> Iterator[Page]:
    """A stranger with a very small phone."""
    yield from _stranger(journey_chromium, portal, width=320)


def _stranger(chromium: Browser, portal: RunningPortal, *, width: int) -> Iterator[Page]:
    complaints: list[str] = []
    context = chromium.new_context(
        base_url=portal.url, viewport={"width": width, "height": 800}, reduced_motion="reduce"
    )
    context.set_default_timeout(30_000)
    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if "Content Security" in message.text else None)
    yield page
    context.close()
    assert not complaints
