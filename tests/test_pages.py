"""Every page of the portal, read as a document and looked at with axe, at several widths and in both themes.

The pages are the policy's routes (tests/visits.py): a new one is covered without a line here, and one that
cannot be reached fails. `make test` looks at each page narrow and wide, each in another theme, and at pages of an
empty organization narrow; `make prove` at four widths in both themes.
"""

import os
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.http import HttpResponseBase
from django.test import Client
from playwright.sync_api import Browser, Page, Response

from accounts.models import Role
from tests.browser import ORIGIN, Theme, answer, assert_sound, follow_redirects
from tests.documents import Document, PostForm, wrongs
from tests.support import undone
from tests.visits import Scene, Visit, make_scene, signed_in, visitor, visits
from tests.world import World

VISITS = list(visits())
WIDTHS = (320, 390, 768, 1280)
THEMES: tuple[Theme, Theme] = ("light", "dark")
PROVE = bool(os.environ.get("PROVE"))
each_visit = pytest.mark.parametrize("visit", VISITS, ids=str)


def looks(visit: Visit) -> list[tuple[int, Theme]]:
    """Return the widths and themes of one page: all with PROVE, else a narrow and a wide one, themes alternating."""
    if PROVE:
        return [(width, theme) for width in WIDTHS for theme in THEMES]
    first, second = THEMES if VISITS.index(visit) % 2 else reversed(THEMES)
    return [(320, first)] if visit.is_empty else [(320, first), (1280, second)]


@pytest.fixture(scope="module")
def scene(world_of_module: World, django_db_blocker: Any) -> Scene:
    with django_db_blocker.unblock():
        return make_scene(world_of_module)


@pytest.fixture
def stage(scene: Scene, django_db_blocker: Any) -> Iterator[Scene]:
    """The scene, as it was furnished: what a visit does to it is undone."""
    with django_db_blocker.unblock(), undone():
        yield scene


@dataclass
class Window:
    """One window of the browser for all pages of a module, with what it complained about since the last look."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def listen(self) -> None:
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda message: self._hear(message.type, message.text))
        self.page.on("response", self._check)

    def _hear(self, kind: str, text: str) -> None:
        # Breaking the policy is an error of the console too; what failed to load is heard of below, by its address.
        if kind in ("error", "warning") and "Failed to load resource" not in text:
            self.complaints.append(text)

    def _check(self, response: Response) -> None:
        if response.status >= 400 and not response.request.is_navigation_request():
            self.complaints.append(f"{response.status} {response.url}")

    def go(self, client: Client, address: str) -> None:
        """Open a page as the person of `client`."""
        self.page.context.clear_cookies()
        self.page.context.add_cookies(
            [{"name": name, "value": morsel.value, "url": ORIGIN} for name, morsel in client.cookies.items()]
        )
        self.page.goto(ORIGIN + address)
        follow_redirects(self.page)

    def look(self, views: list[tuple[int, Theme]]) -> None:
        """Fail with what axe finds, what sticks out, and what the console said."""
        assert_sound(self.page, views)
        assert not self.complaints, self.page.url


@pytest.fixture(scope="module")
def window_of_module(chromium: Browser) -> Iterator[Window]:
    context = chromium.new_context(reduced_motion="reduce")
    context.route(f"{ORIGIN}/**", answer)
    window = Window(context.new_page())
    window.listen()
    yield window
    context.close()


@pytest.fixture
def window(window_of_module: Window, stage: Scene) -> Iterator[Window]:
    window_of_module.complaints.clear()
    yield window_of_module
    # Nothing of this page may still ask when the next one has its own world.
    window_of_module.page.goto("about:blank")


def page_of(response: HttpResponseBase) -> str | None:
    """Return the text of a whole page of HTML, or None when it is something else that a GET may answer."""
    if response.status_code == 405 or "text/html" not in response.headers.get("Content-Type", ""):
        return None
    text = response.getvalue().decode()
    assert response.status_code == 200, (
        f"answered {response.status_code} {response.headers.get('Location', '')}: tests/visits.py has to know how"
        " to get there (STEPS, furnish) or why it is no page (NOT_A_PAGE)"
    )
    # A part of a page, for htmx to put into one.
    return text if "<html" in text else None


def is_refusal(response: HttpResponseBase) -> bool:
    """Say whether it is a page with what is wrong; allauth answers 200 where we answer 422."""
    if "text/html" not in response.headers.get("Content-Type", "") or response.status_code not in (200, 422):
        return False
    return response.status_code == 422 or b'aria-invalid="true"' in response.getvalue()


def refused_forms(client: Client, address: str, document: Document) -> list[tuple[PostForm, Document]]:
    """Return the page's forms that come back when they are sent empty, with what comes back."""
    refused = []
    for form in document.post_forms():
        cookies = copy(client.cookies)
        with undone():
            response = client.post(form.target(address), form.data)
            if is_refusal(response):
                refused.append((form, Document(response.content.decode())))
        # What signed them out is undone, so they still hold the session's cookie.
        client.cookies = cookies
    return refused


def test_every_page_is_sound_html_with_a_title_of_its_own(stage: Scene):
    wrong: dict[str, list[str]] = {}
    titles: dict[str, str] = {}
    pages = 0
    for visit in VISITS:
        with undone():
            client, address = stage.begin(visit)
            try:
                text = page_of(client.get(address))
            except AssertionError as error:
                wrong[str(visit)] = [str(error)]
                continue
            if text is None:
                continue
            pages += 1
            document = Document(text)
            found = wrongs(document)
            for form, refusal in refused_forms(client, address, document):
                found += [f"form {form.number} sent empty: {more}" for more in wrongs(refusal)]
        first = titles.setdefault(document.title, visit.route.name)
        if first != visit.route.name:
            found.append(f"shares its title “{document.title}” with {first}")
        if found:
            wrong[str(visit)] = found
    assert not wrong, "\n".join(f"{name}: {', '.join(found)}" for name, found in wrong.items())
    assert pages > 60


@pytest.mark.browser
@each_visit
def test_a_page_and_its_refused_forms_are_accessible(visit: Visit, stage: Scene, window: Window):
    client, address = stage.begin(visit)
    with undone():
        text = page_of(client.get(address))
        forms = refused_forms(client, address, Document(text)) if text else []
    if text is None:
        return

    window.go(client, address)
    assert window.page.url == ORIGIN + address
    window.look(looks(visit))
    for form, _ in forms:
        window.go(client, address)
        send_empty(window.page, form)
        window.look(looks(visit))


def send_empty(page: Page, form: PostForm) -> None:
    """Send a form with nothing typed into it, past the browser's own checks and htmx."""
    with page.expect_navigation():
        page.evaluate(
            """(number) => {
                const form = document.querySelectorAll("main form[method=post i]")[number];
                const kept = ["hidden", "radio", "button", "submit", "select-one", "select-multiple", "fieldset"];
                for (const field of form.elements) {
                    if (field.type === "checkbox") field.checked = false;
                    else if (!kept.includes(field.type)) field.value = "";
                }
                HTMLFormElement.prototype.submit.call(form);
            }""",
            form.number,
        )


@pytest.mark.browser
@pytest.mark.parametrize("is_member", [False, True], ids=["visitor", "member"])
def test_what_is_not_there_is_said_accessibly(is_member: bool, stage: Scene, window: Window):
    client = signed_in(stage.world.members[Role.VIEWER]) if is_member else visitor()

    window.go(client, "/no/such/page/")

    window.look([(320, "dark"), (1280, "light")])


@pytest.mark.browser
def test_a_refusal_is_said_accessibly(stage: Scene, window: Window):
    client = signed_in(stage.world.members[Role.VIEWER])
    address = f"/o/{stage.world.ours.slug}/keys/new/"
    assert client.get(address).status_code == 403

    window.go(client, address)

    window.look([(320, "light"), (1280, "dark")])
