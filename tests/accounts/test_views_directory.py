"""The directory's page: its tokens, its groups and what they give, its people."""

from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent, DirectoryToken, Membership, Organization, Role
from accounts.services.directory_groups import UnableToSetGroupRole, set_group_role
from accounts.services.directory_tokens import (
    UnableToIssueToken,
    issue_directory_token,
    revoke_directory_token,
    token_of,
)
from accounts.services.leaked_keys import end_leaked_secret
from tests.factories.accounts import (
    make_directory_group,
    make_directory_person,
    make_directory_token,
    make_membership,
    make_organization,
)

pytestmark = pytest.mark.django_db

NOW = datetime.now(UTC)


@pytest.fixture
def organization() -> Organization:
    return make_organization("Acme")


@pytest.fixture
def admin(organization: Organization) -> Membership:
    return make_membership(organization, role=Role.ADMIN)


def browser_of(member: Membership, *, is_recent: bool = True) -> Client:
    client = Client()
    client.force_login(member.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    session = client.session
    session["signed_in_at"] = datetime.now(UTC).timestamp() - (0 if is_recent else 3_600)
    session.save()
    return client


def page_of(organization: Organization) -> str:
    return reverse("accounts:directory", args=[organization.slug])


def test_a_token_is_shown_once_and_works_for_a_year(organization: Organization, admin: Membership):
    client = browser_of(admin)

    made = client.post(page_of(organization), {"name": "Okta", "life": "365"})

    token = DirectoryToken.objects.get()
    secret = made.context["secret"]
    assert secret.startswith("hr_scim_")
    assert secret in made.content.decode()
    assert "/scim/v2" in made.content.decode()
    assert token.expires_at is not None
    assert abs(token.expires_at - datetime.now(UTC) - timedelta(days=365)) < timedelta(minutes=1)
    assert token_of(secret, NOW) == token
    later = client.get(page_of(organization)).content.decode()
    assert secret not in later
    assert token.label in later
    assert secret.encode() not in bytes(token.digest)


def test_a_token_takes_a_recent_sign_in_and_revoking_does_not(organization: Organization, admin: Membership):
    token = make_directory_token(admin, now=NOW).token
    client = browser_of(admin, is_recent=False)

    asked = client.post(page_of(organization), {"name": "Okta", "life": "365"})
    assert asked.status_code == 302
    assert DirectoryToken.objects.count() == 1

    revoke = reverse("accounts:directory-token-revoke", args=[organization.slug, token.public_id])
    assert client.get(revoke).status_code == 200
    assert client.post(revoke).status_code == 302
    token.refresh_from_db()
    assert token.revoked_at is not None


def test_two_tokens_work_at_a_time(organization: Organization, admin: Membership):
    first = make_directory_token(admin, now=NOW).token
    make_directory_token(admin, now=NOW)
    client = browser_of(admin)

    third = client.post(page_of(organization), {"name": "Third", "life": "30"})
    assert third.status_code == 422
    assert "revoke the one that nobody uses" in third.content.decode()

    revoke_directory_token(token=first, now=NOW)
    assert client.post(page_of(organization), {"name": "Third", "life": "30"}).status_code == 200


@pytest.mark.parametrize(("name", "days"), [(" ", 30), ("Okta", 0), ("Okta", 366), ("Okta", -1)])
def test_a_token_without_name_or_end_is_not_issued(admin: Membership, name: str, days: int):
    with pytest.raises(UnableToIssueToken):
        issue_directory_token(name=name, life=timedelta(days=days), by=admin, now=NOW)
    assert not DirectoryToken.objects.exists()


def test_revoking_twice_writes_once(admin: Membership):
    token = make_directory_token(admin, now=NOW).token

    for _ in range(2):
        revoke_directory_token(token=token, now=NOW)

    assert AuditEvent.objects.filter(action="directory_token.revoked").count() == 1


def test_who_lost_the_right_meanwhile_issues_nothing(admin: Membership):
    Membership.objects.filter(pk=admin.pk).update(role=Role.DEVELOPER)

    with pytest.raises(UnableToIssueToken):
        make_directory_token(admin, now=NOW)


def test_a_token_that_was_found_in_public_ends(admin: Membership):
    secret = make_directory_token(admin, now=NOW).secret

    for _ in range(2):
        assert end_leaked_secret(secret=secret, url="", source="", reporter="scanner", now=NOW)

    assert token_of(secret, NOW) is None
    assert AuditEvent.objects.filter(action="directory_token.revoked").count() == 1


def test_the_role_of_a_group_is_chosen_on_the_page(organization: Organization, admin: Membership):
    member = make_membership(organization, role=Role.VIEWER)
    person = make_directory_person(organization, "ada@acme.example", membership=member, name="Ada Lovelace")
    group = make_directory_group(organization, "Engineers", person)
    client = browser_of(admin)
    address = reverse("accounts:directory-group-role", args=[organization.slug, group.public_id])

    assert client.post(address, {"given_role": "developer"}).status_code == 302

    page = client.get(page_of(organization)).content.decode()
    assert "Ada Lovelace" in page
    assert "Engineers gives: Developer." in page
    member.refresh_from_db()
    assert member.role == Role.DEVELOPER
    client.post(address, {"given_role": ""})
    member.refresh_from_db()
    assert member.role == Role.VIEWER


@pytest.mark.parametrize("role", ["owner", "emperor"])
def test_a_group_makes_no_owner(organization: Organization, admin: Membership, role: str):
    group = make_directory_group(organization, "Engineers")
    client = browser_of(admin)

    client.post(
        reverse("accounts:directory-group-role", args=[organization.slug, group.public_id]), {"given_role": role}
    )

    group.refresh_from_db()
    assert group.role == ""
    assert "There is no such role." in client.get(page_of(organization)).content.decode()
    owner = make_membership(organization)
    with pytest.raises(UnableToSetGroupRole):
        set_group_role(group=group, role=Role.OWNER, by=owner, now=NOW)


def test_many_people_are_shown_page_by_page_with_few_queries(
    organization: Organization, admin: Membership, django_assert_max_num_queries
):
    for number in range(60):
        make_directory_person(organization, f"person{number}@acme.example")
    client = browser_of(admin)
    client.get(page_of(organization))

    with django_assert_max_num_queries(40):
        first = client.get(page_of(organization))

    assert len(first.context["page"].rows) == 50
    second = client.get(page_of(organization), {"after": first.context["page"].next_after})
    assert [row.email for row in second.context["page"].rows] == [
        f"person{number}@acme.example" for number in range(50, 60)
    ]


def test_an_empty_directory_says_so(organization: Organization, admin: Membership):
    page = browser_of(admin).get(page_of(organization)).content.decode()

    assert "Your directory has provisioned nobody yet." in page
    assert "Your directory has pushed no group yet." in page
