"""Finance reads what differs, and explains what has to stay; the auditor reads."""

import pytest
from django.contrib.admin.models import LogEntry

from accounts.models import Organization
from accounts.services.staff import StaffGroup
from billing.models import Difference, ReconciliationJob
from billing.reconcile import Findings, Found, Thing
from billing.services.reconciling import record_result
from tests.accounts.test_legal_holds import browser_of, make_staff
from tests.factories.accounts import make_organization
from tests.factories.billing import NOW

pytestmark = pytest.mark.django_db

PAGE = "/admin/billing/difference/"
READERS = {StaffGroup.FINANCE, StaffGroup.AUDITOR}


@pytest.fixture
def difference() -> Difference:
    organization = make_organization("Acme AI")
    found = Found(Thing("settled of cap_1", organization.public_id), "1.50 USD", "1.75 USD", 250_000_000)
    record_result(job=ReconciliationJob.CAPS, day=NOW.date(), findings=Findings(9, (found,)), now=NOW)
    return Difference.objects.get()


@pytest.fixture
def finance():
    return browser_of(make_staff(StaffGroup.FINANCE))


def test_an_empty_page_says_that_everything_agrees(finance):
    page = finance.get(PAGE).content.decode()
    assert "None: everything agrees." in page
    assert "Nothing was compared yet" in page


def test_a_difference_says_what_both_sides_say(difference, finance):
    page = finance.get(PAGE).content.decode()
    assert f"<td>{Organization.objects.get().slug}</td>" in page
    for shown in (difference.public_id, "0.25", "settled of cap_1", "1.50 USD", "1.75 USD", "2026-11-22"):
        assert shown in page, shown
    assert "everything agrees" not in page


def test_an_explanation_closes_it_and_is_in_the_log(difference, finance):
    given = {"difference": difference.public_id, "explanation": "A hold of a killed\nprocess, given back"}
    answer = finance.post(PAGE, given)
    assert (answer.status_code, answer.headers["Location"]) == (302, PAGE)

    page = finance.get(PAGE).content.decode()
    assert "None: everything agrees." in page
    assert "A hold of a killed process, given back" in page
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.change_message) == (
        difference.public_id,
        "Difference explained: A hold of a killed process, given back",
    )


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"difference": "diff_nobody", "explanation": "Nobody knows it"}, "There is no such difference."),
        ({"explanation": "too short"}, "in 10 to 500 characters"),
        ({"explanation": ""}, "This field is required."),
    ],
)
def test_bad_input_is_told_and_changes_nothing(difference, finance, given, sentence):
    answer = finance.post(PAGE, {"difference": difference.public_id, **given})
    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert Difference.objects.open().count() == 1
    assert not LogEntry.objects.exists()


def test_it_is_explained_once(difference, finance):
    for expected in (302, 422):
        answer = finance.post(PAGE, {"difference": difference.public_id, "explanation": "It was a killed process"})
        assert answer.status_code == expected
    assert "not open any more" in answer.content.decode()


@pytest.mark.parametrize("group", StaffGroup)
def test_only_those_whose_work_it_is_read_and_only_finance_explains(difference, group):
    client = browser_of(make_staff(group))
    assert client.get(PAGE).status_code == (200 if group in READERS else 403)
    answer = client.post(PAGE, {"difference": difference.public_id, "explanation": "It was a killed process"})
    assert answer.status_code == (302 if group is StaffGroup.FINANCE else 403)
    assert Difference.objects.open().exists() == (group is not StaffGroup.FINANCE)


def test_who_signed_in_long_ago_is_asked_again(difference):
    client = browser_of(make_staff(StaffGroup.FINANCE), is_recent=False)
    answer = client.post(PAGE, {"difference": difference.public_id, "explanation": "It was a killed process"})
    assert answer.status_code == 302
    assert "confirm-it-is-you" in answer.headers["Location"]
    assert Difference.objects.open().exists()
