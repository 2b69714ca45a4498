"""Everybody else who may come along: who was let in once, who is staff, who has a part only, and keys that ended (T1).

tests/test_tenancy.py sends a visitor, a stranger, each role and good keys to every route. `make test` sends each of
these here to a part of the routes, in turn, by two methods; `make prove` everybody to every route by every method.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from allauth.account.models import EmailAddress
from django.test import Client
from django.urls import get_resolver, reverse

from accounts.models import (
    PERMISSIONS_OF_PROJECT_ROLE,
    PERMISSIONS_OF_ROLE,
    ApiKey,
    Permission,
    ProjectRole,
    Role,
    Scope,
    User,
)
from accounts.models.api_key import OperatorScope
from accounts.services.api_keys import CUSTOMER_SCOPES, issue_key, revoke_key
from accounts.services.members import remove_member
from accounts.services.operator_keys import issue_operator_key
from portal.lib.key_format import KeyKind
from tests.factories.accounts import lock_behind_sso, make_membership, make_project_membership, make_user
from tests.routes import Route
from tests.support import normal, undone
from tests.test_tenancy import KEYED, METHODS, NOWHERE, PAGES, PROVISIONED, UNSAFE, ask, secret_for
from tests.world import MISSING, NOW, World

PROVE = bool(os.environ.get("PROVE"))
LET_IN = (200, 302, 303, 405, 409, 422)


@dataclass(frozen=True)
class Caller:
    """Somebody at the door. parts: what a part in the world's project lets them do there."""

    client: Client
    headers: dict[str, str] = field(default_factory=dict)
    role: Role | None = None
    parts: frozenset[Permission] = frozenset()


def turn[T](things: list[T], number: int, of: int) -> list[T]:
    """Return all of them with PROVE, else those whose turn it is."""
    return things if PROVE else things[number::of]


METHODS_ASKED = METHODS if PROVE else ["GET", "POST"]


# --- People and their like, at pages ---------------------------------------------------------------


def former_member(world: World) -> Caller:
    membership = make_membership(world.ours, role=Role.ADMIN)
    client = world.client(membership.user)
    owner = world.ours.memberships.filter(role=Role.OWNER).order_by("pk")[0]
    remove_member(membership=membership, by=owner, now=NOW)
    return Caller(client)


def deactivated(world: World) -> Caller:
    user = make_membership(world.ours, role=Role.ADMIN).user
    client = world.client(user)
    User.objects.filter(pk=user.pk).update(is_active=False)
    return Caller(client)


def staff(world: World) -> Caller:
    user = make_user()
    User.objects.filter(pk=user.pk).update(is_staff=True)
    return Caller(world.client(user))


def superuser(world: World) -> Caller:
    user = make_user()
    User.objects.filter(pk=user.pk).update(is_staff=True, is_superuser=True)
    return Caller(world.client(user))


def barred(world: World) -> Caller:
    owner = make_membership(world.ours)
    lock_behind_sso(owner)
    # It is required of those for whom a verified domain of the organization speaks.
    user = make_user(f"barred@{world.ours.slug}.example")
    EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    return Caller(world.client(make_membership(world.ours, user, Role.ADMIN).user))


def bearer_of_a_key(world: World) -> Caller:
    return Caller(world.client(None), {"Authorization": f"Bearer {world.secret(world.ours, *CUSTOMER_SCOPES)}"})


def bearer_of_a_directory(world: World) -> Caller:
    return Caller(world.client(None), {"Authorization": f"Bearer {world.directory_secret(world.ours)}"})


def with_a_part(part: ProjectRole) -> Callable[[World], Caller]:
    def make(world: World) -> Caller:
        member = make_membership(world.ours, role=Role.VIEWER)
        make_project_membership(member, world.ours.projects.get(), part)
        return Caller(world.client(member.user), role=Role.VIEWER, parts=PERMISSIONS_OF_PROJECT_ROLE[part])

    return make


def is_hidden(caller: Caller, route: Route, method: str, world: World) -> bool:
    """As for a stranger: 404, and the same where there is no organization."""
    real = ask(caller.client, method, route.address(world.ours.slug, world.objects), **caller.headers)
    none = ask(caller.client, method, route.address(NOWHERE, {}), **caller.headers)
    asked = [world.ours.slug, NOWHERE, *world.objects.values(), *MISSING.values()]
    return real.status_code == 404 and normal(real, *asked) == normal(none, *asked)


def is_sent_to_sign_in(caller: Caller, route: Route, method: str, world: World) -> bool:
    address = route.address(world.ours.slug, world.objects)
    answer = ask(caller.client, method, address, **caller.headers)
    return (answer.status_code, answer.get("Location")) == (302, f"{reverse('account_login')}?next={address}")


def is_sent_to_single_sign_on(caller: Caller, route: Route, method: str, world: World) -> bool:
    address = route.address(world.ours.slug, world.objects)
    answer = ask(caller.client, method, address)
    part = ask(caller.client, method, address, HX_Request="true")
    is_said = method == "HEAD" or b"requires single sign-on" in getattr(answer, "content", b"")
    entry = reverse("accounts:sso-organization", args=[world.ours.slug])
    return answer.status_code == 403 and is_said and (part.status_code, part.get("HX-Redirect")) == (401, entry)


def has_their_part(caller: Caller, route: Route, method: str, world: World) -> bool:
    """Let in with the role, or with the part where the page is of a project; else 403."""
    assert caller.role is not None
    view = get_resolver().resolve(route.address(NOWHERE, {})).func
    may = route.rule.who in PERMISSIONS_OF_ROLE[caller.role]
    may = may or (getattr(view, "in_projects", False) and route.rule.who in caller.parts)
    with undone():
        answer = ask(caller.client, method, route.address(world.ours.slug, world.objects))
    if not may:
        return answer.status_code == 403
    # What is on the page may be of the whole organization: tests/accounts/test_project_rights.py looks into it.
    return answer.status_code in LET_IN or (route.rule.who not in PERMISSIONS_OF_ROLE[caller.role])


PEOPLE: dict[str, tuple[Callable[[World], Caller], Callable[[Caller, Route, str, World], bool]]] = {
    "a former member": (former_member, is_hidden),
    "staff": (staff, is_hidden),
    "a superuser": (superuser, is_hidden),
    "somebody deactivated": (deactivated, is_sent_to_sign_in),
    "who has to come through single sign-on": (barred, is_sent_to_single_sign_on),
    "the bearer of a key": (bearer_of_a_key, is_sent_to_sign_in),
    "the bearer of a directory's token": (bearer_of_a_directory, is_sent_to_sign_in),
    "who leads a project": (with_a_part(ProjectRole.PRINCIPAL_INVESTIGATOR), has_their_part),
    "who works in a project": (with_a_part(ProjectRole.MEMBER), has_their_part),
}


@pytest.mark.parametrize("who", PEOPLE)
@pytest.mark.asvs("8.2.1")
def test_each_comes_as_far_on_every_page_as_they_may(who: str, world: World):
    make, is_right = PEOPLE[who]
    caller = make(world)
    before = world.checksum(world.ours), world.checksum(world.theirs)

    routes = turn(PAGES, list(PEOPLE).index(who), len(PEOPLE))
    wrong = [
        f"{method} {route.name}"
        for route in routes
        for method in METHODS_ASKED
        if not is_right(caller, route, method, world)
    ]

    assert routes
    assert not wrong
    assert (world.checksum(world.ours), world.checksum(world.theirs)) == before


@pytest.mark.parametrize("role", Role)
def test_a_role_with_the_permission_changes_its_own_organization_only(role: Role, world: World):
    client = world.client(world.members[role])
    theirs = world.checksum(world.theirs)
    routes = [route for route in PAGES if route.rule.who in PERMISSIONS_OF_ROLE[role]]

    wrong = []
    for route in turn(routes, list(Role).index(role), 2 * len(Role)):
        for method in UNSAFE if PROVE else ["POST"]:
            # Who has left by one method is a stranger to the next.
            with undone():
                answer = ask(client, method, route.address(world.ours.slug, world.objects))
                if world.checksum(world.theirs) != theirs:
                    wrong.append(f"{method} {route.name} changed theirs")
            if answer.status_code not in LET_IN:
                wrong.append(f"{method} {route.name} answered {answer.status_code}")

    assert not wrong


# --- Keys, at routes of programs -------------------------------------------------------------------


def expired(world: World) -> str:
    issued = issue_key(
        project=world.ours.projects.get(), name="old", scopes=CUSTOMER_SCOPES, created_by=None, now=NOW - timedelta(2)
    )
    ApiKey.objects.filter(pk=issued.api_key.pk).update(expires_at=NOW - timedelta(1))
    return issued.secret


def revoked(world: World) -> str:
    project = world.ours.projects.get()
    issued = issue_key(project=project, name="old", scopes=CUSTOMER_SCOPES, created_by=None, now=NOW)
    revoke_key(api_key=issued.api_key, now=NOW)
    return issued.secret


def of_who_left(world: World) -> str:
    member = make_membership(world.ours, role=Role.ADMIN)
    issued = issue_key(
        project=world.ours.projects.get(),
        name="own",
        scopes=[Scope.USAGE_READ],
        created_by=member.user,
        now=NOW,
        is_personal=True,
    )
    owner = world.ours.memberships.filter(role=Role.OWNER).order_by("pk")[0]
    remove_member(membership=member, by=owner, now=NOW)
    return issued.secret


def of_the_operator(world: World) -> str:
    return issue_operator_key(name="planner", scopes=list(OperatorScope), by=None, now=NOW).secret


def managing(world: World) -> str:
    project = world.ours.projects.get()
    scopes = [Scope.KEYS_WRITE]
    return issue_key(
        project=project, name="keys", scopes=scopes, created_by=None, now=NOW, kind=KeyKind.MANAGEMENT
    ).secret


KEYS: dict[str, Callable[[World], str]] = {
    "an expired key": expired,
    "a revoked key": revoked,
    "a key of somebody who left": of_who_left,
    "a key of the operator": of_the_operator,
}


def asked_with(secret: str, routes: list[Route], world: World) -> Iterator[tuple[Route, str, int]]:
    """Yield what each route answers to each method; what was done is undone."""
    client = world.client(None)
    for route in routes:
        for method in METHODS_ASKED:
            with undone():
                address = route.address("", world.objects)
                answer = ask(client, method, address, Authorization=f"Bearer {secret}")
            yield route, method, answer.status_code


@pytest.mark.parametrize("who", KEYS)
def test_a_key_that_ended_opens_no_route(who: str, world: World):
    secret = KEYS[who](world)
    routes = turn(KEYED + PROVISIONED, list(KEYS).index(who), len(KEYS))

    opened = [
        f"{method} {route.name} {status}"
        for route, method, status in asked_with(secret, routes, world)
        if status not in (401, 405)
    ]

    assert routes
    assert not opened


def test_a_key_that_manages_keys_opens_what_is_for_it_and_nothing_else(world: World):
    wrong, is_open = [], set()
    for route, method, status in asked_with(managing(world), KEYED, world):
        if isinstance(route.rule.who, Scope) and route.rule.who is not Scope.KEYS_WRITE:
            if status not in (403, 405):
                wrong.append(f"{method} {route.name} {status}")
        elif status in (401, 403):
            wrong.append(f"{method} {route.name} {status}")
        elif status == 200:
            is_open.add(route.name)

    assert not wrong
    assert {"accounts:api-key-list", "accounts:api-key-detail", "accounts:api-project-list"} <= is_open


@pytest.mark.parametrize(
    "route", KEYED + PROVISIONED if PROVE else [*KEYED[:2], *PROVISIONED[:1]], ids=lambda r: r.name
)
def test_a_session_adds_nothing_to_a_key_and_a_key_nothing_to_a_session(route: Route, world: World):
    owner = world.client(world.members[Role.OWNER])
    theirs = secret_for(route, world, world.theirs)
    for method in METHODS_ASKED:
        with undone():
            address = route.address("", world.objects)
            with_both = ask(owner, method, address, Authorization=f"Bearer {theirs}")
        with undone():
            with_key = ask(world.client(None), method, address, Authorization=f"Bearer {theirs}")
        assert with_both.status_code == with_key.status_code
