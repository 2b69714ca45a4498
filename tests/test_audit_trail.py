"""Whatever changes something for an organization leaves an entry in its audit log (security A1).

As the owner presses every form of every page in every state, and as a program asks every route of the API to change
something: where rows changed there must be an entry that names who, from where and in which request. A route that
changes nothing here and is not known for it fails, so that a new one is filled in or explained.
"""

import json
from collections.abc import Iterator
from typing import Any

import asyncssh
import pytest
from django.test import Client
from django.urls import resolve, reverse

from accounts.models import AuditEvent, Role, Scope
from billing.models import SpendCap
from catalog.models import Region
from tests.documents import Document
from tests.doubles.saml_provider import SamlProvider, metadata_of
from tests.policy import Audience
from tests.routes import ROUTES, Route, name_of
from tests.support import undone
from tests.visits import Scene, make_scene, visits
from tests.world import World

PAGES = [visit for visit in visits() if visit.route.is_of_organization and not visit.is_empty]
# Tables that a request may touch without having done anything: the log itself.
NOT_A_CHANGE = {"accounts_auditevent", "accounts_auditorigin"}


def public_key() -> str:
    return asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()


def launch_body(world: World) -> dict[str, Any]:
    instance = world.ours.instances.get(public_id=world.objects["instance"])
    return {
        "region_name": instance.region.name,
        "instance_type_name": instance.instance_type.name,
        "ssh_key_names": [world.ours.ssh_keys.all()[0].name],
    }


# What people type into a field, by its name.
TYPED: dict[str, Any] = {"name": "night-shift", "scopes": "inference", "auto_stop_hours": "4"}
TYPED |= {"url": "https://log.example.com/audit", "overlap": "3600"}
TYPED |= {"email": "newcomer@example.com", "role": "viewer", "given_role": "developer"}
TYPED |= {"period": "month", "limit": "1000.00"}
KEYS = ("new_public_key", "public_key")
# And on one page only.
TYPED_THERE: dict[str, Any] = {
    "accounts:organization-delete": lambda world: {"name": world.ours.name},
    "accounts:sso-saml": lambda world: {"metadata": metadata_of(SamlProvider())},
    "accounts:domain-list": lambda world: {"name": "night-shift.example"},
    "accounts:domain-detail": lambda world: {"join_role": "viewer"},
    "accounts:rate-limit-of-key": lambda world: {"requests_per_minute": "7"},
    "inference:project-region": lambda world: {"region": Region.objects.order_by("pk")[0].name},
    "billing:auto-reload": lambda world: {"threshold": "20", "reload_amount": "25", "ceiling": "100"},
    "billing:top-up": lambda world: {"amount": "25"},
    "billing:project-tags": lambda world: {"cost_center": "Night 7"},
    "billing:details": lambda world: {"legal_name": "Acme", "billing_address": "Way 1", "country": "DE"},
}
# Pages that take POST and leave no entry, and why; tests/test_audit_trail_elsewhere.py says where each is proved.
WITHOUT_ENTRY: dict[str, str] = {
    "accounts:domain-verify": "asks name servers, and here are none: what they answer is proved in test_domains.py",
    "accounts:sso-settings": "asks an identity provider, and here is none: test_sso.py has one",
    "accounts:sso-make-optional": "is pressed where single sign-on is not required",
    "accounts:organization-keep": "is pressed for an organization that nobody is deleting",
    "billing:customer-portal": "leads on to a payment provider, whose pages change nothing here",
    "billing:invoice-pay": "is pressed where something is left to pay",
    "quickstart-run": "asks a model: the receipt says what came of it",
}
# Routes that leave an entry without a change: looking is what was done.
ENTRY_ALONE = {"organization-export"}
# What programs send, by route and method.
BODIES: dict[tuple[str, str], Any] = {
    ("accounts:api-key-list", "POST"): lambda world: {"name": "robot", "scopes": ["inference"]},
    ("accounts:api-key-detail", "DELETE"): lambda world: None,
    ("accounts:api-key-detail", "PATCH"): lambda world: {"name": "robot two"},
    ("billing:api-key-cap", "PUT"): lambda world: {"limit": "12.00"},
    ("billing:api-key-cap", "DELETE"): lambda world: None,
    ("accounts:api-service-account-list", "POST"): lambda world: {"name": "robot", "scopes": ["inference"]},
    ("accounts:api-service-account-detail", "DELETE"): lambda world: None,
    ("accounts:api-service-account-disable", "POST"): lambda world: None,
    ("compute:api-launch", "POST"): launch_body,
    ("compute:api-terminate", "POST"): lambda world: {"instance_ids": [world.objects["instance"]]},
    ("compute:api-ssh-key-list", "POST"): lambda world: {"name": "robot"},
    ("compute:api-ssh-key-detail", "DELETE"): lambda world: None,
}
# What a directory sends, by route and method.
SCIM: dict[tuple[str, str], Any] = {
    ("accounts:scim-user-list", "POST"): lambda world: {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": f"newcomer@{world.ours.slug}.example",
    },
    ("accounts:scim-user-detail", "PUT"): lambda world: {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": f"renamed@{world.ours.slug}.example",
    },
    ("accounts:scim-user-detail", "PATCH"): lambda world: {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "replace", "value": {"active": False}}],
    },
    ("accounts:scim-user-detail", "DELETE"): lambda world: None,
    ("accounts:scim-group-list", "POST"): lambda world: {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
        "displayName": "Night shift",
        "members": [{"value": world.objects["directory_person"]}],
    },
    ("accounts:scim-group-detail", "PUT"): lambda world: {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
        "displayName": "Day shift",
    },
    ("accounts:scim-group-detail", "PATCH"): lambda world: {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": "remove", "path": "members"}],
    },
    ("accounts:scim-group-detail", "DELETE"): lambda world: None,
}
# Routes of programs that no row of the world lets change anything.
PROGRAMS_WITHOUT_CHANGE = {
    "accounts:api-service-account-enable": "the world's is enabled; the page of a disabled one is pressed above",
    "compute:api-restart": "the world's instance has not booted; the page of a running one is pressed above",
}


@pytest.fixture(scope="module")
def scene(world_of_module: World, django_db_blocker: Any) -> Scene:
    with django_db_blocker.unblock():
        made = make_scene(world_of_module)
        # So that a launch finds its budget.
        SpendCap.objects.of_organization(world_of_module.ours.pk).update(limit_nano=10**15)
        return made


@pytest.fixture
def stage(scene: Scene, django_db_blocker: Any) -> Iterator[Scene]:
    with django_db_blocker.unblock(), undone():
        yield scene


def filled(fields: dict[str, list[str]]) -> dict[str, Any]:
    """Return the form with what its fields wait for."""
    typed = {name: public_key() for name in KEYS if name in fields}
    return fields | {name: value for name, value in TYPED.items() if name in fields or name == "scopes"} | typed


def presses(client: Client, address: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield where each form of a page goes and what is sent; one that only takes POST gets no fields."""
    page = client.get(address)
    if page.status_code == 405:
        yield address, {}
        return
    if page.status_code == 200 and "text/html" in page.headers["Content-Type"]:
        for form in Document(page.content.decode()).post_forms():
            yield form.target(address), filled(form.data)


def entries_behind(sequence: int, organization_id: int) -> list[AuditEvent]:
    entries = AuditEvent.objects.filter(organization_id=organization_id, sequence__gt=sequence)
    return list(entries.order_by("sequence"))


def newest(organization_id: int) -> int:
    return max(AuditEvent.objects.filter(organization_id=organization_id).values_list("sequence", flat=True), default=0)


def changed_tables(world: World, before: dict[str, str]) -> set[str]:
    after = world.checksum(world.ours)
    return {table for table in after if after[table] != before[table]} - NOT_A_CHANGE


def assert_written_down(world: World, before: dict[str, str], sequence: int, actor_id: str, route: str) -> bool:
    """Return whether rows changed; fail when they did and no entry says who did it."""
    tables = changed_tables(world, before)
    entries = entries_behind(sequence, world.ours.pk)
    if not tables and route not in ENTRY_ALONE:
        assert not entries, f"{route} wrote that something was done, and nothing was"
        return False
    assert entries, f"{route} changed {tables} and left no entry"
    for entry in entries:
        assert entry.actor_id == actor_id, route
        assert entry.request_id, route
        assert entry.origin_id, route
        changes = json.loads(entry.changes)
        assert isinstance(changes, dict)
        assert changes or not entry.action.endswith("changed"), f"{route} says that something changed, and not what"
    return True


def test_every_change_that_a_person_makes_is_written_down(stage: Scene):
    world, written, asked = stage.world, set(), set()
    owner = world.ours.memberships.filter(role=Role.OWNER).order_by("pk")[0].user
    for visit in PAGES:
        client, address = stage.begin(visit)
        with undone():
            forms = list(presses(client, address))
        for target, data in forms:
            name = resolve(target).view_name
            asked.add(name)
            with undone():
                before, sequence = world.checksum(world.ours), newest(world.ours.pk)
                there = TYPED_THERE[name](world) if name in TYPED_THERE else {}
                client.post(target, data | there)
                if assert_written_down(world, before, sequence, owner.public_id, name):
                    written.add(name)

    assert asked - written == set(WITHOUT_ENTRY)
    assert len(written) >= 10


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "route", [route for route in ROUTES if route.is_of_programs and isinstance(route.rule.who, Scope)], ids=name_of
)
def test_every_change_that_a_program_makes_is_written_down(route: Route, method: str, stage: Scene):
    world = stage.world
    assert isinstance(route.rule.who, Scope)
    secret = world.secret(world.ours, route.rule.who)
    key_id = world.ours.api_keys.order_by("-pk")[0].public_id
    make_body = BODIES.get((route.name, method))
    body = make_body(world) if make_body else {}
    before, sequence = world.checksum(world.ours), newest(world.ours.pk)

    answer = world.client(None).generic(
        method,
        route.address("", world.objects),
        json.dumps(body),
        content_type="application/json",
        headers={"Authorization": f"Bearer {secret}"},
    )

    has_changed = assert_written_down(world, before, sequence, key_id, route.name)
    is_known = answer.status_code == 405 or route.name in PROGRAMS_WITHOUT_CHANGE
    assert has_changed or is_known, f"{method} {route.name} answered {answer.status_code} and changed nothing"


@pytest.mark.parametrize(("name", "method"), SCIM, ids=" ".join)
def test_every_change_that_a_directory_makes_is_written_down(name: str, method: str, stage: Scene):
    world = stage.world
    route = next(route for route in ROUTES if route.name == name)
    secret = world.directory_secret(world.ours)
    token_id = world.ours.directory_tokens.order_by("-pk")[0].public_id
    body = SCIM[name, method](world)
    before, sequence = world.checksum(world.ours), newest(world.ours.pk)

    answer = world.client(None).generic(
        method,
        route.address("", world.objects),
        json.dumps(body) if body else "",
        content_type="application/scim+json",
        headers={"Authorization": f"Bearer {secret}"},
    )

    assert assert_written_down(world, before, sequence, token_id, name), answer.content
    for entry in entries_behind(sequence, world.ours.pk):
        assert (entry.actor_kind, entry.via) == ("scim", "scim")
        assert "example" not in entry.changes


def test_every_route_of_a_directory_that_changes_something_is_asked():
    routes = [route for route in ROUTES if route.rule.who is Audience.DIRECTORY]
    changing = {route.name for route in routes if route.name.endswith(("-user-list", "-group-list", "-detail"))}
    changing -= {"accounts:scim-schema-detail", "accounts:scim-resource-type-detail"}

    assert {name for name, _method in SCIM} == changing
    assert {method for _name, method in SCIM} == {"POST", "PUT", "PATCH", "DELETE"}


def test_what_is_explained_exists():
    names = {route.name for route in ROUTES}
    assert {*WITHOUT_ENTRY, *ENTRY_ALONE, *PROGRAMS_WITHOUT_CHANGE, *(name for name, _ in BODIES)} <= names
    assert reverse("home") == "/"
