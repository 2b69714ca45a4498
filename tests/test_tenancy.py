"""Every route, every kind of person, every method: nobody gets past the door.

The routes come from the URL resolver, who may use them from tests/policy.py, what fills their addresses from
tests/world.py. A route that is not in the policy fails here.
"""

import re
from urllib.parse import quote

import pytest
from django.http import HttpResponseBase
from django.test import Client
from django.urls import get_resolver, reverse

from accounts.models import PERMISSIONS_OF_ROLE, OperatorScope, Organization, Permission, Role, Scope
from accounts.services.api_keys import CUSTOMER_SCOPES
from accounts.services.operator_keys import issue_operator_key
from tests.policy import FAMILIES, POLICY, Audience
from tests.routes import ROUTES, Route, name_of
from tests.support import normal, undone
from tests.world import MISSING, NOW, PERSONAL_OBJECTS, World

METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]
UNSAFE = ["POST", "PUT", "PATCH", "DELETE"]
NOWHERE = "nowhere-at-all"


PAGES = [route for route in ROUTES if route.is_of_organization]
KEYED = [route for route in ROUTES if route.name in POLICY and isinstance(route.rule.who, Scope)]
KEYED += [route for route in ROUTES if route.name in POLICY and route.rule.who is Audience.KEY]
PROVISIONED = [route for route in ROUTES if route.name in POLICY and route.rule.who is Audience.DIRECTORY]
OPERATED = [route for route in ROUTES if route.name in POLICY and route.rule.who is Audience.OPERATOR]


def of_audience(*audiences: Audience) -> list[Route]:
    return [route for route in ROUTES if route.name in POLICY and route.rule.who in audiences]


each_page = pytest.mark.parametrize("route", PAGES, ids=name_of)
each_program = pytest.mark.parametrize("route", KEYED + PROVISIONED, ids=name_of)


def secret_for(route: Route, world: World, organization: Organization) -> str:
    """Return a secret of the organization that opens a route of programs."""
    if route.rule.who is Audience.DIRECTORY:
        return world.directory_secret(organization)
    if route.rule.who is Audience.OPERATOR:
        return issue_operator_key(name="gateway", scopes=list(OperatorScope), by=None, now=NOW).secret
    return world.secret(organization, route.rule.who if isinstance(route.rule.who, Scope) else Scope.USAGE_READ)


def ask(client: Client, method: str, address: str, **headers: str) -> HttpResponseBase:
    answer: HttpResponseBase = client.generic(method, address, headers=headers)
    assert answer.status_code < 500, f"{method} {address} answered {answer.status_code}"
    return answer


def test_every_route_has_a_line_in_the_policy():
    unknown = [
        f"{route.name} ({route.pattern})"
        for route in ROUTES
        if route.name not in POLICY and not route.name.startswith(tuple(FAMILIES))
    ]

    assert not unknown, f"say in tests/policy.py who may reach {', '.join(unknown)}"


def test_the_policy_names_no_route_that_is_gone():
    gone = set(POLICY) - {route.name for route in ROUTES}

    assert not gone


def test_addresses_under_an_organization_and_permissions_go_together():
    for route in ROUTES:
        if route.name in POLICY:
            assert route.is_of_organization == isinstance(route.rule.who, Permission), route


@each_page
def test_the_door_asks_for_the_permission_of_the_policy(route: Route):
    match = get_resolver().resolve(route.address(NOWHERE, {}))

    assert getattr(match.func, "permission", None) == route.rule.who


@each_page
@pytest.mark.asvs("8.4.1")
def test_a_stranger_cannot_tell_an_organization_from_none(route: Route, world: World):
    before = world.checksum(world.ours)
    client = world.client(world.stranger)

    for method in METHODS:
        real = ask(client, method, route.address(world.ours.slug, world.objects))
        none = ask(client, method, route.address(NOWHERE, {}))

        asked = [world.ours.slug, NOWHERE, *world.objects.values(), *MISSING.values()]
        assert real.status_code == 404, method
        assert normal(real, *asked) == normal(none, *asked), method
    assert world.checksum(world.ours) == before


@each_page
def test_a_visitor_is_sent_to_sign_in(route: Route, world: World):
    before = world.checksum(world.ours)
    client = world.client(None)
    address = route.address(world.ours.slug, world.objects)

    for method in METHODS:
        answer = ask(client, method, address)
        assert (answer.status_code, answer["Location"]) == (302, f"{reverse('account_login')}?next={address}")
        partial = ask(client, method, address, HX_Request="true")
        assert (partial.status_code, partial["HX-Redirect"]) == (401, reverse("account_login"))
    assert world.checksum(world.ours) == before


@each_page
@pytest.mark.asvs("8.2.1")
def test_a_role_without_the_permission_is_refused(route: Route, world: World):
    before = world.checksum(world.ours)

    for role, user in world.members.items():
        if route.rule.who in PERMISSIONS_OF_ROLE[role]:
            continue
        client = world.client(user)
        for method in METHODS:
            answer = ask(client, method, route.address(world.ours.slug, world.objects))
            assert answer.status_code == 403, f"{role} {method}"
    assert world.checksum(world.ours) == before


@each_page
def test_a_role_with_the_permission_is_let_in(route: Route, world: World):
    for role, user in world.members.items():
        if route.rule.who not in PERMISSIONS_OF_ROLE[role]:
            continue
        client = world.client(user)
        for method in ["GET", "HEAD"]:
            answer = ask(client, method, route.address(world.ours.slug, world.objects))
            # 409: here nobody answers for the payment provider.
            assert answer.status_code in (200, 302, 405, 409), f"{role} {method} {answer.status_code}"


@each_page
def test_no_method_breaks_a_page(route: Route, world: World):
    client = world.client(world.members[Role.OWNER])
    for method in METHODS:
        # Who has left by one method is a stranger to the next.
        with undone():
            answer = ask(client, method, route.address(world.ours.slug, world.objects))
        assert answer.status_code in (200, 302, 303, 405, 409, 422), f"{method} {answer.status_code}"


@pytest.mark.parametrize("route", [route for route in PAGES if route.rule.objects], ids=name_of)
@pytest.mark.asvs("8.2.2")
def test_a_foreign_object_is_as_good_as_missing(route: Route, world: World):
    before = world.checksum(world.theirs)
    client = world.client(world.members[Role.OWNER])

    for method in METHODS:
        foreign = ask(client, method, route.address(world.ours.slug, world.foreign_objects))
        missing = ask(client, method, route.address(world.ours.slug, {}))

        asked = [*world.foreign_objects.values(), *MISSING.values()]
        assert foreign.status_code in (404, 405), method
        assert normal(foreign, *asked) == normal(missing, *asked), method
    assert world.checksum(world.theirs) == before


# What people and programs put where an id belongs.
ODD_NAMES = ["\x00", "-1", "0", "9223372036854775808", "key_%", "' OR 1=1 --", "x" * 3000, "..", "KEY_ABC", "\u202e"]


@pytest.mark.parametrize("route", [route for route in ROUTES if "str" in route.converters.values()], ids=name_of)
@pytest.mark.asvs("2.2.1")
def test_an_odd_name_is_as_good_as_missing(route: Route, world: World):
    if route.name not in POLICY:
        pytest.skip("a page of the library's admin")
    headers = {}
    if route in KEYED + PROVISIONED + OPERATED:
        headers["Authorization"] = f"Bearer {secret_for(route, world, world.ours)}"
    client = world.client(world.members[Role.OWNER])
    pattern = route.pattern.replace("<slug:organization>", world.ours.slug)
    for name in ODD_NAMES:
        address = "/" + re.sub(r"<str:\w+>", quote(name, safe=""), pattern)
        for method in ("GET", "POST", "DELETE"):
            answer = ask(client, method, address, **headers)
            assert answer.status_code in (301, 404, 405), f"{method} {name!r}"


@pytest.mark.parametrize(
    "route", [route for route in of_audience(Audience.SIGNED_IN) if route.rule.objects], ids=name_of
)
def test_what_belongs_to_another_person_is_as_good_as_missing(route: Route, world: World):
    foreign_objects = {word: make(world.stranger) for word, make in PERSONAL_OBJECTS.items()}
    client = world.client(world.members[Role.OWNER])

    for method in METHODS:
        foreign = ask(client, method, route.address("", foreign_objects))
        missing = ask(client, method, route.address("", {}))

        asked = [*foreign_objects.values(), *MISSING.values()]
        assert foreign.status_code in (404, 405) or method == "OPTIONS", method
        assert normal(foreign, *asked) == normal(missing, *asked), method


@pytest.mark.parametrize("route", of_audience(Audience.SIGNED_IN), ids=name_of)
def test_personal_pages_are_for_people_who_signed_in(route: Route, world: World):
    client = world.client(None)
    for method in METHODS:
        answer = ask(client, method, route.address("", {}))
        assert answer.status_code in (302, 405), f"{method} {answer.status_code}"
        if answer.status_code == 302:
            assert answer["Location"].startswith(reverse("account_login")), method


@pytest.mark.parametrize("route", of_audience(*Audience), ids=name_of)
def test_no_method_breaks_another_page(route: Route, world: World):
    for client in (world.client(None), world.client(world.stranger)):
        for method in METHODS:
            ask(client, method, route.address("", {}))


@pytest.mark.parametrize("route", [route for route in ROUTES if route.name.startswith("admin:")], ids=name_of)
def test_staff_pages_are_closed_to_customers(route: Route, world: World):
    converters = {part: MISSING.get(converter, "1") for part, converter in route.converters.items()}
    try:
        address = reverse(route.name, kwargs=converters)
    except Exception:  # a route with an unnamed catch-all pattern
        address = "/admin/anything"
    for client in (world.client(None), world.client(world.members[Role.OWNER])):
        for method in METHODS:
            answer = ask(client, method, address)
            assert answer.status_code in (302, 403, 404, 405) or route.name in ("admin:login", "admin:jsi18n"), method


# --- Programs ------------------------------------------------------------------------------------


@each_program
def test_a_program_needs_a_key(route: Route, world: World):
    address = route.address("", world.objects)
    visitor, member = world.client(None), world.client(world.members[Role.OWNER])
    # A secret of the other kind opens nothing.
    is_directory = route.rule.who is Audience.DIRECTORY
    another = world.secret(world.ours, *CUSTOMER_SCOPES) if is_directory else world.directory_secret(world.ours)
    for method in METHODS:
        for answer in (
            ask(visitor, method, address),
            ask(member, method, address),
            ask(visitor, method, address, Authorization="Bearer hr_live_nonsense"),
            ask(visitor, method, address, Authorization=f"Bearer {another}"),
        ):
            assert answer.status_code in (401, 405), f"{method} {answer.status_code}"
    # The body of an answer to HEAD is empty, and 405 comes before the key is looked at only for unknown methods.
    assert ask(visitor, "GET", address)["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("route", [route for route in KEYED if isinstance(route.rule.who, Scope)], ids=name_of)
def test_a_key_needs_the_scope(route: Route, world: World):
    before = world.checksum(world.ours)
    needed = route.rule.who
    others = [scope for scope in Scope if scope not in (needed, Scope.KEYS_WRITE)]
    secret = world.secret(world.theirs, *others)
    client = world.client(None)
    for method in METHODS:
        answer = ask(client, method, route.address("", world.objects), Authorization=f"Bearer {secret}")
        assert answer.status_code in (403, 405), f"{method} {answer.status_code}"
    assert world.checksum(world.ours) == before


@pytest.mark.parametrize("route", [route for route in KEYED + PROVISIONED if route.rule.objects], ids=name_of)
@pytest.mark.asvs("8.2.2")
def test_a_foreign_object_is_as_good_as_missing_to_a_program(route: Route, world: World):
    before = world.checksum(world.ours)
    secret = secret_for(route, world, world.theirs)
    client = world.client(None)
    for method in METHODS:
        foreign = ask(client, method, route.address("", world.objects), Authorization=f"Bearer {secret}")
        missing = ask(client, method, route.address("", {}), Authorization=f"Bearer {secret}")

        asked = [*world.objects.values(), *MISSING.values()]
        assert foreign.status_code in (404, 405) or method == "OPTIONS", f"{method} {foreign.status_code}"
        assert normal(foreign, *asked) == normal(missing, *asked), method
    assert world.checksum(world.ours) == before


@pytest.mark.parametrize("route", OPERATED, ids=name_of)
@pytest.mark.asvs("8.2.1")
def test_the_operators_api_is_closed_to_every_customer(route: Route, world: World):
    address = route.address("", world.objects)
    visitor, member = world.client(None), world.client(world.members[Role.OWNER])
    customers = [world.secret(world.ours, *CUSTOMER_SCOPES), world.directory_secret(world.ours), "hr_op_nonsense"]
    before = world.checksum(world.ours)
    for method in METHODS:
        answers = [ask(visitor, method, address), ask(member, method, address)]
        answers += [ask(visitor, method, address, Authorization=f"Bearer {secret}") for secret in customers]
        assert {answer.status_code for answer in answers} <= {401, 405}, method
    assert ask(visitor, "GET", address)["WWW-Authenticate"].startswith("Bearer")
    assert world.checksum(world.ours) == before


# --- The browser ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if route.name in POLICY and not route.is_of_programs], ids=name_of
)
@pytest.mark.asvs("3.5.1")
def test_a_form_of_another_site_changes_nothing(route: Route, world: World):
    if route.rule.who in (Audience.SIGNED, Audience.BROWSER):
        pytest.skip("checks a signature instead, or changes nothing")
    before = world.checksum(world.ours)
    client = world.client(world.members[Role.OWNER], enforce_csrf=True)
    for method in UNSAFE:
        answer = ask(client, method, route.address(world.ours.slug, world.objects))
        assert answer.status_code == 403, f"{method} {answer.status_code}"
    assert world.checksum(world.ours) == before
