"""The pages of caps, as a person with money in their care uses them."""

from datetime import UTC, datetime

import pytest
import time_machine

from billing.models import SpendCap
from billing.services.caps import CapTarget
from billing.services.usage import record_usage
from portal.lib.money import NANO_PER_USD
from tests.factories.accounts import make_key, make_membership, make_organization, make_project
from tests.factories.billing import make_cap, make_record
from tests.factories.catalog import make_price

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture
def project():
    make_price("model.demo.input", NANO_PER_USD, 1_000_000)
    return make_project(make_organization(name="Acme"), "Vision")


@pytest.fixture
def browser(client, project):
    client.force_login(make_membership(project.organization).user)
    with time_machine.travel(NOW, tick=False):
        session = client.session
        session["signed_in_at"] = NOW.timestamp()
        session.save()
        yield client


def address(project, rest=""):
    return f"/o/{project.organization.slug}/caps/{rest}"


def page(browser, project, rest=""):
    return browser.get(address(project, rest)).content.decode()


@pytest.mark.parametrize("over", ["organization", "project", "key"])
def test_sets_a_cap_and_shows_it(browser, project, over):
    key = make_key(project, now=NOW).api_key
    query = {"organization": "", "project": f"?project={project.public_id}", "key": f"?key={key.public_id}"}[over]
    record_usage([make_record(project, 250_000, occurred_at=NOW, api_key_id=key.pk)], reservation_id=None, now=NOW)

    answer = browser.post(address(project, f"new/{query}"), {"period": "month", "limit": "2.50", "stops": "on"})

    assert answer.status_code == 302
    cap = SpendCap.objects.limits().get()
    assert (cap.scope, cap.limit_nano, cap.settled_nano) == (over, 5 * NANO_PER_USD // 2, NANO_PER_USD // 4)
    shown = page(browser, project)
    assert "$0.25 of $2.50" in shown
    assert "Stops work" in shown


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"limit": "-1"}, "greater than or equal to 0"),
        ({"limit": "1.001"}, "no more than 2 decimal places"),
        ({"limit": "cheap"}, "Enter a number"),
        ({"limit": "99999999"}, "A cap lies between"),
        ({"limit": "0.10"}, "a cap that stops work can be $0.25 at the least"),
        ({"period": "year"}, "Select a valid choice"),
        ({"period": "lifetime"}, "Select a valid choice"),
    ],
)
def test_refuses_with_a_sentence_and_changes_nothing(browser, project, given, says):
    record_usage([make_record(project, 250_000, occurred_at=NOW)], reservation_id=None, now=NOW)

    answer = browser.post(address(project, "new/"), {"period": "month", "limit": "2.50", "stops": "on"} | given)

    assert answer.status_code == 422
    assert says in answer.content.decode()
    assert not SpendCap.objects.limits().exists()


def test_changes_and_removes_a_cap(browser, project):
    cap = make_cap(project, now=NOW)

    assert browser.post(address(project, f"{cap.public_id}/change/"), {"limit": "7"}).status_code == 302
    cap.refresh_from_db()
    assert (cap.limit_nano, cap.stops) == (7 * NANO_PER_USD, False)
    assert "Warns only" in page(browser, project)
    assert "Project Vision" in page(browser, project, f"{cap.public_id}/remove/")

    assert browser.post(address(project, f"{cap.public_id}/remove/")).status_code == 302
    assert "No caps beside your credit" in page(browser, project)
    assert browser.post(address(project, f"{cap.public_id}/remove/")).status_code == 404


def test_a_period_that_has_ended_shows_as_unused(browser, project):
    long_ago = datetime(2026, 9, 3, tzinfo=UTC)
    make_cap(project, limit_nano=NANO_PER_USD, now=long_ago)
    record_usage([make_record(project, 900_000, occurred_at=long_ago)], reservation_id=None, now=long_ago)

    shown = page(browser, project)

    assert "$0.00 of $1.00" in shown
    assert "Dec 1" in shown


def test_the_credit_is_not_among_what_people_change(browser, project):
    record_usage([make_record(project, 1, occurred_at=NOW)], reservation_id=None, now=NOW)
    credit = SpendCap.objects.of_organization(project.organization_id).get()

    assert browser.get(address(project, f"{credit.public_id}/change/")).status_code == 404
    assert browser.post(address(project, f"{credit.public_id}/remove/")).status_code == 404


def test_pages_of_fifty(browser, project):
    for number in range(51):
        make_cap(project, CapTarget(project.organization, make_project(project.organization, f"p-{number}")), now=NOW)

    first = page(browser, project)
    last = SpendCap.objects.limits().order_by("pk")[49].public_id
    assert f"?after={last}" in first
    assert ("p-49" in first, "p-50" in first) == (True, False)
    assert ("p-49" in page(browser, project, f"?after={last}"), "p-50" in page(browser, project, f"?after={last}")) == (
        False,
        True,
    )


def test_the_page_of_a_key_says_the_tightest_cap_over_it(browser, project):
    key = make_key(project, now=NOW).api_key
    detail = f"/o/{project.organization.slug}/keys/{key.public_id}/"
    assert "that the organization has left" in browser.get(detail).content.decode()

    make_cap(project, CapTarget(project.organization, api_key=key), limit_nano=NANO_PER_USD // 2, now=NOW)

    shown = browser.get(detail).content.decode()
    assert "at most the $0.50 left of the tightest cap over it, $0.50" in shown
    assert "that the organization has left" not in shown
