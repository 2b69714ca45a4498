"""An organization proves its domain, connects its identity provider and requires it; a colleague comes through it.

Against a portal started by `make up`'s own code, a real OpenID Connect provider in a process of its own, and a name
server that the owner can write to.
"""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser import assert_accessible, assert_no_sideways_scroll
from tests.doubles.nameserver import Nameserver
from tests.doubles.real_provider import running_real_provider
from tests.journeys.test_main_job import sign_up
from tests.running import RunningPortal

pytestmark = [pytest.mark.processes, pytest.mark.browser]

OWNER, COLLEAGUE = "grace@pier-labs.example", "alan@pier-labs.example"


@pytest.fixture
def issuer(portal: RunningPortal) -> Iterator[str]:
    people = [{"sub": email.partition("@")[0], "email": email} for email in (OWNER, COLLEAGUE)]
    with running_real_provider(portal.folder / "provider.log", *people) as running:
        yield running


def verify_domain(page: Page, slug: str, nameserver: Nameserver, domain: str = "pier-labs.example") -> None:
    page.goto(f"/o/{slug}/domains/")
    page.get_by_label("Domain").fill(domain.title())
    page.get_by_role("button", name="Add").click()
    name, value = page.locator("#record-name").inner_text(), page.locator("#record-value").inner_text()
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_text("The record is not there")).to_be_visible()
    nameserver.records[name] = [value]
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_text(f"{domain} is verified.")).to_be_visible()


def set_up(page: Page, slug: str, issuer: str) -> None:
    page.goto(f"/o/{slug}/single-sign-on/")
    page.get_by_label("Issuer").fill(issuer)
    page.get_by_label("Client id").fill("portal")
    page.get_by_label("Client secret").fill("a secret that stays sealed")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Now sign in through it once")).to_be_visible()


def test_an_organization_signs_on_through_its_own_provider(
    wide: Page, narrow: Page, portal: RunningPortal, nameserver: Nameserver, issuer: str
):
    owner, colleague = wide, narrow
    slug = sign_up(owner, portal, OWNER)
    verify_domain(owner, slug, nameserver)
    set_up(owner, slug, issuer)
    owner.get_by_role("link", name="Sign in through it").click()
    owner.get_by_role("button", name="Continue").click()
    owner.get_by_role("button", name="Authorize as grace").click()
    owner.wait_for_url(f"**/o/{slug}/**")
    owner.goto(f"/o/{slug}/single-sign-on/")
    owner.get_by_role("button", name=f"Let them enter without {OWNER}").click()
    owner.get_by_role("button", name="Require single sign-on").click()
    expect(owner.get_by_text("Single sign-on is required now.")).to_be_visible()

    colleague.goto("/accounts/login/")
    colleague.get_by_role("link", name="Sign in with single sign-on").click()
    assert_no_sideways_scroll(colleague)
    colleague.get_by_label("E-mail address at work").fill(COLLEAGUE)
    colleague.get_by_role("button", name="Continue").click()
    colleague.get_by_role("button", name="Deny access").click()
    expect(colleague.get_by_role("heading", name="Not signed in")).to_be_visible()
    assert_accessible(colleague)
    assert_no_sideways_scroll(colleague)
    colleague.get_by_role("button", name="Try again").click()
    colleague.get_by_role("button", name="Authorize as alan").click()
    colleague.wait_for_url(f"**/o/{slug}/**")
    colleague.goto(f"/o/{slug}/members/")
    expect(colleague.get_by_role("cell", name=f"{COLLEAGUE} (you)")).to_be_visible()

    # The same person by a mailed code: known, and not let in.
    colleague.context.clear_cookies()
    colleague.goto("/accounts/login/")
    colleague.get_by_label("E-mail address").fill(COLLEAGUE)
    colleague.get_by_role("button", name="Sign in", exact=True).click()
    code = re.search(r"^\s*(\d{6})\s*$", portal.newest_mail(COLLEAGUE), re.MULTILINE)
    assert code is not None
    colleague.get_by_label("Code").first.fill(code[1])
    colleague.locator("main form").first.get_by_role("button").first.click()
    expect(colleague.get_by_role("heading", name="requires single sign-on")).to_be_visible()
    assert_accessible(colleague)
    assert_no_sideways_scroll(colleague)
    colleague.get_by_role("button", name="Continue at").click()
    colleague.get_by_role("button", name="Authorize as alan").click()
    colleague.wait_for_url(f"**/o/{slug}/**")
    expect(colleague.get_by_role("heading", name="requires single sign-on")).to_have_count(0)
