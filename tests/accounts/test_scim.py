"""Directories as they ask: what a token opens, the documented requests of two large providers, and what is refused."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import (
    AuditEvent,
    DirectoryGroup,
    DirectoryPerson,
    DirectoryToken,
    Domain,
    Membership,
    Organization,
    Role,
    Scope,
    User,
)
from accounts.scim.protocol import LARGEST_BODY
from accounts.scim.views import MAXIMUM_OPERATIONS
from accounts.services import directory_people, domain_join
from accounts.services.api_keys import issue_key
from accounts.services.directory_groups import set_group_role
from accounts.services.directory_tokens import revoke_directory_token
from accounts.services.members import change_role, leave_organization, remove_member
from portal.lib.key_format import KeyKind, new_secret
from tests.accounts.directories import ERROR, GROUP, LIST, USER, Answer, Directory, make_directory
from tests.factories.accounts import make_domain, make_membership, make_organization, make_user

pytestmark = pytest.mark.django_db

NOW = datetime.now(UTC)


@pytest.fixture
def directory() -> Directory:
    return make_directory()


def owner_of(organization: Organization) -> Membership:
    return Membership.objects.owned_by(organization).get(role=Role.OWNER)


def member_at(directory: Directory, who: str) -> Membership | None:
    members = Membership.objects.owned_by(directory.organization)
    return members.filter(user__email=f"{who}@acme.example").first()


def role_of(directory: Directory, who: str) -> str | None:
    member = member_at(directory, who)
    return member.role if member else None


def give(directory: Directory, group_id: str, role: Role | None) -> None:
    group = DirectoryGroup.objects.get(public_id=group_id)
    set_group_role(group=group, role=role, by=owner_of(directory.organization), now=NOW)


def refused(answer: Answer, status: int, scim_type: str | None = None) -> str:
    """Return the sentence of a refusal of the protocol."""
    assert answer.status == status, answer
    assert answer.body["schemas"] == [ERROR]
    assert answer.body["status"] == str(status)
    assert answer.body.get("scimType") == scim_type, answer
    assert answer.headers["Content-Type"] == "application/scim+json"
    return str(answer.body["detail"])


def actions(organization: Organization) -> list[str]:
    return list(AuditEvent.objects.owned_by(organization).order_by("sequence").values_list("action", flat=True))


# --- The token -----------------------------------------------------------------------------------


def test_a_token_that_opens_nothing_gets_one_answer_whatever_the_reason(directory: Directory):
    token = DirectoryToken.objects.get()
    good = directory.secret
    answers = []
    for secret in ["", "nonsense", good[:-1] + "x", good + "x", good.upper(), new_secret("hr", KeyKind.DIRECTORY)]:
        directory.secret = secret
        answers.append(directory.get("Users"))
    directory.secret = good
    tokens = DirectoryToken.objects.filter(pk=token.pk)
    tokens.update(expires_at=NOW - timedelta(seconds=1))
    answers.append(directory.get("Users"))
    tokens.update(expires_at=token.expires_at, revoked_at=NOW)
    answers.append(directory.get("Users"))
    tokens.update(revoked_at=None)
    assert directory.get("Users").status == 200
    Organization.objects.update(closes_at=NOW, closed_at=NOW)
    answers.append(directory.get("Users"))

    assert {refused(answer, 401) for answer in answers} == {answers[0].body["detail"]}
    assert {answer.headers["WWW-Authenticate"] for answer in answers} == {'Bearer realm="scim"'}
    assert directory.client.get("/scim/v2/Users").status_code == 401


def test_a_malformed_token_costs_no_query(directory: Directory):
    directory.secret = "hr_scim_" + "x" * 40

    with CaptureQueriesContext(connection) as queries:
        directory.get("Users")

    assert not [query for query in queries if "accounts_" in query["sql"]]


def test_a_token_s_use_is_noted_and_its_end_is_at_once(directory: Directory, django_capture_on_commit_callbacks: Any):
    with django_capture_on_commit_callbacks(execute=True):
        assert directory.get("Users").status == 200
    token = DirectoryToken.objects.get()
    assert token.last_used_at is not None

    revoke_directory_token(token=token, now=NOW)

    refused(directory.get("Users"), 401)


def test_a_directory_sees_nothing_of_another_organization(directory: Directory):
    other = make_directory(domain="other.example")
    person, group = directory.user_id(), str(directory.add_group("Crew").body["id"])

    for path in (f"Users/{person}", f"Groups/{group}"):
        missing = other.get(path.replace(person, "scimuser_x").replace(group, "scimgroup_x"))
        assert other.get(path).body == missing.body
        for method in ("PUT", "PATCH", "DELETE"):
            whole = {"schemas": [USER], "userName": "x@other.example", "displayName": "x"}
            patch = {"Operations": [{"op": "replace", "value": {"displayName": "x"}}]}
            refused(other.ask(method, path, whole if method == "PUT" else patch), 404)
    assert other.get("Users").body["totalResults"] == 0
    for query in ({}, {"excludedAttributes": "members"}):
        assert other.get("Groups", **query).body["totalResults"] == 0
    assert "not in the directory" in refused(other.add_group("Theirs", person), 400, "invalidValue")
    assert DirectoryPerson.objects.get(public_id=person).user_name == "ada@acme.example"


# --- People --------------------------------------------------------------------------------------


def test_who_is_provisioned_is_a_member_with_an_account_that_is_theirs(directory: Directory):
    added = directory.add_user("ada", name={"givenName": "Ada", "familyName": "Lovelace"}, externalId="00u1")

    assert added.status == 201
    assert added.headers["Location"] == added.body["meta"]["location"]
    member = member_at(directory, "ada")
    assert member is not None
    assert (member.role, member.user.full_name) == (Role.VIEWER, "Ada Lovelace")
    assert not member.user.has_usable_password()
    address = EmailAddress.objects.get(user=member.user)
    assert (address.email, address.verified, address.primary) == ("ada@acme.example", True, True)
    assert actions(directory.organization)[-2:] == ["directory_person.added", "member.joined"]


def test_only_addresses_of_verified_domains_are_let_in(directory: Directory):
    make_domain(directory.organization, "pending.example", verified_at=None)
    make_domain(make_organization(), "theirs.example")

    for email in ("eve@theirs.example", "eve@pending.example", "eve@nobody.example", "eve@sub.acme.example"):
        answer = directory.add_user("eve", userName=email, emails=[{"value": email}])
        assert "is no verified domain of this organization" in refused(answer, 400, "invalidValue")
    for name in ("eve", "eve@acme.example@", "@acme.example", "eve@acme.example\0", "", "x" * 201):
        refused(directory.add_user("eve", userName=name, emails=[]), 400, "invalidValue")
    assert not DirectoryPerson.objects.exists()
    assert not User.objects.filter(email__startswith="eve").exists()


def test_an_inactive_person_is_listed_and_is_no_member(directory: Directory):
    person = directory.user_id("ada", active=False)

    assert directory.get(f"Users/{person}").body["active"] is False
    assert member_at(directory, "ada") is None
    assert not User.objects.filter(email="ada@acme.example").exists()


def test_the_same_name_or_address_is_taken_whatever_its_case(directory: Directory):
    directory.user_id("ada")

    refused(directory.add_user("ada"), 409, "uniqueness")
    refused(directory.add_user("x", userName="ADA@acme.example"), 409, "uniqueness")
    # A Kelvin sign, which is a k in small letters.
    directory.user_id("k")
    refused(directory.add_user("x", userName="\u212a@acme.example"), 409, "uniqueness")
    refused(directory.add_user("x", userName="other", emails=[{"value": "Ada@Acme.example"}]), 409, "uniqueness")


def test_deactivating_ends_the_membership_and_activating_begins_a_new_one(directory: Directory):
    person = directory.user_id("ada")
    give(directory, str(directory.add_group("Crew", person).body["id"]), Role.DEVELOPER)
    user = User.objects.get(email="ada@acme.example")

    gone = directory.patch(f"Users/{person}", {"op": "replace", "path": "active", "value": False})
    assert gone.body["active"] is False
    assert member_at(directory, "ada") is None

    back = directory.patch(f"Users/{person}", {"op": "replace", "path": "active", "value": True})
    assert back.body["active"] is True
    member = member_at(directory, "ada")
    assert member is not None
    assert (member.user, member.role) == (user, Role.DEVELOPER)


def test_a_leaver_is_a_stranger_on_the_next_request(directory: Directory):
    person = directory.user_id("ada")
    browser = Client()
    browser.force_login(
        User.objects.get(email="ada@acme.example"), backend="allauth.account.auth_backends.AuthenticationBackend"
    )
    page = f"/o/{directory.organization.slug}/members/"
    assert browser.get(page).status_code == 200

    directory.patch(f"Users/{person}", {"op": "replace", "value": {"active": False}})

    assert browser.get(page).status_code == 404


def test_deleting_forgets_the_record_and_ends_the_membership(directory: Directory):
    person = directory.user_id("ada")

    assert directory.ask("DELETE", f"Users/{person}").status == 204

    refused(directory.get(f"Users/{person}"), 404)
    refused(directory.ask("DELETE", f"Users/{person}"), 404)
    assert member_at(directory, "ada") is None
    assert directory.add_user("ada").status == 201


def test_whoever_leaves_in_another_way_is_inactive_in_the_directory(directory: Directory):
    people = {who: directory.user_id(who) for who in ("ada", "bob")}
    ada, bob = member_at(directory, "ada"), member_at(directory, "bob")
    assert ada is not None
    assert bob is not None
    remove_member(membership=ada, by=owner_of(directory.organization), now=NOW)
    leave_organization(membership=bob, now=NOW)

    assert [directory.get(f"Users/{person}").body["active"] for person in people.values()] == [False, False]


def test_ending_asks_for_no_domain_and_beginning_does(directory: Directory):
    person = directory.user_id("ada")
    Domain.objects.all().delete()
    put = {"schemas": [USER], "userName": "ada@acme.example", "active": False}

    assert directory.patch(f"Users/{person}", {"op": "replace", "path": "displayName", "value": "A"}).status == 200
    assert directory.ask("PUT", f"Users/{person}", put).body["active"] is False
    assert "no verified domain" in refused(
        directory.ask("PUT", f"Users/{person}", put | {"active": True}), 400, "invalidValue"
    )


def test_members_are_adopted_and_keep_the_role_that_no_group_gives(directory: Directory):
    user = make_user("ada@acme.example")
    EmailAddress.objects.create(user=user, email="ada@acme.example", verified=True, primary=True)
    member = make_membership(directory.organization, user, Role.ADMIN)

    person = directory.user_id("ada")

    adopted = DirectoryPerson.objects.get(public_id=person).membership
    assert adopted == member
    assert adopted.role == Role.ADMIN
    assert actions(directory.organization)[-1] == "member.adopted"


def test_an_account_that_never_proved_its_address_loses_what_could_open_it(directory: Directory):
    """Somebody signed up with the address of a person who was to come, and waits in their account."""
    squatter = make_user("ada@acme.example", "correct horse battery staple")
    EmailAddress.objects.create(user=squatter, email="ada@acme.example", verified=False, primary=True)
    EmailAddress.objects.create(user=squatter, email="evil@squatter.example", verified=False, primary=False)
    Authenticator.objects.create(user=squatter, type=Authenticator.Type.WEBAUTHN, data={})
    browser = Client()
    browser.force_login(squatter, backend="allauth.account.auth_backends.AuthenticationBackend")
    assert browser.get("/organizations/").status_code == 200

    directory.user_id("ada")

    squatter.refresh_from_db()
    assert not squatter.has_usable_password()
    assert not Authenticator.objects.filter(user=squatter).exists()
    addresses = EmailAddress.objects.filter(user=squatter).values_list("email", "verified")
    assert list(addresses) == [("ada@acme.example", True)]
    assert browser.get("/organizations/").status_code == 302
    assert Client().login(email="ada@acme.example", password="correct horse battery staple") is False


def test_an_address_that_somebody_added_to_their_account_unproved_does_not_make_them_the_person(directory: Directory):
    other = make_user("eve@elsewhere.example")
    EmailAddress.objects.create(user=other, email="eve@elsewhere.example", verified=True, primary=True)
    EmailAddress.objects.create(user=other, email="ada@acme.example", verified=False, primary=False)

    directory.user_id("ada")

    member = member_at(directory, "ada")
    assert member is not None
    assert member.user != other
    assert not Membership.objects.of_user(other).exists()


def test_closed_accounts_and_staff_are_not_provisioned(directory: Directory):
    for who, change in (("closed", {"is_active": False}), ("staff", {"is_staff": True})):
        user = make_user(f"{who}@acme.example")
        EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
        User.objects.filter(pk=user.pk).update(**change)

        refused(directory.add_user(who), 409)
    half = make_user("half@acme.example")
    EmailAddress.objects.create(user=half, email="half@elsewhere.example", verified=True, primary=False)
    assert "confirm it first" in refused(directory.add_user("half"), 409)
    assert not DirectoryPerson.objects.exists()


def test_an_address_that_changes_changes_the_record_and_no_account(directory: Directory):
    person, _bob = directory.user_id("ada"), directory.user_id("bob")
    path = 'emails[type eq "work"].value'

    changed = directory.patch(f"Users/{person}", {"op": "replace", "path": path, "value": "Ada.King@acme.example"})

    assert changed.body["emails"][0]["value"] == "ada.king@acme.example"
    user = DirectoryPerson.objects.get(public_id=person).membership.user  # type: ignore[union-attr]
    assert list(EmailAddress.objects.filter(user=user).values_list("email", flat=True)) == ["ada@acme.example"]
    stranger = make_user("carol@acme.example")
    EmailAddress.objects.create(user=stranger, email=stranger.email, verified=True, primary=True)
    for taken in ("bob@acme.example", "carol@acme.example"):
        refused(directory.patch(f"Users/{person}", {"op": "replace", "path": path, "value": taken}), 409, "uniqueness")
    refused(
        directory.patch(f"Users/{person}", {"op": "replace", "path": path, "value": "a@b.example"}), 400, "invalidValue"
    )


def test_two_records_are_not_one_account(directory: Directory):
    directory.user_id("ada")
    user = User.objects.get(email="ada@acme.example")
    EmailAddress.objects.create(user=user, email="king@acme.example", verified=True, primary=False)

    assert "somebody else's in the directory" in refused(directory.add_user("king"), 409, "uniqueness")


# --- Owners --------------------------------------------------------------------------------------


def test_a_directory_makes_changes_and_removes_no_owner(directory: Directory):
    owner = owner_of(directory.organization)
    EmailAddress.objects.create(user=owner.user, email="olga@acme.example", verified=True, primary=False)
    person = directory.user_id("olga")
    group = str(directory.add_group("Crew", person).body["id"])
    give(directory, group, Role.VIEWER)
    put = {"schemas": [USER], "userName": "olga@acme.example", "active": False}

    for answer in (
        directory.patch(f"Users/{person}", {"op": "replace", "path": "active", "value": False}),
        directory.ask("PUT", f"Users/{person}", put),
        directory.ask("DELETE", f"Users/{person}"),
    ):
        assert "owner" in refused(answer, 409, "mutability")
    directory.ask("DELETE", f"Groups/{group}")

    owner.refresh_from_db()
    assert owner.role == Role.OWNER
    assert directory.get(f"Users/{person}").body["active"] is True


# --- Groups and roles ----------------------------------------------------------------------------


def test_the_most_powerful_role_of_the_groups_counts(directory: Directory):
    ada, bob = directory.user_id("ada"), directory.user_id("bob")
    crew = str(directory.add_group("Crew", ada, bob).body["id"])
    money = str(directory.add_group("Money", ada).body["id"])
    assert role_of(directory, "ada") == Role.VIEWER

    give(directory, crew, Role.DEVELOPER)
    give(directory, money, Role.BILLING)
    assert (role_of(directory, "ada"), role_of(directory, "bob")) == (Role.DEVELOPER, Role.DEVELOPER)
    give(directory, money, Role.ADMIN)
    assert (role_of(directory, "ada"), role_of(directory, "bob")) == (Role.ADMIN, Role.DEVELOPER)

    directory.patch(f"Groups/{money}", {"op": "remove", "path": f'members[value eq "{ada}"]'})
    assert role_of(directory, "ada") == Role.DEVELOPER
    directory.ask("DELETE", f"Groups/{crew}")
    assert (role_of(directory, "ada"), role_of(directory, "bob")) == (Role.VIEWER, Role.VIEWER)


def test_a_role_given_by_hand_stays_where_no_group_gives_one(directory: Directory):
    ada, bob = directory.user_id("ada"), directory.user_id("bob")
    member = member_at(directory, "ada")
    assert member is not None
    change_role(membership=member, role=Role.ADMIN, by=owner_of(directory.organization), now=NOW)

    group = str(directory.add_group("Crew", ada).body["id"])
    directory.patch(f"Groups/{group}", {"op": "add", "path": "members", "value": [{"value": bob}]})
    directory.patch(f"Groups/{group}", {"op": "replace", "value": {"displayName": "Team"}})
    directory.ask("DELETE", f"Groups/{group}")

    assert role_of(directory, "ada") == Role.ADMIN


def test_own_keys_that_may_more_than_their_maker_end_with_the_groups_that_let_them(directory: Directory):
    ada, bob = directory.user_id("ada"), directory.user_id("bob")
    crew = str(directory.add_group("Crew", ada, bob).body["id"])
    give(directory, crew, Role.DEVELOPER)
    project = directory.organization.projects.get()
    keys = []
    for who in ("ada", "bob"):
        member = member_at(directory, who)
        assert member is not None
        keys += [
            issue_key(
                project=project,
                name=f"{who}, {is_personal}",
                scopes=[Scope.INFERENCE],
                created_by=member.user,
                now=NOW,
                is_personal=is_personal,
            ).api_key
            for is_personal in (True, False)
        ]

    give(directory, crew, Role.VIEWER)

    for key in keys:
        key.refresh_from_db()
    assert [key.revoked_at is not None for key in keys] == [True, False, True, False]
    assert actions(directory.organization).count("key.revoked") == 2

    # And where somebody who is here already is adopted into a group that gives them less.
    eve = make_membership(directory.organization, make_user("eve@acme.example"), Role.ADMIN)
    EmailAddress.objects.get_or_create(user=eve.user, email="eve@acme.example", verified=True, primary=True)
    listed = directory.user_id("eve", active=False)
    directory.patch(f"Groups/{crew}", {"op": "add", "path": "members", "value": [{"value": listed}]})
    own = issue_key(
        project=project, name="eve", scopes=[Scope.INFERENCE], created_by=eve.user, now=NOW, is_personal=True
    ).api_key
    directory.patch(f"Users/{listed}", {"op": "replace", "path": "active", "value": True})
    own.refresh_from_db()
    assert role_of(directory, "eve") == Role.VIEWER
    assert own.revoked_at is not None


def test_groups_and_what_they_did_are_written_down_without_a_name(directory: Directory):
    ada = directory.user_id("ada", name={"givenName": "Adalbert"})
    group = str(directory.add_group("Crew of Adalbert").body["id"])
    give(directory, group, Role.DEVELOPER)
    directory.patch(f"Groups/{group}", {"op": "add", "path": "members", "value": [{"value": ada}]})

    entries = AuditEvent.objects.owned_by(directory.organization).order_by("sequence")
    assert [entry.action for entry in entries][-3:] == [
        "directory_group.role_set",
        "member.role_changed",
        "directory_group.changed",
    ]
    token = DirectoryToken.objects.get()
    by_directory = entries.filter(actor_kind="scim")
    assert {entry.actor_id for entry in by_directory} == {token.public_id}
    written = "".join(entry.changes + entry.target_id for entry in by_directory)
    assert "Adalbert" not in written
    assert "acme.example" not in written
    assert json.loads(entries.filter(action="member.role_changed").get().changes)["role"] == ["viewer", "developer"]


def test_a_group_name_is_taken_once_and_members_must_be_known(directory: Directory):
    ada = directory.user_id("ada")
    directory.add_group("Crew", ada)

    for name in ("CREW", "crew", " Crew "):
        refused(directory.add_group(name), 409, "uniqueness")
    for stranger in ("scimuser_nobody", "", "\0", "\ud800", directory.organization.public_id):
        refused(directory.add_group("Others", ada, stranger), 400, "invalidValue")
    refused(directory.ask("POST", "Groups", {"schemas": [GROUP]}), 400, "invalidValue")
    assert DirectoryGroup.objects.count() == 1


# --- Limits --------------------------------------------------------------------------------------


def test_a_full_organization_takes_nobody_in(directory: Directory, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(domain_join, "MAXIMUM_MEMBERS", 2)
    directory.user_id("ada")

    assert "as many members" in refused(directory.add_user("bob"), 409)
    assert directory.add_user("bob", active=False).status == 201
    assert not User.objects.filter(email="bob@acme.example").exists()


def test_a_directory_has_a_size(directory: Directory, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(directory_people, "MAXIMUM_PEOPLE", 1)
    directory.user_id("ada")

    refused(directory.add_user("bob"), 409)


def test_an_organization_that_is_being_deleted_takes_nobody_in(directory: Directory):
    person = directory.user_id("ada")
    Organization.objects.filter(pk=directory.organization.pk).update(closes_at=NOW + timedelta(days=3))

    refused(directory.add_user("bob"), 409)
    assert directory.ask("DELETE", f"Users/{person}").status == 204


# --- Lists ---------------------------------------------------------------------------------------


@pytest.fixture
def crowd(directory: Directory) -> Directory:
    for number in range(5):
        directory.user_id(
            f"p{number}", externalId=f"ext-{number}", displayName=f"Person {number % 2}", active=number != 4
        )
    return directory


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ('userName eq "P1@ACME.example"', ["p1"]),
        ('emails.value eq "p2@acme.example"', ["p2"]),
        ('emails eq "p2@acme.example"', ["p2"]),
        ('emails[type eq "work"].value eq "p3@acme.example"', ["p3"]),
        ('emails[type eq "home"].value eq "p3@acme.example"', []),
        ('externalId eq "ext-1"', ["p1"]),
        ('externalId eq "EXT-1"', []),
        ('displayName eq "person 1"', ["p1", "p3"]),
        ('displayName eq "person 1" and externalId eq "ext-3"', ["p3"]),
        ('displayName eq "person 0" and active eq true', ["p0", "p2"]),
        ('externalId eq "ext-0" or externalId eq "ext-1"', ["p0", "p1"]),
        ('not (displayName eq "person 0")', ["p1", "p3"]),
        ('userName sw "p" and emails co "p4"', ["p4"]),
        ('urn:ietf:params:scim:schemas:core:2.0:User:userName eq "p1@acme.example"', ["p1"]),
        ('userName eq "p1@acme.example\\u0000"', []),
        ('externalId eq "\\ud800"', []),
        ("active eq false", ["p4"]),
        ("title pr", None),
    ],
)
def test_a_filter_finds_what_it_says(crowd: Directory, wanted: str, found: list[str] | None):
    for answer in (crowd.get("Users", filter=wanted), crowd.ask("POST", "Users/.search", {"filter": wanted})):
        if found is None:
            refused(answer, 400, "invalidFilter")
        else:
            assert answer.body["schemas"] == [LIST]
            assert [one["userName"].partition("@")[0] for one in answer.body["Resources"]] == found
            assert answer.body["totalResults"] == len(found)


def test_a_list_of_groups_without_members_reads_none(crowd: Directory):
    crowd.add_group("Crew", *[one["id"] for one in crowd.get("Users").body["Resources"]])
    asked = {"schemas": [], "excludedAttributes": ["members"]}
    for answer_of in (
        lambda: crowd.get("Groups", excludedAttributes="members"),
        lambda: crowd.get("Groups", excludedAttributes="externalId, Members"),
        lambda: crowd.ask("POST", "Groups/.search", asked),
    ):
        with CaptureQueriesContext(connection) as queries:
            answer = answer_of()

        assert answer.status == 200
        assert [group["displayName"] for group in answer.body["Resources"]]
        assert not [group for group in answer.body["Resources"] if "members" in group]
        assert not [query for query in queries if "accounts_directorygroupmember" in query["sql"]]
    # A filter about members is answered all the same.
    whole = crowd.get("Groups", filter="members pr", excludedAttributes="members")
    assert whole.body["totalResults"] > 0


def test_an_id_finds_its_resource_and_groups_their_members(crowd: Directory):
    people = [one["id"] for one in crowd.get("Users").body["Resources"]]
    crew = crowd.add_group("Crew", *people[:2]).body["id"]
    crowd.add_group("Others", people[2])

    assert crowd.get("Users", filter=f'id eq "{people[3]}"').body["Resources"][0]["id"] == people[3]
    for wanted in (
        f'members eq "{people[1]}"',
        f'members.value eq "{people[1]}"',
        f'id eq "{crew}" and members eq "{people[0]}"',
        f'members[value eq "{people[0]}"]',
        'displayName eq "crew"',
    ):
        assert [one["id"] for one in crowd.get("Groups", filter=wanted).body["Resources"]] == [crew], wanted
    assert crowd.get(f"Users/{people[0]}").body["groups"][0]["value"] == crew


def test_a_list_is_cut_into_pages(crowd: Directory, django_assert_max_num_queries: Any):
    def page(**query: Any) -> tuple[int, int, int, list[str]]:
        body = crowd.get("Users", **query).body
        names = [one["userName"].partition("@")[0] for one in body["Resources"]]
        return body["totalResults"], body["startIndex"], body["itemsPerPage"], names

    assert page() == (5, 1, 5, ["p0", "p1", "p2", "p3", "p4"])
    assert page(startIndex=2, count=2) == (5, 2, 2, ["p1", "p2"])
    assert page(startIndex=5, count=2, filter="userName pr") == (5, 5, 1, ["p4"])
    assert page(startIndex=-7, count=1) == (5, 1, 1, ["p0"])
    assert page(count=0) == (5, 1, 0, [])
    assert page(count=-1) == (5, 1, 0, [])
    assert page(count=10**12, startIndex=6) == (5, 6, 0, [])
    assert page(startIndex=10**30)[3] == []
    refused(crowd.get("Users", count="many"), 400, "invalidValue")
    with django_assert_max_num_queries(16):
        crowd.get("Users")


def test_an_answer_has_the_attributes_that_were_asked_for(crowd: Directory):
    person = crowd.get("Users", attributes="userName").body["Resources"][0]
    assert set(person) == {"schemas", "id", "userName"}
    group = crowd.add_group("Crew", person["id"]).body["id"]

    assert "members" not in crowd.get(f"Groups/{group}", excludedAttributes="members").body
    assert "members" not in crowd.get("Groups", excludedAttributes="members").body["Resources"][0]
    assert "members" in crowd.get(f"Groups/{group}").body
    refused(crowd.get("Users", attributes="id", excludedAttributes="emails"), 400, "invalidValue")


# --- What is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    ["{", "[]", "null", '"x"', "\xff", "[" * 100_000, '{"a":' * 5_000 + "1" + "}" * 5_000, '{"userName": NaN}'],
    ids=["cut", "list", "null", "text", "bytes", "deep list", "deep object", "not a number"],
)
def test_a_body_that_is_none_is_refused(directory: Directory, body: str):
    person = directory.user_id("ada")
    for method, path in (
        ("POST", "Users"),
        ("POST", "Groups"),
        ("PUT", f"Users/{person}"),
        ("PATCH", f"Users/{person}"),
    ):
        refused(directory.ask(method, path, body.encode("latin-1")), 400, "invalidSyntax")


def test_a_body_has_a_size_and_a_type(directory: Directory):
    huge = json.dumps({"schemas": [USER], "userName": "x@acme.example", "nickName": "x" * LARGEST_BODY})
    assert "262144" in refused(directory.ask("POST", "Users", huge), 413)
    refused(directory.ask("POST", "Users", "{}", content_type="text/plain"), 415)
    refused(directory.ask("POST", "Users"), 415)
    refused(directory.ask("POST", "Users", "{}", content_type="multipart/form-data; boundary=x"), 415)
    # The plain type of JSON does as well.
    body = json.dumps({"schemas": [USER], "userName": "x@acme.example"})
    assert directory.ask("POST", "Users", body, content_type="application/json; charset=utf-8").status == 201


@pytest.mark.parametrize(
    ("body", "scim_type"),
    [
        ({}, "invalidValue"),
        ({"userName": None}, "invalidValue"),
        ({"userName": 5}, "invalidValue"),
        ({"userName": "a@acme.example", "active": "perhaps"}, "invalidValue"),
        ({"userName": "a@acme.example", "emails": "a@acme.example"}, "invalidValue"),
        ({"userName": "a@acme.example", "emails": [5]}, "invalidValue"),
        ({"userName": "a@acme.example", "name": []}, "invalidValue"),
        ({"userName": "a@acme.example", "displayName": "two\nlines"}, "invalidValue"),
        ({"userName": "a@acme.example", "displayName": "\ud800"}, "invalidValue"),
    ],
)
def test_values_that_do_not_fit_are_refused(directory: Directory, body: dict[str, Any], scim_type: str):
    refused(directory.ask("POST", "Users", {"schemas": [USER], **body}), 400, scim_type)
    assert not DirectoryPerson.objects.exists()


def test_unknown_attributes_change_nothing(directory: Directory):
    extension = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
    added = directory.add_user(
        "ada",
        schemas=[USER, extension],
        title="Countess",
        password="secret words",
        phoneNumbers=[{"value": "1", "type": "work"}],
        **{extension: {"department": "Engines", "manager": {"value": "x"}}},
    )

    assert added.status == 201
    assert "title" not in added.body
    assert extension not in added.body
    user = User.objects.get(email="ada@acme.example")
    assert not user.has_usable_password()


@pytest.mark.parametrize(
    ("operation", "status", "scim_type"),
    [
        ({"op": "replace", "path": "id", "value": "x"}, 400, "mutability"),
        ({"op": "replace", "path": "groups", "value": []}, 400, "mutability"),
        ({"op": "replace", "path": "foo..bar", "value": "x"}, 400, "invalidPath"),
        ({"op": "conjure", "path": "active", "value": True}, 400, "invalidValue"),
        ({"op": "remove"}, 400, "noTarget"),
        ({"op": "remove", "path": "userName"}, 400, "mutability"),
        ({"op": "add", "path": "userName"}, 400, "invalidValue"),
        ({"op": "replace", "path": "active", "value": "perhaps"}, 400, "invalidValue"),
        ({"op": "replace", "path": "userName", "value": {"deep": "object"}}, 400, "invalidValue"),
    ],
)
def test_a_patch_that_cannot_be_is_refused_and_changes_nothing(
    directory: Directory, operation: dict[str, Any], status: int, scim_type: str
):
    person = directory.user_id("ada")
    before = directory.get(f"Users/{person}").body
    first = {"op": "replace", "path": "displayName", "value": "Changed"}

    said = refused(directory.patch(f"Users/{person}", first, operation), status, scim_type)

    assert "\n" not in said
    assert directory.get(f"Users/{person}").body == before


def test_a_patch_has_a_length(directory: Directory):
    person = directory.user_id("ada")
    many = [{"op": "replace", "path": "displayName", "value": "x"}] * (MAXIMUM_OPERATIONS + 1)

    refused(directory.patch(f"Users/{person}", *many), 413)
    refused(directory.patch(f"Users/{person}"), 400, "invalidValue")
    assert directory.patch(f"Users/{person}", *many[1:]).status == 200


def test_what_is_not_there_is_refused_in_the_words_of_the_protocol(directory: Directory):
    for path in ("", "Nothing", "Users/", "Me", "Bulk", "Schemas/nothing", "ResourceTypes/Pet", "Users/a/b"):
        refused(directory.get(path), 404) if path else None
    for method in ("PUT", "PATCH", "DELETE"):
        refused(directory.ask(method, "Users", {}), 405)
        refused(directory.ask(method, "ServiceProviderConfig", {}), 405)
    refused(directory.ask("POST", "Bulk", {}), 404)


def test_the_service_describes_itself(directory: Directory):
    config = directory.get("ServiceProviderConfig").body
    assert (config["patch"]["supported"], config["bulk"]["supported"]) == (True, False)
    schemas = directory.get("Schemas").body["Resources"]
    assert {one["id"] for one in schemas} == {USER, GROUP}
    assert directory.get(f"Schemas/{USER}").body["name"]
    assert directory.get("ResourceTypes/User").body["endpoint"] == "/Users"
