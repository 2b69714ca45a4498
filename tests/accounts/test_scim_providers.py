"""The requests that two large identity providers document, as they send them, and what becomes of them here."""

from typing import Any
from uuid import uuid4

import pytest

from accounts.models import DirectoryGroup, Membership
from tests.accounts.directories import GROUP, PATCH, USER, Directory, make_directory

pytestmark = pytest.mark.django_db

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


@pytest.fixture
def directory() -> Directory:
    return make_directory()


def is_member(directory: Directory, email: str) -> bool:
    return Membership.objects.owned_by(directory.organization).filter(user__email=email).exists()


def people_of(group_id: str) -> set[str]:
    members = DirectoryGroup.objects.get(public_id=group_id).members
    return set(members.values_list("person__public_id", flat=True))


# --- Okta ----------------------------------------------------------------------------------------


def okta_user(**changes: Any) -> dict[str, Any]:
    return {
        "schemas": [USER],
        "userName": "isaac@acme.example",
        "name": {"givenName": "Isaac", "familyName": "Brock"},
        "emails": [{"primary": True, "value": "isaac@acme.example", "type": "work"}],
        "displayName": "Isaac Brock",
        "locale": "en-US",
        "externalId": "00ujl29u0le5T6Aj10h7",
        "groups": [],
        "password": "1mz050nq",
        "active": True,
    } | changes


def test_okta_looks_for_a_person_and_makes_who_is_not_there(directory: Directory):
    wanted = {"filter": 'userName eq "isaac@acme.example"', "startIndex": "1", "count": "100"}
    assert directory.get("Users", **wanted).body["totalResults"] == 0

    made = directory.ask("POST", "Users", okta_user(), content_type="application/scim+json; charset=utf-8")

    assert made.status == 201
    assert directory.get("Users", **wanted).body["Resources"][0]["id"] == made.body["id"]
    assert is_member(directory, "isaac@acme.example")


def test_okta_updates_with_the_whole_person(directory: Directory):
    made = directory.ask("POST", "Users", okta_user()).body
    whole = okta_user(id=made["id"], meta=made["meta"], name={"givenName": "Isaac", "familyName": "Newton"})

    changed = directory.ask("PUT", f"Users/{made['id']}", whole)

    assert changed.status == 200
    assert changed.body["name"]["familyName"] == "Newton"
    gone = directory.ask("PUT", f"Users/{made['id']}", whole | {"active": False})
    assert gone.body["active"] is False
    assert not is_member(directory, "isaac@acme.example")


def test_okta_deactivates_without_a_path_and_activates_again(directory: Directory):
    person = directory.ask("POST", "Users", okta_user()).body["id"]

    for is_active in (False, True):
        answer = directory.ask(
            "PATCH",
            f"Users/{person}",
            {"schemas": [PATCH], "Operations": [{"op": "replace", "value": {"active": is_active}}]},
        )
        assert (answer.status, answer.body["active"]) == (200, is_active)
        assert is_member(directory, "isaac@acme.example") is is_active


def test_okta_pushes_a_group_and_its_changes(directory: Directory):
    ada, bob, eve = (directory.user_id(who) for who in ("ada", "bob", "eve"))
    assert directory.get("Groups", filter='displayName eq "Crew"').body["totalResults"] == 0
    members = [{"value": ada, "display": "ada@acme.example"}]
    group = directory.ask("POST", "Groups", {"schemas": [GROUP], "displayName": "Crew", "members": members}).body["id"]
    path = f"Groups/{group}"

    def asked(*operations: dict[str, Any]) -> None:
        assert directory.patch(path, *operations).status == 200

    asked({"op": "replace", "value": {"id": group, "displayName": "Whole crew"}})
    assert directory.get(path).body["displayName"] == "Whole crew"
    asked({"op": "replace", "path": "members", "value": [{"value": one, "display": "x"} for one in (ada, bob)]})
    assert people_of(group) == {ada, bob}
    asked(
        {"op": "remove", "path": f'members[value eq "{ada}"]'},
        {"op": "add", "path": "members", "value": [{"value": eve, "display": "eve@acme.example"}]},
    )
    assert people_of(group) == {bob, eve}
    put = {"schemas": [GROUP], "id": group, "displayName": "Crew", "members": [{"value": ada}]}
    assert directory.ask("PUT", path, put).status == 200
    assert people_of(group) == {ada}
    assert directory.ask("DELETE", path).status == 204


# --- Microsoft Entra -----------------------------------------------------------------------------


def test_entra_tests_the_connection_with_a_name_that_nobody_has(directory: Directory):
    answer = directory.get("Users", filter=f'userName eq "{uuid4()}"')

    assert answer.status == 200
    assert (answer.body["totalResults"], answer.body["Resources"]) == (0, [])


def entra_person(directory: Directory) -> str:
    body = {
        "schemas": [USER, ENTERPRISE],
        "externalId": "0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef",
        "userName": "Test_User@acme.example",
        "active": True,
        "emails": [{"primary": True, "type": "work", "value": "test_user@acme.example"}],
        "meta": {"resourceType": "User"},
        "name": {"formatted": "givenName familyName", "familyName": "familyName", "givenName": "givenName"},
        "roles": [],
    }
    made = directory.ask("POST", "Users", body)
    assert made.status == 201
    return str(made.body["id"])


def test_entra_changes_attributes_in_its_own_way(directory: Directory):
    person = entra_person(directory)

    answer = directory.patch(
        f"Users/{person}",
        {"op": "Replace", "path": 'emails[type eq "work"].value', "value": "updated@acme.example"},
        {"op": "Replace", "path": "name.familyName", "value": "updatedFamilyName"},
        {"op": "Add", "path": 'phoneNumbers[type eq "mobile"].value', "value": "8005551234"},
        {"op": "Add", "path": f"{ENTERPRISE}:department", "value": "Engines"},
        {"op": "Add", "path": f"{ENTERPRISE}:manager", "value": "someone"},
    )

    assert answer.status == 200
    assert answer.body["emails"][0]["value"] == "updated@acme.example"
    assert answer.body["name"]["familyName"] == "updatedFamilyName"


def test_entra_names_attributes_by_path_in_a_value_without_a_path(directory: Directory):
    person = entra_person(directory)

    answer = directory.patch(
        f"Users/{person}",
        {
            "op": "Add",
            "value": {
                "name.givenName": "New",
                "displayName": "New Name",
                'emails[type eq "work"].value': "new@acme.example",
                f"{ENTERPRISE}:employeeNumber": "7",
            },
        },
    )

    assert answer.status == 200
    assert answer.body["name"]["givenName"] == "New"
    assert answer.body["displayName"] == "New Name"


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "Replace", "path": "active", "value": "False"},
        {"op": "Replace", "path": "active", "value": False},
        {"op": "replace", "path": "ACTIVE", "value": "false"},
        {"op": "Replace", "value": {"active": "False"}},
        {"op": "Add", "path": f"{USER}:active", "value": "False"},
    ],
)
def test_entra_disables_a_person_with_a_word(directory: Directory, operation: dict[str, Any]):
    person = entra_person(directory)
    assert is_member(directory, "test_user@acme.example")

    answer = directory.patch(f"Users/{person}", operation)

    assert (answer.status, answer.body["active"]) == (200, False)
    assert not is_member(directory, "test_user@acme.example")


def test_entra_keeps_groups(directory: Directory):
    ada, bob, eve = (directory.user_id(who) for who in ("ada", "bob", "eve"))
    body = {
        "schemas": [GROUP, "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"],
        "externalId": "8aa1a0c0-c4c3-4bc0-b4a5-2ef676900159",
        "displayName": "Engineers",
        "meta": {"resourceType": "Group"},
    }
    made = directory.ask("POST", "Groups", body)
    assert made.status == 201
    group, path = made.body["id"], f"Groups/{made.body['id']}"
    found = directory.get("Groups", excludedAttributes="members", filter='displayName eq "Engineers"').body
    assert [one["id"] for one in found["Resources"]] == [group]
    assert directory.get(path, excludedAttributes="members").status == 200

    def asked(*operations: dict[str, Any]) -> None:
        assert directory.patch(path, *operations).status == 200

    asked({"op": "Replace", "path": "displayName", "value": "1879db59"})
    asked({"op": "Add", "path": "members", "value": [{"$ref": None, "value": one} for one in (ada, bob, eve)]})
    assert people_of(group) == {ada, bob, eve}
    asked({"op": "Remove", "path": "members", "value": [{"$ref": None, "value": ada}]})
    assert people_of(group) == {bob, eve}
    asked({"op": "Remove", "path": f'members[value eq "{bob}"]'})
    assert people_of(group) == {eve}
    wanted = f'id eq "{group}" and members eq "{eve}"'
    assert directory.get("Groups", attributes="id", filter=wanted).body["totalResults"] == 1
    asked({"op": "Remove", "path": "members"})
    assert people_of(group) == set()


def test_entra_takes_a_person_out(directory: Directory):
    person = entra_person(directory)

    assert directory.ask("DELETE", f"Users/{person}").status == 204
    assert not is_member(directory, "test_user@acme.example")
