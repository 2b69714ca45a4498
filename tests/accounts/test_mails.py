"""What owners and people are mailed when an organization or an account ends."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core import mail
from django.core.mail import EmailMessage

from accounts.models import Organization, Role, User
from accounts.services.closing import (
    GRACE,
    announce_closings,
    close_due_organizations,
    keep_organization,
    request_deletion,
)
from accounts.services.erasure import erase_person
from portal.lib.tenancy import as_platform
from tests.doubles.refusing_mail import REFUSED
from tests.factories.accounts import make_membership, make_organization, make_user

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture
def organization() -> Organization:
    made = make_organization("Lighthouse Labs", owner=make_user("olga@lighthouse.example"))
    make_membership(made, make_user("otto@lighthouse.example"))
    make_membership(made, make_user("adam@lighthouse.example"), Role.ADMIN)
    gone = make_membership(made, make_user("gone@lighthouse.example")).user
    User.objects.filter(pk=gone.pk).update(is_active=False)
    return made


def announce() -> list[tuple[str, str]]:
    """Return to whom what was mailed now."""
    mail.outbox.clear()
    with as_platform():
        announce_closings()
    return [(message.to[0], str(message.subject)) for message in mail.outbox]


def to_both(subject: str) -> list[tuple[str, str]]:
    return [("olga@lighthouse.example", subject), ("otto@lighthouse.example", subject)]


def test_owners_hear_of_each_step_once(organization: Organization):
    assert announce() == []
    request_deletion(organization=organization, now=NOW)
    assert announce() == to_both("Lighthouse Labs is being deleted")
    assert "At 2026-12-25 12:00 UTC" in str(mail.outbox[0].body)
    assert f"/o/{organization.slug}/" in str(mail.outbox[0].body)
    assert announce() == []

    keep_organization(organization=organization, now=NOW)
    assert announce() == to_both("Lighthouse Labs stays")
    assert announce() == []

    request_deletion(organization=organization, now=NOW)
    assert len(announce()) == 2
    with as_platform():
        close_due_organizations(now=NOW + GRACE)
    assert announce() == to_both("Lighthouse Labs is closed")
    assert announce() == []


def test_what_was_taken_back_before_anybody_was_told_is_not_mentioned(organization: Organization):
    request_deletion(organization=organization, now=NOW)
    keep_organization(organization=organization, now=NOW)

    assert announce() == []


def test_each_step_names_the_job(organization: Organization, django_capture_on_commit_callbacks: Any):
    for step in (request_deletion, keep_organization, request_deletion):
        with django_capture_on_commit_callbacks() as named:
            step(organization=organization, now=NOW)
        assert len(named) == 1
    with django_capture_on_commit_callbacks() as named, as_platform():
        close_due_organizations(now=NOW + GRACE)
    assert len(named) == 1


def test_one_mail_that_fails_keeps_no_other_organization_waiting(
    organization: Organization, monkeypatch: pytest.MonkeyPatch
):
    other = make_organization("Other", owner=make_user("eve@other.example"))
    for one in (organization, other):
        request_deletion(organization=one, now=NOW)
    send = EmailMessage.send

    def fail_for_olga(message: EmailMessage, *args: Any, **kwargs: Any) -> Any:
        if message.to == ["olga@lighthouse.example"]:
            raise OSError("the mail server hung up")
        return send(message, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(EmailMessage, "send", fail_for_olga)
        assert announce() == [("eve@other.example", "Other is being deleted")]

    assert announce() == to_both("Lighthouse Labs is being deleted")


def test_who_is_erased_gets_a_last_mail(django_capture_on_commit_callbacks: Any):
    user = make_user("ada@example.com")

    with django_capture_on_commit_callbacks(execute=True), as_platform():
        erase_person(user=user, now=NOW)

    [message] = mail.outbox
    assert (message.to, message.subject) == (["ada@example.com"], "Your account on Headroom is erased")
    assert "no longer have it" in str(message.body)


@pytest.fixture
def refused(settings: Any) -> Iterator[dict[str, int]]:
    settings.MAILERS = {"default": {"BACKEND": "tests.doubles.refusing_mail.EmailBackend"}}
    yield REFUSED
    REFUSED.clear()


def test_an_address_that_is_refused_for_good_keeps_nobody_uninformed_and_nobody_mailed_twice(
    organization: Organization, refused: dict[str, int]
):
    refused["olga@lighthouse.example"] = 550
    request_deletion(organization=organization, now=NOW)

    assert announce() == [("otto@lighthouse.example", "Lighthouse Labs is being deleted")]
    assert announce() == []


def test_an_address_that_is_refused_for_now_is_tried_again(organization: Organization, refused: dict[str, int]):
    refused["olga@lighthouse.example"] = 450
    request_deletion(organization=organization, now=NOW)
    assert announce() == []

    refused.clear()
    assert announce() == to_both("Lighthouse Labs is being deleted")
