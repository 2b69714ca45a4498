"""What a directory and a person name beside the fields of tests/test_named_objects.py: foreign is as good as missing.

A directory's bodies are read by a library, so what they may name comes from its models: an attribute that no line
below explains fails (T2).
"""

import json
import os
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount
from django.core import mail
from django.db import connection
from django.test import Client
from pydantic import BaseModel

from accounts.models import DirectoryGroup, DirectoryPerson, User
from accounts.scim.resources import ScimGroup, ScimUser
from accounts.scim.views import GROUP_COLUMNS, PERSON_COLUMNS
from tests.support import normal, undone
from tests.test_named_objects import TOO_LARGE, Named, known, rows
from tests.visits import Scene, make_person, make_scene, signed_in
from tests.world import World

# Attribute -> what it names, as tests/world.py calls it.
NAMES = {"ScimGroup.members.value": "directory_person"}
# Attributes that directories write about their own, or that the portal answers and nobody may set.
PLAIN = {
    *("externalId", "id", "schemas", "meta", "meta.resourceType", "meta.created", "meta.lastModified"),
    *("meta.location", "meta.version", "userName", "displayName", "active"),
    *("name", "name.formatted", "name.familyName", "name.givenName"),
    *("emails", "emails.value", "emails.type", "emails.primary"),
    *("groups", "groups.value", "groups.$ref", "groups.display", "groups.type"),
    *("members", "members.$ref", "members.display", "members.type"),
}
PROVE = bool(os.environ.get("PROVE"))
PATCH = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"]}


@pytest.fixture(scope="module")
def scene(world_of_module: World, django_db_blocker: Any) -> Scene:
    with django_db_blocker.unblock():
        return make_scene(world_of_module)


@pytest.fixture
def stage(scene: Scene, django_db_blocker: Any) -> Iterator[Scene]:
    with django_db_blocker.unblock(), undone():
        yield scene


# --- Directories ---------------------------------------------------------------------------------


def attributes(model: type[BaseModel], before: str = "") -> Iterator[str]:
    """Yield every attribute of a resource, with a dot into those that have attributes of their own."""
    for name, field in model.model_fields.items():
        path = before + (field.serialization_alias or field.alias or name)
        yield path
        for inner in inside(field.annotation):
            yield from attributes(inner, f"{path}.")


def inside(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from inside(part)


def test_every_attribute_of_a_directory_says_what_it_names():
    found = {f"{model.__name__}.{path}" for model in (ScimUser, ScimGroup) for path in attributes(model)}

    assert set(NAMES) <= found
    unexplained = {each for each in found if each not in NAMES and each.partition(".")[2] not in PLAIN}
    assert not unexplained, "say in NAMES or PLAIN what these name"
    assert {each.partition(".")[2] for each in found} >= PLAIN


def of_groups(value: str, own: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return every way in which a directory names a member of a group: alone, beside one of its own, and by a path."""
    group = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "Night shift"}
    one, two = [{"value": value}], [{"value": own}, {"value": value}]

    def patch(**operation: Any) -> tuple[str, dict[str, Any]]:
        return "PATCH", PATCH | {"Operations": [operation]}

    return {
        "a new group": ("POST", group | {"members": one}),
        "a new group with one of ours": ("POST", group | {"members": two}),
        "a whole group": ("PUT", group | {"members": one}),
        "a whole group with one of ours": ("PUT", group | {"members": two}),
        "a member more": patch(op="add", path="members", value=one),
        "members more": patch(op="add", path="members", value=two),
        "a member more without a path": patch(op="add", value={"members": one}),
        "other members": patch(op="replace", path="members", value=two),
        "other members without a path": patch(op="replace", value={"members": one}),
        "the members at a path": patch(op="replace", path="members.value", value=value),
        "a member at a path": patch(op="replace", path=f'members[value eq "{own}"].value', value=value),
    }


def removals(value: str, own: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return every way in which a directory takes out a member; who is not in the group is gone already."""
    return {
        "a member less": ("PATCH", PATCH | {"Operations": [{"op": "remove", "path": f'members[value eq "{value}"]'}]}),
        "a member less by value": (
            "PATCH",
            PATCH | {"Operations": [{"op": "remove", "path": "members", "value": [{"value": value}]}]},
        ),
    }


def sends(scene: Scene) -> Any:
    """Return what asks /scim/v2 as our directory."""
    headers = {"Authorization": f"Bearer {scene.world.directory_secret(scene.world.ours)}"}
    client = Client(raise_request_exception=False)

    def send(method: str, path: str, body: Any = None, **query: str) -> Any:
        content = "" if body is None else json.dumps(body)
        content_type = "application/scim+json"
        return client.generic(
            method, f"/scim/v2/{path}", content, content_type=content_type, headers=headers, query_params=query
        )

    return send


def bad_names(people: Named) -> list[str]:
    """Return the foreign and the missing name first, and what else may stand there."""
    return [people.foreign, people.missing, people.other, people.own.upper(), "-1", str(TOO_LARGE), "", "\u0000"]


@pytest.mark.asvs("8.2.2")
def test_a_foreign_member_of_a_group_is_as_good_as_missing_and_changes_nothing(stage: Scene):
    people, group = known(stage, "directory_person"), stage.world.objects["directory_group"]
    send, wrong = sends(stage), list[str]()
    before = rows(stage.world)
    for way, is_removal in [*((way, False) for way in of_groups("", "")), *((way, True) for way in removals("", ""))]:
        answers = []
        for value in bad_names(people)[: None if PROVE else 2]:
            method, body = (removals if is_removal else of_groups)(value, people.own)[way]
            with undone():
                answer = send(method, "Groups" if method == "POST" else f"Groups/{group}", body)
                changed = {table for table, digest in rows(stage.world).items() if before[table] != digest}
            if answer.status_code not in ({200, 204, 400, 404} if is_removal else {400, 404}):
                wrong.append(f"{way} {value!r} was answered {answer.status_code}")
            if changed:
                wrong.append(f"{way} {value!r} changed {changed}")
            answers.append(normal(answer, people.foreign, people.missing))
        if answers[0] != answers[1]:
            wrong.append(f"{way} tells a foreign name from a missing one")

    assert not wrong


def test_each_way_of_naming_a_member_is_heard_with_one_of_ours(stage: Scene):
    world = stage.world
    own, group = world.objects["directory_person"], world.objects["directory_group"]
    of_group = DirectoryPerson.objects.owned_by(world.ours).filter(groups__group__public_id=group)
    [other] = of_group.values_list("public_id", flat=True)
    send, unheard = sends(stage), set[str]()
    before = rows(world)
    ways = {**of_groups(own, other), **removals(other, own)}
    for way, (method, body) in ways.items():
        with undone():
            answer = send(method, "Groups" if method == "POST" else f"Groups/{group}", body)
            if rows(world) == before:
                unheard.add(way)
                assert answer.json()["scimType"] == "mutability", way

    # Who is in a group comes and goes; no member becomes another.
    assert unheard == {"the members at a path", "a member at a path"}


@pytest.mark.parametrize("kind", ["Users", "Groups"])
def test_a_filter_finds_nothing_by_a_foreign_name(kind: str, stage: Scene):
    columns, send = (PERSON_COLUMNS if kind == "Users" else GROUP_COLUMNS), sends(stage)
    theirs, objects = stage.world.theirs, stage.world.foreign_objects
    person = DirectoryPerson.objects.get(public_id=objects["directory_person"])
    # What is unlike in both organizations; a group of theirs is called as one of ours.
    DirectoryGroup.objects.owned_by(theirs).update(display_name="Theirs", external_id="theirs")
    DirectoryPerson.objects.owned_by(theirs).update(external_id="theirs")
    values = {"members": person.public_id, "id": objects["directory_person" if kind == "Users" else "directory_group"]}
    values |= {"externalid": "theirs", "displayname": "Theirs"}
    for attribute in columns:
        value = values.get(attribute.partition(".")[0], person.email)
        for comparison in ("eq", "co", "sw"):
            wanted = f'{attribute} {comparison} "{value}"'
            in_address = send("GET", kind, filter=wanted)
            searched = send("POST", f"{kind}/.search", {"filter": wanted})
            for answer in (in_address, searched):
                assert answer.status_code in (200, 400), wanted
                assert answer.json().get("totalResults", 0) == 0, wanted


# --- People --------------------------------------------------------------------------------------


def with_everything() -> User:
    """A person with a second address and two accounts elsewhere, so that neither is the last."""
    person = make_person()
    EmailAddress.objects.create(user=person, email=f"second-{person.email}", verified=True, primary=False)
    for provider in ("github", "google"):
        SocialAccount.objects.create(user=person, provider=provider, uid=f"{provider}-{person.pk}")
    return person


def personal_rows(person: User) -> list[Any]:
    found = []
    with connection.cursor() as cursor:
        for table in ("account_emailaddress", "socialaccount_socialaccount", "mfa_authenticator"):
            cursor.execute(f"SELECT to_jsonb(t)::text FROM {table} t WHERE user_id = %s ORDER BY 1", [person.pk])
            found += cursor.fetchall()
    return found


def second_address(person: User) -> str:
    return str(EmailAddress.objects.get(user=person, primary=False).email)


def account_elsewhere(person: User) -> str:
    return str(SocialAccount.objects.filter(user=person).order_by("pk")[0].pk)


# Page -> what is pressed -> the field that names something, what of a person it names, and what names nothing.
PRESSED: dict[tuple[str, str], tuple[str, Any, str]] = {
    ("/accounts/3rdparty/", ""): ("account", account_elsewhere, "2147483647"),
    ("/accounts/email/", "action_remove"): ("email", second_address, "nobody@example.com"),
    ("/accounts/email/", "action_primary"): ("email", second_address, "nobody@example.com"),
    ("/accounts/email/", "action_send"): ("email", second_address, "nobody@example.com"),
}


@pytest.mark.django_db
@pytest.mark.parametrize(("page", "button"), PRESSED)
@pytest.mark.asvs("8.2.2")
def test_what_is_a_stranger_s_is_as_good_as_missing_in_a_personal_form(page: str, button: str):
    name, of_person, missing = PRESSED[page, button]
    person, stranger = with_everything(), with_everything()

    def press(value: str) -> tuple[int, bytes, dict[str, str], list[Any]]:
        with undone():
            client = signed_in(person)
            mail.outbox.clear()
            answer = client.post(page, {name: value, button: ""})
            shown = client.get(page)
            told = [(letter.to, letter.subject) for letter in mail.outbox]
            assert personal_rows(stranger) == before_strangers
            changed = personal_rows(person) != before_own
            # A number of one digit is everywhere on a page.
            asked = (value,) if "@" in value else ()
            return *normal(answer, *asked), [changed, told, *normal(shown, *asked)[:2]]

    before_own, before_strangers = personal_rows(person), personal_rows(stranger)
    strangers, nobodys, own = press(of_person(stranger)), press(missing), press(of_person(person))

    assert strangers == nobodys
    assert not strangers[-1][0]
    # Proof that the button does something.
    assert own[-1][:2] != strangers[-1][:2]
