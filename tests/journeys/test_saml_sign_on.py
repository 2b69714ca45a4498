"""An organization pastes its SAML provider's metadata; its people come through, in a browser that keeps cookies back.

The provider is another site to the browser (localhost, not 127.0.0.1), so the form that it posts brings no cookie.
"""

from collections.abc import Iterator
from urllib.request import urlopen

import pytest
from playwright.sync_api import Page, Request, expect

from tests.browser import assert_accessible, assert_no_sideways_scroll
from tests.doubles.nameserver import Nameserver
from tests.doubles.real_saml_provider import RealSamlProvider, running_real_saml_provider
from tests.journeys.test_main_job import sign_up
from tests.journeys.test_single_sign_on import verify_domain
from tests.running import RunningPortal

pytestmark = [pytest.mark.processes, pytest.mark.browser]

# Journeys share a portal, so each has people of its own.
OWNER, COLLEAGUE = "grace@quay-labs.example", "alan@quay-labs.example"


@pytest.fixture
def provider(portal: RunningPortal) -> Iterator[RealSamlProvider]:
    people = {email.partition("@")[0]: {"subject": f"id-of-{email[:4]}", "mail": email} for email in (OWNER, COLLEAGUE)}
    with running_real_saml_provider(portal.folder, people, signs=["Assertion"], host="localhost") as running:
        yield running


def content_of(address: str) -> bytes:
    with urlopen(address, timeout=30) as answer:
        return bytes(answer.read())


def test_an_organization_signs_on_by_saml_across_sites(
    wide: Page, narrow: Page, portal: RunningPortal, nameserver: Nameserver, provider: RealSamlProvider
):
    owner, colleague = wide, narrow
    slug = sign_up(owner, portal, OWNER)
    verify_domain(owner, slug, nameserver, "quay-labs.example")
    owner.goto(f"/o/{slug}/single-sign-on/")
    owner.get_by_role("link", name="Use SAML 2.0 instead").click()
    us = owner.locator("#entity-id").inner_text()
    provider.partner.write_bytes(content_of(us))
    owner.get_by_role("textbox", name="Metadata").fill("<nothing/>")
    owner.get_by_role("button", name="Save").click()
    expect(owner.get_by_text("not the metadata of one identity provider")).to_be_visible()
    assert_accessible(owner)
    owner.get_by_role("textbox", name="Metadata").fill(content_of(provider.metadata_url).decode())
    owner.get_by_role("button", name="Save").click()
    expect(owner.get_by_text("Now sign in through it once")).to_be_visible()
    expect(owner.get_by_text("valid until")).to_have_count(1)
    assert_accessible(owner)

    posted: list[Request] = []
    owner.on("request", lambda request: posted.append(request) if request.url.endswith("/acs/") else None)
    owner.get_by_role("link", name="Sign in through it").click()
    owner.get_by_role("button", name="Continue").click()
    owner.get_by_role("link", name="Sign in as grace").click()
    owner.wait_for_url(f"**/o/{slug}/**")
    [answer] = posted
    assert "cookie" not in answer.all_headers(), "the browser keeps the session back from another site's form"

    colleague.goto("/sso/")
    colleague.get_by_label("E-mail address at work").fill(COLLEAGUE)
    colleague.get_by_role("button", name="Continue").click()
    colleague.get_by_role("link", name="Sign in as alan").click()
    colleague.wait_for_url(f"**/o/{slug}/**")
    colleague.goto(f"/o/{slug}/members/")
    expect(colleague.get_by_role("cell", name=f"{COLLEAGUE} (you)")).to_be_visible()

    # Begun at the provider: its answer is to no request of this browser.
    colleague.context.clear_cookies()
    colleague.goto(f"/sso/{slug}/")
    colleague.get_by_role("button", name="Continue").click()
    expect(colleague.get_by_role("link", name="Sign in as alan")).to_be_visible()
    colleague.context.clear_cookies()
    colleague.get_by_role("link", name="Sign in as alan").click()
    expect(colleague.get_by_role("heading", name="Not signed in")).to_be_visible()
    expect(colleague.get_by_text("was not begun here")).to_be_visible()
    assert_accessible(colleague)
    assert_no_sideways_scroll(colleague)
    colleague.get_by_role("button", name="Try again").click()
    colleague.get_by_role("link", name="Sign in as alan").click()
    colleague.wait_for_url(f"**/o/{slug}/**")
