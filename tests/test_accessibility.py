"""Menus, dialogs and the theme, by keyboard and pointer; every page as it opens is in tests/test_pages.py."""

import pytest
from playwright.sync_api import expect

from tests.browser import assert_accessible, assert_no_sideways_scroll
from tests.factories.accounts import make_organization, make_user
from tests.factories.compute import make_pool

pytestmark = [pytest.mark.browser, pytest.mark.django_db]

LONG = "Donaudampfschifffahrtselektrizitatenhauptbetriebswerkbauunterbeamtengesellschaft" * 2


def test_the_rail_opens_over_a_narrow_page(browser):
    organization = make_organization(owner=(owner := make_user()))
    page = browser.open(f"/o/{organization.slug}/keys/", width=320, user=owner)
    rail = page.get_by_role("navigation", name="Main")
    expect(rail).to_be_hidden()

    page.get_by_role("button", name="Open the menu").click()

    expect(rail.get_by_role("link", name="API keys")).to_have_attribute("aria-current", "page")
    assert_accessible(page)
    page.keyboard.press("Escape")
    expect(rail).to_be_hidden()


def test_menus_of_the_bar_close_on_escape_and_give_the_focus_back(browser):
    page = browser.open("/accounts/email/", user=make_user())
    page.locator("summary", has_text="Your menu").click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    assert_accessible(page)

    page.keyboard.press("Escape")

    expect(page.get_by_role("button", name="Sign out")).to_be_hidden()
    assert page.evaluate("document.activeElement.textContent.includes('Your menu')")


def test_the_chosen_theme_is_there_before_the_next_page_paints(browser):
    page = browser.open("/", theme="light")
    page.get_by_role("button", name="Theme: automatic").click()
    page.get_by_role("button", name="Theme: light").click()
    expect(page.get_by_role("status")).to_have_text("Theme: dark")

    page.goto(page.url + "accounts/login/")

    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(13, 15, 19)"
    assert_accessible(page)


def test_signing_out_is_one_press_away_without_scripts(browser):
    page = browser.open("/accounts/email/", user=make_user(), javascript=False)
    page.locator("summary", has_text="Your menu").click()

    page.get_by_role("button", name="Sign out").click()

    expect(page.get_by_role("link", name="Sign in")).to_be_visible()


def test_dialogs_open_and_close(browser):
    page = browser.open("/ui/")
    page.get_by_role("button", name="Terminate…").click()
    dialog = page.get_by_role("dialog", name="Terminate train-1?")
    expect(dialog).to_be_visible()
    assert_accessible(page)

    dialog.get_by_role("button", name="Cancel").click()

    expect(dialog).to_be_hidden()


def test_copying_says_so(browser):
    page = browser.open("/ui/")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])

    page.get_by_role("button", name="Copy curl").click()

    expect(page.get_by_role("status")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()").startswith("curl http")


@pytest.mark.parametrize("path", ["", "quickstart/", "instances/launch/", "keys/", "spend/", "members/", "settings/"])
def test_names_of_any_length_fit_a_very_small_phone(browser, path):
    organization = make_organization(
        LONG[:120], owner=(owner := make_user(f"{LONG.lower()[:60]}@{LONG.lower()[:60]}.example"))
    )
    make_pool()

    assert_no_sideways_scroll(browser.open(f"/o/{organization.slug}/{path}", width=320, user=owner))
