"""Headless Chromium for tests: what people see and press, and what axe finds on it.

The `browser` fixture opens pages at ORIGIN without a server: every request of the browser to that address is
answered by Django in the test's own thread and transaction, so rows made by factories are there and nothing
has to be emptied afterwards. Headers, cookies, redirects and the Content-Security-Policy are the real ones.
Pages of a server that runs (a journey against `make up`'s own processes) open by their full address.
"""

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import axe_playwright_python
import pytest
from allauth.account.internal.flows.login import record_authentication
from django.conf import settings
from django.core.cache import caches
from django.db import connections
from django.http import HttpRequest
from django.test import Client
from django.utils.html import escape
from playwright.sync_api import Browser, BrowserContext, Page, Request, Route, sync_playwright

from accounts.models import User
from tests.chromium import FLAGS, chromium_path

ORIGIN = "http://localhost"
type Theme = Literal["light", "dark"]
# The narrowest window that must do, and a usual one; each is looked at in another theme.
LOOKS: tuple[tuple[int, Theme], ...] = ((320, "light"), (1280, "dark"))
AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa", "best-practice"]
# Headers of the browser that Django's client sets by itself or must not see.
NOT_PASSED_ON = {"content-length", "host", "connection", "accept-encoding"}


@dataclass
class PortalBrowser:
    """Opens pages; each `open` without a page is a person of its own, with cookies of their own."""

    chromium: Browser
    complaints: list[str] = field(default_factory=list)
    contexts: list[BrowserContext] = field(default_factory=list)

    def open(
        self,
        path: str,
        *,
        width: int = 1280,
        theme: Theme = "light",
        user: User | None = None,
        javascript: bool = True,
    ) -> Page:
        """Return the page at `path` (or at a full address), signed in as `user`."""
        context = self.chromium.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=theme,
            reduced_motion="reduce",
            java_script_enabled=javascript,
        )
        self.contexts.append(context)
        context.route(f"{ORIGIN}/**", answer)
        if user is not None:
            context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session_of(user), "url": ORIGIN}])
        page = context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self._listen(message.type, message.text))
        page.goto(path if "://" in path else ORIGIN + path)
        follow_redirects(page)
        return page

    def _listen(self, kind: str, text: str) -> None:
        # A page that answers 404 or 422 is logged as an error too, and is none.
        if kind == "error" and "Failed to load resource" not in text:
            self.complaints.append(text)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One Chromium for the tests of a module, which must not run event loops of their own (asyncio.run)."""
    path = chromium_path()
    with pytest.MonkeyPatch.context() as monkeypatch:
        _keep_connections_beside_a_loop(monkeypatch)
        with sync_playwright() as playwright:
            launched = playwright.chromium.launch(executable_path=path, args=FLAGS)
            yield launched
            launched.close()


@pytest.fixture
def browser(chromium: Browser, db: None) -> Iterator[PortalBrowser]:
    """Chromium on this test's own portal. Fails when a page broke the policy or a script threw."""
    portal = PortalBrowser(chromium)
    yield portal
    for context in portal.contexts:
        context.close()
    assert not portal.complaints


def _keep_connections_beside_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this thread keep its database connections and caches while Playwright's event loop runs in it.

    Django would refuse to work beside a loop, and would open a second connection, outside the test's transaction.
    """
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    for handler in (connections, caches):
        ours = threading.local()
        for alias in handler.settings:
            setattr(ours, alias, handler[alias])
        monkeypatch.setattr(handler, "_connections", ours)


def session_of(user: User) -> str:
    """Return the key of a new session of the user, who has just proved who they are."""
    client = Client()
    client.force_login(user)
    request = HttpRequest()
    request.session = client.session
    record_authentication(request, user, "password", reauthenticated=True)
    request.session.save()
    return client.cookies[settings.SESSION_COOKIE_NAME].value


@cache
def static_file(path: str) -> tuple[int, dict[str, str], bytes]:
    response = Client().get(path)
    return response.status_code, dict(response.headers), response.getvalue()


def answer(route: Route, request: Request) -> None:
    """Let Django answer a request of the browser."""
    address = urlsplit(request.url)
    if address.path.startswith(settings.STATIC_URL):
        status, static_headers, content = static_file(address.path)
        route.fulfill(status=status, headers=static_headers, body=content)
        return
    headers = {name: value for name, value in request.all_headers().items() if name not in NOT_PASSED_ON}
    response = Client(enforce_csrf_checks=True, raise_request_exception=False).generic(
        request.method,
        f"{address.path}?{address.query}" if address.query else address.path,
        request.post_data_buffer or b"",
        content_type=headers.pop("content-type", "application/octet-stream"),
        headers={**headers, "host": address.netloc},
    )
    fulfilled = dict(response.headers)
    if response.cookies:
        fulfilled["set-cookie"] = "\n".join(morsel.OutputString() for morsel in response.cookies.values())
    if "location" in response.headers and request.is_navigation_request():
        # The browser would follow a redirect over the network, where nobody listens.
        to = escape(response.headers["location"])
        page = f'<html data-redirected><meta http-equiv="refresh" content="0;url={to}"><title>Redirected</title>'
        del fulfilled["Location"]
        route.fulfill(status=200, headers=fulfilled, body=page)
        return
    body = response.getvalue()
    route.fulfill(status=response.status_code, headers=fulfilled, body=body)


def follow_redirects(page: Page) -> None:
    """Wait until the page is one of the portal's own and not what `answer` gives instead of a redirect."""
    page.locator("html:not([data-redirected])").wait_for(state="attached")


@cache
def axe_source() -> str:
    return (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()


def assert_sound(page: Page, looks: Iterable[tuple[int, Theme]] = LOOKS) -> None:
    """Fail unless the page, as it is now, fits and is accessible at each width in its theme, with one h1."""
    for width, theme in looks:
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        assert_no_sideways_scroll(page)
        assert_accessible(page)
    assert page.locator("h1").count() == 1


def assert_accessible(page: Page) -> None:
    """Fail with every violation that axe finds of WCAG 2.0 to 2.2 A and AA and of its best practices.

    Injected through the debugger's own channel, so that the page's policy stays on.
    """
    debugger = page.context.new_cdp_session(page)
    debugger.send("Runtime.evaluate", {"expression": axe_source()})
    run = f"axe.run(document, {{runOnly: {{type: 'tag', values: {AXE_TAGS!r}}}, resultTypes: ['violations']}})"
    answered: dict[str, Any] = debugger.send(
        "Runtime.evaluate", {"expression": run, "awaitPromise": True, "returnByValue": True}
    )
    assert "exceptionDetails" not in answered, answered
    violations = answered["result"]["value"]["violations"]
    found = [
        f"{violation['id']} ({violation['impact']}): {node['html'][:300]}\n    {node['failureSummary']}"
        for violation in violations
        for node in violation["nodes"]
    ]
    width = page.viewport_size["width"] if page.viewport_size else 0
    assert not found, f"{page.url} at {width} pixels:\n" + "\n".join(found)


def assert_no_sideways_scroll(page: Page) -> None:
    """Fail when the page is wider than its window, naming what sticks out."""
    page.wait_for_load_state()
    wide, window = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    if wide > window:
        culprits = page.evaluate(
            """[...document.querySelectorAll("body *")]
                .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
                .slice(0, 8).map((element) => element.outerHTML.slice(0, 160))"""
        )
        raise AssertionError(f"{page.url} is {wide} pixels wide in a window of {window}:\n" + "\n".join(culprits))
