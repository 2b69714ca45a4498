"""Staff set and clear legal holds, with a reason that the organization reads in its own log."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent, Organization, User
from accounts.services.legal_holds import UnableToChangeHold, clear_legal_hold, set_legal_hold
from accounts.services.staff import StaffGroup, ensure_staff_groups
from portal.lib.tenancy import as_platform
from tests.factories.accounts import make_organization, make_user

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
REASON = "Preservation order 17/2026 of the court"
PAGE = "/admin/accounts/organization/"


def make_staff(group: StaffGroup = StaffGroup.COMPLIANCE) -> User:
    user = make_user()
    User.objects.filter(pk=user.pk).update(is_staff=True)
    user.refresh_from_db()
    user.groups.add(ensure_staff_groups()[group])
    return user


def browser_of(user: User, *, is_recent: bool = True) -> Client:
    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    session = client.session
    session["signed_in_at"] = (datetime.now(UTC) - timedelta(hours=0 if is_recent else 1)).timestamp()
    session.save()
    return client


def form(organization: Organization, action: str = "set", reason: str = REASON) -> dict[str, str]:
    return {"organization": organization.slug, "action": action, "reason": reason}


def test_a_hold_is_set_and_cleared_and_its_reason_is_in_the_organizations_log():
    organization, other, staff = make_organization(), make_organization(), make_staff()
    client = browser_of(staff)

    page = client.post(PAGE, form(organization), follow=True).content.decode()
    assert organization.slug in page
    assert "Done. It is in the organization" in page
    organization.refresh_from_db()
    assert organization.legal_hold
    client.post(PAGE, form(organization, "clear", "The order was lifted"))
    organization.refresh_from_db()
    assert not organization.legal_hold

    events = AuditEvent.objects.owned_by(organization).order_by("sequence")
    assert [(event.action, json.loads(event.changes)) for event in events] == [
        ("organization.legal_hold_set", {"legal_hold": [False, True], "reason": [None, REASON]}),
        ("organization.legal_hold_cleared", {"legal_hold": [True, False], "reason": [None, "The order was lifted"]}),
    ]
    assert {(event.actor_id, event.via, bool(event.origin_id)) for event in events} == {
        (staff.public_id, "staff", True)
    }
    assert not AuditEvent.objects.owned_by(other).exists()


@pytest.mark.parametrize(
    "group", [one for one in StaffGroup if one not in (StaffGroup.COMPLIANCE, StaffGroup.SECURITY)]
)
def test_other_staff_may_not(group: StaffGroup):
    organization, staff = make_organization(), make_staff(group)

    assert browser_of(staff).get(PAGE).status_code == 403
    assert browser_of(staff).post(PAGE, form(organization)).status_code == 403
    with as_platform(), pytest.raises(UnableToChangeHold, match="may not"):
        set_legal_hold(organization=organization, reason=REASON, by=staff, now=NOW)
    assert not Organization.objects.get(pk=organization.pk).legal_hold


def test_who_is_no_staff_any_more_may_not():
    organization, staff = make_organization(), make_staff()
    User.objects.filter(pk=staff.pk).update(is_staff=False)

    assert browser_of(staff).post(PAGE, form(organization)).status_code in (302, 403)
    with as_platform(), pytest.raises(UnableToChangeHold):
        set_legal_hold(organization=organization, reason=REASON, by=User.objects.get(pk=staff.pk), now=NOW)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"organization": "nobody"}, "no organization with this address"),
        ({"reason": "short"}, "Say why"),
        ({"reason": " " * 20}, "required"),
        ({"reason": "x" * 501}, "at most 500"),
        ({"action": "delete"}, "not one of the available choices"),
        ({"action": "clear"}, "It is not held."),
    ],
)
def test_what_is_wrong_is_said_and_changes_nothing(changes: dict[str, str], words: str):
    organization = make_organization()

    answer = browser_of(make_staff()).post(PAGE, form(organization) | changes)

    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert not Organization.objects.filter(legal_hold=True).exists()
    assert not AuditEvent.objects.exists()


def test_twice_is_refused():
    organization, staff = make_organization(), make_staff()
    with as_platform():
        set_legal_hold(organization=organization, reason=REASON, by=staff, now=NOW)
        with pytest.raises(UnableToChangeHold, match="already"):
            set_legal_hold(organization=organization, reason=REASON, by=staff, now=NOW)
        clear_legal_hold(organization=organization, reason=REASON, by=staff, now=NOW)
        with pytest.raises(UnableToChangeHold, match="not held"):
            clear_legal_hold(organization=organization, reason=REASON, by=staff, now=NOW)


@pytest.mark.asvs("7.5.3")
def test_an_old_sign_in_is_asked_again():
    organization = make_organization()

    answer = browser_of(make_staff(), is_recent=False).post(PAGE, form(organization))

    assert answer.status_code == 302
    assert "confirm-it-is-you" in answer["Location"] or "reauthenticate" in answer["Location"]
    assert not Organization.objects.get(pk=organization.pk).legal_hold


def test_the_admin_leads_there_and_nowhere_else_in_organizations():
    index = browser_of(make_staff()).get(reverse("admin:index")).content.decode()

    assert PAGE in index
    assert f"{PAGE}add/" not in index
    assert browser_of(make_staff()).get(f"{PAGE}add/").status_code == 404
    assert PAGE not in browser_of(make_staff(StaffGroup.SALES)).get(reverse("admin:index")).content.decode()
