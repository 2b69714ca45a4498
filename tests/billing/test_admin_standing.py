"""Staff see who does not stand good, and finance suspends who waits for it."""

from collections.abc import Iterator

import pytest
import time_machine

from accounts.models import Organization
from accounts.services.staff import StaffGroup
from billing.models import Standing
from tests.accounts.test_legal_holds import browser_of, make_staff
from tests.billing.test_standing import DAY, DUE, look_every, project
from tests.factories.terms import put_terms_in_force

pytestmark = pytest.mark.django_db

__all__ = ["project"]
LIST = "/admin/billing/standing/"
READERS = {StaffGroup.FINANCE, StaffGroup.SALES, StaffGroup.SUPPORT, StaffGroup.AUDITOR}


@pytest.fixture
def waiting(project) -> Iterator[Organization]:
    """An organization with days to pay that a person has to suspend."""
    put_terms_in_force(project.organization, 100_000_000_000, now=DUE, net_days=30)
    look_every(DAY, DUE + 14 * DAY)
    with time_machine.travel(DUE + 15 * DAY, tick=False):
        yield project.organization


@pytest.mark.parametrize("group", StaffGroup)
def test_each_group_reads_and_suspends_as_it_may(waiting, group):
    client = browser_of(make_staff(group))

    page = client.get(LIST)
    assert page.status_code == (200 if group in READERS else 403)
    assert (b"waits for a person" in page.content) == (group in READERS)
    suspended = client.post(LIST, {"organization": waiting.slug}).status_code
    assert suspended == (302 if group == StaffGroup.FINANCE else 403)
    waiting.refresh_from_db()
    assert waiting.is_stopped == (group == StaffGroup.FINANCE)


def test_who_does_not_wait_is_not_suspended(waiting):
    client = browser_of(make_staff(StaffGroup.FINANCE))
    client.post(LIST, {"organization": waiting.slug})

    answers = [client.post(LIST, {"organization": slug}) for slug in (waiting.slug, "nobody", "")]

    assert [answer.status_code for answer in answers] == [422, 422, 422]
    for answer, words in zip(answers, ("does not wait", "no organization with this address", "required"), strict=True):
        assert words in answer.content.decode()


def test_who_signed_in_long_ago_is_asked_again(waiting):
    client = browser_of(make_staff(StaffGroup.FINANCE), is_recent=False)

    answer = client.post(LIST, {"organization": waiting.slug})

    assert "next=" in answer["Location"]
    assert Standing.objects.get().state == "grace"
