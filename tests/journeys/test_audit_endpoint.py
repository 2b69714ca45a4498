"""An owner has the audit log sent to a system of their own and sees it arrive, in a browser, against `make up`."""

import json
import re

import pytest
from playwright.sync_api import Page, expect

from tests.accounts.test_audit_delivery import is_from_headroom
from tests.browser import assert_no_sideways_scroll
from tests.doubles.receiver import receiving, status
from tests.journeys.test_main_job import sign_up
from tests.running import RunningPortal

pytestmark = [pytest.mark.processes, pytest.mark.browser]


def test_the_log_arrives_signed(narrow: Page, portal: RunningPortal):
    page, slug = narrow, sign_up(narrow, portal, "ida@signal-works.example")
    with receiving() as receiver:
        page.goto(f"/o/{slug}/audit-log/")
        page.get_by_role("link", name="Endpoints").click()
        page.get_by_role("link", name="Add an endpoint").click()
        page.get_by_label("Address").fill("https://10.0.0.7/")
        page.get_by_role("button", name="Add endpoint").click()
        expect(page.get_by_text("This address is not a public one.")).to_be_visible()
        page.get_by_label("Address").fill(receiver.url)
        page.get_by_label("Send what is in the log already").check()
        page.get_by_role("button", name="Add endpoint").click()
        secret = page.locator("#secret").inner_text()
        assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", secret)
        assert_no_sideways_scroll(page)

        page.get_by_role("link", name="I have copied it").click()
        [entries] = receiver.wait_for(1)
        assert is_from_headroom(entries.headers, entries.body, secret)
        actions = [entry["action"] for entry in json.loads(entries.body)["entries"]]
        assert actions[-1] == "audit_endpoint.added"

        receiver.replies.append(status(503))
        page.get_by_role("button", name="Send a test event").click()
        expect(page.get_by_text("A test event is on its way", exact=False).first).to_be_visible()
        sent = receiver.wait_for(2)[1]
        assert json.loads(sent.body)["type"] == "audit.test"
        expect_after_reload(page, "503, to a test")
        assert_no_sideways_scroll(page)


def expect_after_reload(page: Page, words: str) -> None:
    """Load the page again until the worker has written down what it was answered."""
    for _ in range(50):
        if page.get_by_text(words, exact=False).count():
            return
        page.reload()
    raise AssertionError(f"{words!r} never came")
