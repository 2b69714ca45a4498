"""Every field that names an object: a foreign, missing or odd name in it is refused alike and changes nothing (T2).

Nobody lists the fields: requests are watched (tests/readings.py) while every page, form and route of the API is
asked, and what they looked for is what there is to attack. A new field that no line below explains fails, and so
does a form or a serializer that was never met.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from django import forms
from django.test import Client
from django.urls import resolve, reverse
from rest_framework import serializers

from accounts.models import Organization, Scope
from billing.models import SpendCap
from compute.models import SshKey
from tests.accounts.test_passkeys import enroll
from tests.policy import Audience
from tests.readings import Place, Readings, watched
from tests.routes import ROUTES, Route
from tests.soft_key import SoftKey
from tests.support import normal, undone
from tests.test_audit_trail import BODIES, PROGRAMS_WITHOUT_CHANGE, SCIM, TYPED_THERE, presses
from tests.visits import NOT_A_PAGE, Scene, Visit, make_person, make_scene, signed_in, visitor, visits
from tests.world import World

OURS = ("accounts", "billing", "catalog", "compute", "inference", "portal")
# Field -> what it names, as tests/world.py calls it; `kept` below has the words that are not there.
NAMES: dict[tuple[Place, str], str] = {
    ("form", "member"): "member",
    ("form", "project"): "project",
    ("form", "service_account"): "service_account",
    ("form", "ssh_keys"): "ssh_key",
    ("json", "project"): "project",
    ("json", "service_account"): "service_account",
    ("json", "instance_ids"): "instance",
    ("json", "ssh_key_names"): "ssh_key_name",
    ("query", "actor"): "person",
    ("query", "target"): "key",
    ("query", "key"): "key",
    ("query", "id"): "instance",
    ("query", "project"): "project",
    ("query", "service_account"): "service_account",
    ("query", "ssh_keys"): "ssh_key",
    # The price list is the same for everybody: nothing of it is foreign, but names can be wrong.
    ("form", "image"): "catalog",
    ("form", "instance_type"): "catalog",
    ("form", "region"): "catalog",
    ("json", "image.id"): "catalog",
    ("json", "image.family"): "catalog",
    ("json", "instance_type_name"): "catalog",
    ("json", "region_name"): "catalog",
    ("query", "compare"): "catalog",
    ("query", "image"): "catalog",
    ("query", "instance_type"): "catalog",
    ("query", "model"): "catalog",
    ("query", "region"): "catalog",
}
# The place where a list goes on: what each list's cursor names.
CURSORS = {
    "accounts:api-key-list": "key",
    "accounts:api-project-list": "project",
    "accounts:api-service-account-list": "service_account",
    "accounts:directory": "directory_person",
    "accounts:key-list": "key",
    "accounts:member-list": "member",
    "accounts:project-list": "project",
    "accounts:rate-limit-list": "rate_limit",
    "accounts:service-account-list": "service_account",
    "billing:api-cap-list": "cap",
    "billing:api-invoice-list": "invoice",
    "billing:api-project-tags": "project",
    "billing:cap-list": "cap",
    "billing:tag-list": "project",
    "billing:credit": "payment",
    "compute:instance-list": "instance",
}
# Cursors that hold an instant or a number of the reader's own list, which nothing foreign can be.
POSITIONS = {"accounts:api-audit-event-list", "billing:api-usage", "inference:receipt-list"}
# For staff, who may name any organization.
OF_STAFF = {
    "LegalHoldForm": "tests/accounts/test_legal_holds.py",
    "NewOperatorKeyForm": "tests/accounts/test_operator_keys.py",
    "OperatorKeyForm": "tests/accounts/test_operator_keys.py",
    "FateSearchForm": "tests/billing/test_usage_decisions.py",
    "UsageDecisionForm": "tests/billing/test_usage_decisions.py",
    "ContractEndForm": "tests/billing/test_admin_contracts.py",
    "ContractForm": "tests/billing/test_admin_contracts.py",
    "RefundForm": "tests/billing/payments/test_admin_refunds.py",
    "CreditNoteForm": "tests/billing/test_admin_finance.py",
    "ExplanationForm": "tests/billing/test_admin_differences.py",
    "GivenUpDebtForm": "tests/billing/payments/test_given_up_debts.py",
    "GoodwillForm": "tests/billing/test_admin_goodwill.py",
    "SkuCostForm": "tests/billing/test_admin_revenue.py",
    "StaffSearchForm": "tests/billing/test_admin_finance.py",
    "SuspensionForm": "tests/billing/test_admin_standing.py",
    "TaxConfirmationForm": "tests/billing/test_details.py",
    "TransferDisputeForm": "tests/billing/test_admin_transfers.py",
    "TransferForm": "tests/billing/test_admin_transfers.py",
    "TermsForm": "tests/billing/test_admin_terms.py",
    "PriceProposalForm": "tests/catalog/test_admin.py",
    "Offer": "tests/inference/test_offering.py",
    "OfferingForm": "tests/inference/test_offering.py",
    "OrganizationRatesForm": "tests/accounts/test_rate_limits.py",
}
# Fields that name nothing: what people write, choose from a list in the code, count or date.
PLAIN: dict[Place, set[str]] = {
    "form": {
        *("requests_per_minute", "tokens_per_minute", "concurrent_requests"),
        *("action", "action_add", "action_primary", "action_remove", "action_send", "allowed_addresses"),
        *("RelayState", "SAMLResponse", "certificates", "entity_id", "metadata", "sign_in_url"),
        *("allowed_models", "auto_stop", "auto_stop_at", "auto_stop_hours", "client_id", "client_secret", "code"),
        *("credential", "default_role", "description", "expires_in", "from_start", "given_role", "is_personal"),
        *("issuer",),
        # What of a person's own they mean: tests/test_named_elsewhere.py.
        *("account", "email"),
        *("join_role", "kind", "lease_class", "life", "login", "may_enter", "name", "new_public_key", "next"),
        *("oldpassword", "overlap", "password", "password1", "password2", "passwordless", "preview"),
        *("project_role", "prompt", "public_key", "request_key", "role", "scopes", "state", "url", "user_data"),
        *("amount", "ceiling", "is_on", "limit", "period", "reload_amount", "stops", "threshold"),
        *("cost_center", "tags"),
        *("billing_address", "country", "invoice_emails", "legal_name", "purchase_order", "tax_id"),
        # A model of the gateway, which answers as it does to programs: the page shows its refusal.
        "model",
    },
    "json": {
        *("allowed_addresses", "allowed_models", "description", "expires_at", "expires_in_seconds", "lease_class"),
        *("limit", "name", "overlap_seconds", "public_key", "quantity", "scopes", "stops", "user_data"),
    },
    "query": {
        *(
            "action",
            "at",
            "auto_stop",
            "auto_stop_at",
            "auto_stop_hours",
            "back",
            "before",
            "by",
            "email",
            "end",
            "format",
        ),
        *("group_by", "kind", "lease_class", "limit", "max_input", "max_price", "min_context", "min_memory", "name"),
        *("new_public_key", "next", "publisher", "range", "request_key", "sort", "start", "status", "user_data"),
        # Of a directory; what a filter names: tests/test_named_elsewhere.py.
        *("attributes", "count", "excludedAttributes", "filter", "startIndex"),
        # Cost centers are words, not ids; a neighbour's: tests/billing/test_cost_tags.py.
        *("center", "cost_center"),
        # Whether somebody comes back from the payment provider.
        "back",
    },
}
# What a page would make up anew for each reader, so that two answers can be compared.
FIXED_QUERY = {"compute:instance-launch": {"name": "fixed", "request_key": "fixed"}}
TOO_LARGE = 2**63


@dataclass(frozen=True)
class Named:
    """One of ours, one of theirs, none at all, and one of ours that is something else."""

    own: str
    foreign: str
    missing: str
    other: str


@dataclass(frozen=True)
class Asked:
    """A request that somebody is known to make. data: what is sent, as its place takes it."""

    route: Route
    visit: Visit | None
    method: str
    place: Place
    address: str
    data: Mapping[str, Any]


@dataclass
class Met:
    """What watching every request brought to light. fields: (place, name) -> the first request of each route.

    requests: the first of each route and method that changes something, and the first where nothing happened yet.
    """

    readings: Readings
    fields: dict[tuple[Place, str], dict[str, Asked]]
    requests: dict[tuple[str, str, bool], Asked]

    def note(self, asked: Asked, read: Readings) -> None:
        if asked.place != "query":
            is_empty = asked.visit is not None and asked.visit.is_empty
            self.requests.setdefault((asked.route.name, asked.method, is_empty), asked)
        self.readings.classes |= read.classes
        self.readings.many |= read.many
        for place, name in read.fields:
            if place == asked.place:
                self.fields.setdefault((place, name), {}).setdefault(asked.route.name, asked)


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


@pytest.fixture(scope="module")
def met(scene: Scene, django_db_blocker: Any) -> Met:
    """What all pages, their forms and the routes of programs read."""
    with django_db_blocker.unblock(), undone():
        return meet(scene)


def meet(scene: Scene) -> Met:
    met = Met(Readings(), {}, {})
    for visit in visits():
        with undone():
            client, address = scene.begin(visit)
            query = FIXED_QUERY.get(visit.route.name, {})
            with undone(), watched() as read:
                client.get(address, query)
            met.note(Asked(visit.route, visit, "GET", "query", address, query), read)
            with undone():
                forms_there = list(presses(client, address))
            for target, data in forms_there:
                route = route_of(target)
                typed = TYPED_THERE[route.name](scene.world) if route.name in TYPED_THERE else {}
                with undone(), watched() as read:
                    client.post(target, data | typed)
                met.note(Asked(route, visit, "POST", "form", target, data | typed), read)
    for name in NOT_A_PAGE:
        if route_named(name).converters:
            # Takes back whom an identity provider sends.
            continue
        with undone(), watched() as read:
            person = make_person()
            # One with a security key, whose holder is asked for it.
            enroll(person, SoftKey(origin="http://testserver"))
            signed_in(person).post(reverse(name), {"credential": "{}"})
            visitor().post(reverse(name), {"credential": "{}"})
        met.note(Asked(route_of(reverse(name)), None, "POST", "form", reverse(name), {}), read)
    for route in ROUTES:
        known_to_change = [method for name, method in SCIM if name == route.name]
        of_directories = ["GET", *known_to_change] if route.rule.who is Audience.DIRECTORY else None
        for method in of_directories or ("GET", "POST", "PUT", "PATCH", "DELETE") if route.is_of_programs else ():
            make_body = BODIES.get((route.name, method)) or SCIM.get((route.name, method))
            body = make_body(scene.world) if make_body else {}
            address = route.address("", scene.world.objects | scene.public_objects)
            place: Place = "query" if method == "GET" else "json"
            asked = Asked(route, None, method, place, address, body or {})
            with undone(), watched() as read:
                prepare(scene, asked)(asked.data)
            met.note(asked, read)
    return met


def route_of(address: str) -> Route:
    return route_named(resolve(address.partition("?")[0]).view_name)


def route_named(name: str) -> Route:
    return next(route for route in ROUTES if route.name == name)


def prepare(scene: Scene, asked: Asked) -> Callable[[Mapping[str, Any]], Any]:
    """Return what sends the request with some data, as whoever is known to make it: signed in, or with a fresh key."""
    client = scene.begin(asked.visit)[0] if asked.visit else Client(raise_request_exception=False)
    headers = {}
    if isinstance(asked.route.rule.who, Scope) or asked.route.rule.who is Audience.KEY:
        scope = asked.route.rule.who if isinstance(asked.route.rule.who, Scope) else Scope.USAGE_READ
        headers = {"Authorization": f"Bearer {scene.world.secret(scene.world.ours, scope)}"}
    elif asked.route.rule.who is Audience.DIRECTORY:
        headers = {"Authorization": f"Bearer {scene.world.directory_secret(scene.world.ours)}"}

    def send(data: Mapping[str, Any]) -> Any:
        if asked.place == "form":
            return client.post(asked.address, data)
        if asked.place == "query":
            return client.get(asked.address, data, headers=headers)
        body = json.dumps(data)
        return client.generic(asked.method, asked.address, body, content_type="application/json", headers=headers)

    return send


def known(scene: Scene, word: str) -> Named:
    ours, theirs = scene.world.ours, scene.world.theirs
    other = scene.world.objects["receipt" if word == "instance" else "instance"]
    if word == "catalog":
        return Named("", "missing-thing", "nothing-there", other)
    own, foreign = named(ours, word, scene.world.objects), named(theirs, word, scene.world.foreign_objects)
    start, mark, _ = foreign.partition("_")
    return Named(own, foreign, f"{start}_{'0' * 20}" if mark else "nothing-there", other)


def named(organization: Organization, word: str, objects: Mapping[str, str]) -> str:
    """Return what the organization's object of that kind is called, or an object of its own where there is none."""
    if word == "person":
        return organization.memberships.order_by("pk")[0].user.public_id
    if word == "ssh_key_name":
        return SshKey.objects.get(public_id=objects["ssh_key"]).name
    return objects[word]


def word_of(place: Place, name: str, route: str) -> str:
    """Return what the field names there; empty for nothing. Raises KeyError for a field that nobody explained."""
    if (place, name) == ("query", "after"):
        return "" if route in POSITIONS else CURSORS[route]
    if name.startswith("heir_"):
        # One for each project of a member who is removed.
        return "service_account"
    return "" if name in PLAIN[place] else NAMES[place, name]


def attacks(named: Named, place: Place, *, is_many: bool) -> Iterator[Any]:
    """Yield what is put into the field, the foreign name and the missing one first."""
    mixed = [named.own] if is_many and named.own else []
    yield [*mixed, named.foreign] if is_many else named.foreign
    yield [*mixed, named.missing] if is_many else named.missing
    odd: list[Any] = [named.other, (named.own or named.foreign).upper(), "-1", str(TOO_LARGE)]
    yield from ([value] for value in odd) if is_many else odd
    if place == "json":
        yield from (-1, TOO_LARGE, [[named.foreign]], {"id": named.foreign})
        yield from [[-1], [TOO_LARGE], [None]] if is_many else [[named.foreign], None]


def refusals(asked: Asked) -> set[int]:
    """Return the answers that refuse. A page that is narrowed to what does not exist is an empty page."""
    if asked.place == "query":
        return {200, 404, 422}
    # The API of instances says 400 where ours says 422 (contracts 2).
    return {400, 404, 422} if asked.route.name.startswith("compute:api-") else {404, 422}


def body_with(asked: Asked, name: str, value: Any) -> dict[str, Any]:
    """Return the data with that value in the field; a dot leads into an object of the body."""
    outer, _, inner = name.partition(".")
    return {**asked.data, outer: {inner: value} if inner else value}


def test_every_field_says_what_it_names(met: Met):
    unknown = []
    for (place, name), routes in met.fields.items():
        for route in routes:
            try:
                word_of(place, name, route)
            except KeyError:
                unknown.append(f"{name} ({place}) of {route}")

    assert not unknown, f"say in NAMES, CURSORS or PLAIN what these name: {unknown}"


def test_no_field_is_explained_that_is_gone(met: Met):
    found = set(met.fields)

    assert set(NAMES) <= found
    assert {(place, name) for place, names in PLAIN.items() for name in names} <= found
    assert {*CURSORS, *POSITIONS} <= set(met.fields["query", "after"])


def subclasses(of: Any) -> Iterator[type]:
    for child in of.__subclasses__():
        yield child
        yield from subclasses(child)


def test_every_form_and_serializer_was_met(met: Met):
    made = [*subclasses(forms.BaseForm), *subclasses(serializers.BaseSerializer)]
    ours = {made for made in made if made.__module__.split(".")[0] in OURS}
    # One that others build upon is met in them.
    unmet = {made.__qualname__ for made in ours if not any(issubclass(seen, made) for seen in met.readings.classes)}

    assert len(ours) > 20
    assert unmet == set(OF_STAFF)


@pytest.mark.asvs("8.2.2")
@pytest.mark.asvs("2.2.1")
def test_a_foreign_name_in_a_field_is_as_good_as_missing_and_changes_nothing(met: Met, stage: Scene):
    tried, wrong = 0, list[str]()
    for (place, name), routes in sorted(met.fields.items()):
        for route, asked in routes.items():
            if not (word := word_of(place, name, route)):
                continue
            if asked.route.is_of_organization or asked.route.is_of_programs or word == "catalog":
                with undone():
                    is_many = (place, name) in met.readings.many
                    wrong += attack(stage, asked, name, known(stage, word), is_many=is_many)
                tried += 1

    assert not wrong
    assert tried >= len(NAMES)


def attack(scene: Scene, asked: Asked, name: str, target: Named, *, is_many: bool) -> Iterator[str]:
    """Put every bad name into the field and say what went wrong."""
    with undone():
        plain = prepare(scene, asked)(asked.data).status_code
    if plain >= 400 and asked.route.name not in PROGRAMS_WITHOUT_CHANGE:
        # Something else is wrong with it, and would hide what we ask about.
        yield f"{asked.route.name} answers {plain} before anything is wrong: fill in its form"
    send, answers = prepare(scene, asked), []
    before = rows(scene.world)
    for value in attacks(target, asked.place, is_many=is_many):
        where = f"{value!r} in {name} ({asked.place}) of {asked.route.name}"
        with undone():
            answer = send(body_with(asked, name, value))
            after = rows(scene.world)
        if answer.status_code not in refusals(asked):
            yield f"{where} was answered {answer.status_code}"
        if changed := {table for table in before if before[table] != after[table]}:
            yield f"{where} changed {changed}"
        answers.append(normal(answer, target.foreign, target.missing))
    if answers[0] != answers[1]:
        yield f"{name} ({asked.place}) of {asked.route.name} tells a foreign name from a missing one"


def rows(world: World) -> dict[tuple[str, str], str]:
    """Return a digest of every table's rows of both organizations."""
    both = {"ours": world.ours, "theirs": world.theirs}
    return {(whose, table): digest for whose in both for table, digest in world.checksum(both[whose]).items()}
