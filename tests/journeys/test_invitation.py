"""A colleague is invited, joins from the mail on a small phone, and feels each change of role at once.

Against a portal started by `make up`'s own code: the worker sends the mail.
"""

import re
import time
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from portal.mailbox import read_mails
from tests.browser import assert_no_sideways_scroll
from tests.journeys.test_main_job import sign_up
from tests.running import RunningPortal

pytestmark = [pytest.mark.processes, pytest.mark.browser]

MAIL_SECONDS = 20


def invitation_link(portal: RunningPortal, email: str) -> str:
    """Wait for the invitation's mail and return the path of its link."""
    deadline = time.monotonic() + MAIL_SECONDS
    while time.monotonic() < deadline:
        for mail in read_mails(portal.folder / "mail"):
            if mail.to == email and (found := re.search(r"^http\S+/invitations/\S+$", mail.text, re.MULTILINE)):
                return urlsplit(found[0]).path
        time.sleep(0.1)
    raise AssertionError(f"no invitation to {email} within {MAIL_SECONDS} seconds")


def test_a_colleague_joins_and_leaves_again(wide: Page, narrow: Page, portal: RunningPortal):
    owner, colleague = wide, narrow
    slug = sign_up(owner, portal, "grace@harbor-labs.example")

    owner.goto(f"/o/{slug}/members/")
    owner.get_by_role("link", name="Invite").click()
    owner.get_by_label("E-mail address").fill("Alan@harbor-labs.example")
    owner.get_by_label("Role").select_option("admin")
    owner.get_by_label("Project").select_option("Default")
    owner.get_by_role("button", name="Send the invitation").click()
    expect(owner.get_by_role("heading", name="Invitations")).to_be_visible()
    link = invitation_link(portal, "alan@harbor-labs.example")

    colleague.goto(link)
    colleague.locator("main").get_by_role("link", name="Start with an e-mail address").click()
    colleague.get_by_label("E-mail address").fill("alan@harbor-labs.example")
    colleague.locator("main form").first.get_by_role("button").first.click()
    colleague.wait_for_url("**/confirm-email/**")
    code = re.search(r"^\s*(\d{6})\s*$", portal.newest_mail("alan@harbor-labs.example"), re.MULTILINE)
    assert code is not None
    colleague.get_by_label("Code").first.fill(code[1])
    colleague.get_by_role("button", name="Continue").click()
    expect(colleague.get_by_role("heading", name="Join Harbor Labs")).to_be_visible()
    assert_no_sideways_scroll(colleague)
    colleague.get_by_role("button", name="Join").click()
    colleague.wait_for_url(f"**/o/{slug}/**")

    colleague.goto(f"/o/{slug}/members/")
    expect(colleague.get_by_role("link", name="Invite")).to_be_visible()
    owner.goto(f"/o/{slug}/members/")
    owner.get_by_label("Role of alan@harbor-labs.example").select_option("viewer")
    owner.get_by_role("button", name="Change the role of alan@harbor-labs.example").click()
    expect(owner.get_by_text("alan@harbor-labs.example is Viewer now.")).to_be_visible()
    colleague.reload()
    expect(colleague.get_by_role("heading", name="Members")).to_be_visible()
    expect(colleague.get_by_role("link", name="Invite")).to_have_count(0)

    owner.get_by_role("link", name="Remove alan@harbor-labs.example").click()
    owner.get_by_role("button", name="Remove now").click()
    expect(owner.get_by_text("alan@harbor-labs.example is no longer a member.")).to_be_visible()
    answer = colleague.reload()
    assert answer is not None
    assert answer.status == 404
