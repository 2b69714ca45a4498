"""Questions about tenancy, put to the portal as it is and as it should never be: see tests/test_tenant_mutants.py."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import CodeType, FunctionType
from typing import Any

from django.conf import settings
from django.db import connection
from django.test import Client

from accounts.models import ApiKey, Membership, Organization, Role, Scope, User
from accounts.services.api_keys import issue_key
from billing.models import SpendCap
from billing.selectors import Grouping
from billing.selectors.center_spend import GROUPINGS
from billing.services.usage import record_usage
from catalog.models import ServedModel
from compute.services.ssh_keys import add_ssh_key
from portal.lib.key_format import digest_of
from tests.factories.accounts import make_invitation, make_membership, make_project, make_user
from tests.factories.billing import make_record
from tests.factories.compute import make_ssh_key
from tests.furnishing import LONG_NAME, furnish
from tests.policy import Audience
from tests.routes import ROUTES, Route
from tests.support import as_served, normal, undone
from tests.tenant_mutants import entered
from tests.test_audit_trail import BODIES, KEYS, TYPED
from tests.test_named_objects import Asked, Met, body_with, known, prepare, word_of
from tests.visits import Scene, Visit, signed_in, visits
from tests.world import NOW, World

PUBLIC_ID = re.compile(rb"\b[a-z]{2,5}_[0-9A-Za-z]{20,}\b")
# Shown once. By chance it may look like an id, so that an answer seems to stay the same until it does not.
SIGNING_SECRET = re.compile(rb"\bwhsec_[0-9A-Za-z+/]{43}=")
OF_ONE_CENTER = [{"by": grouping.value, "center": "none"} for grouping in GROUPINGS]
# Pages and lists that are narrowed by their address: each way once.
NARROWED: dict[str, list[dict[str, str]]] = {
    "billing:spend": [*({"by": grouping.value} for grouping in Grouping), *OF_ONE_CENTER],
    "billing:api-spend": [*({"group_by": grouping.value} for grouping in Grouping), {"cost_center": ""}],
}
# What theirs created with the same Idempotency-Key.
REPEATED = {("accounts:api-key-list", "POST"), ("compute:api-launch", "POST")}
SAME = "the-same-key-in-two-organizations"

type Outcome = tuple[Any, ...]


@dataclass
class Stage:
    """The scene with everything of theirs beside ours, and who asks about it. secrets: of ours, by scope."""

    scene: Scene
    met: Met
    secrets: dict[Scope, str]

    def by_key(
        self, route: Route, method: str, objects: dict[str, str], query: dict[str, str] | None = None, body: Any = None
    ) -> Callable[[], Any]:
        scope = route.rule.who if isinstance(route.rule.who, Scope) else Scope.USAGE_READ
        headers = {"Authorization": f"Bearer {self.secrets[scope]}", "Idempotency-Key": SAME}

        def ask() -> Any:
            client = Client(raise_request_exception=False)
            return client.generic(
                method,
                route.address("", objects),
                json.dumps(body) if body is not None else "",
                content_type="application/json",
                headers=headers,
                query_params=query or {},
            )

        return ask


@dataclass
class Question:
    """One request. ask: sends it and returns the answer; watched: whose rows may not change by it, if anybody's."""

    name: str
    ask: Callable[[], Any]
    watched: Organization | None = None
    must_be_refused: bool = False
    answer: Outcome | None = None
    # How much of an answer is the same every time: all, or without what shows chance or the instant.
    compared: int = 0


class Interrogation:
    """All questions, and which functions each of them runs through."""

    def __init__(self, stage: Stage) -> None:
        self.world = stage.scene.world
        self.known_ids = known_ids(self.world)
        self.questions = [*pages(stage), *lists(stage), *addresses(stage), *fields(stage), *presses(stage)]
        self.codes: dict[str, set[CodeType]] = {}

    def look_into(self, functions: list[FunctionType]) -> None:
        """Put every question once and note which of the functions it enters."""
        for question in self.questions:
            with undone(), entered(functions) as self.codes[question.name]:
                self._answer_of(question)

    def through(self, functions: list[FunctionType]) -> list[Question]:
        codes = {each.__code__ for each in functions}
        return [question for question in self.questions if self.codes[question.name] & codes]

    def learn(self, question: Question) -> None:
        """Put the question to the portal as it is, twice, to learn what its answer is and how much of it stays."""
        if question.answer is None:
            question.answer, again = self.put(question), self.put(question)
            question.compared = len(again) if again == question.answer else 3

    def notices(self, question: Question) -> bool:
        """Whether the answer is another one than that of the portal as it is, which was learned before."""
        assert question.answer is not None
        return self.put(question)[: question.compared] != question.answer[: question.compared]

    def put(self, question: Question) -> Outcome:
        with undone():
            status, body, location = self._answer_of(question)
            rows: Outcome = ()
            counts: Outcome = ()
            if question.watched is not None:
                rows = tuple(self.world.checksum(question.watched).items())
                counts = tuple(self._counts())
        body = SIGNING_SECRET.sub(b"<secret>", body)
        body = PUBLIC_ID.sub(lambda found: found[0] if found[0] in self.known_ids else b"<new>", body)
        return (status, rows, counts, location if question.watched is None else "", body)

    def _answer_of(self, question: Question) -> tuple[int, bytes, str]:
        answer = question.ask()
        status, body, headers = normal(answer)
        if answer.streaming:
            # As the role that the connection has outside of tests.
            with as_served():
                body = _whole(answer.streaming_content)
        return status, body, headers.get("Location", "")

    def _counts(self) -> list[tuple[Any, ...]]:
        counts = [f"(SELECT count(*) FROM {table})" for table in self.world.tenant_tables]
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {', '.join(counts)}")
            return list(cursor.fetchall())


def _whole(pieces: Iterable[bytes]) -> bytes:
    """Return a stream's bytes. One that breaks off is another answer than one that does not."""
    body = b""
    try:
        for piece in pieces:
            body += piece
    except Exception as error:
        return body + f"<broken: {type(error).__name__}>".encode()
    return body


def known_ids(world: World) -> set[bytes]:
    """Return every public id that there is, so that those made by a question can be told from them."""
    found: set[bytes] = set()
    with connection.cursor() as cursor:
        for table in [*world.tenant_tables, "accounts_user"]:
            cursor.execute(f"SELECT to_jsonb(t)::text FROM {table} t")
            found |= {each for (row,) in cursor.fetchall() for each in PUBLIC_ID.findall(row.encode())}
    return found


def pages(stage: Stage) -> Iterator[Question]:
    """Every page of ours, in every state and narrowed in every way; and theirs, whose rows come later in each table."""
    scene, world = stage.scene, stage.scene.world
    for visit in visits():
        if not visit.route.is_of_organization:
            continue
        for query in [{}, *NARROWED.get(visit.route.name, [])]:

            def ask(visit: Visit = visit, query: dict[str, str] = query) -> Any:
                client, address = scene.begin(visit)
                return client.get(address, query)

            yield Question(f"GET {visit} {query}", ask)
        if not visit.route.rule.objects and not visit.is_empty:
            address = visit.route.address(world.theirs.slug, {})
            yield Question(f"GET {visit} as theirs", by(world.stranger, "GET", address))


def keyed() -> list[Route]:
    return [
        route
        for route in ROUTES
        if route.is_of_programs and (isinstance(route.rule.who, Scope) or route.rule.who is Audience.KEY)
    ]


def lists(stage: Stage) -> Iterator[Question]:
    objects = stage.scene.world.objects
    for route in keyed():
        for query in [{}, *NARROWED.get(route.name, [])]:
            yield Question(f"GET {route.name} {query}", stage.by_key(route, "GET", objects, query))


def addresses(stage: Stage) -> Iterator[Question]:
    """Every address with an object of theirs in it, and where there are several, with one of theirs beside ours."""
    world = stage.scene.world
    for route in ROUTES:
        if not route.rule.objects or not (route.is_of_organization or route in keyed()):
            continue
        words = set(route.rule.objects.values())
        for theirs in {frozenset(words), *(frozenset({word}) for word in words)}:
            objects = world.objects | {word: world.foreign_objects[word] for word in theirs}
            for method in ("GET", "POST", "DELETE", "PATCH") if route.is_of_programs else ("GET", "POST"):
                if route.is_of_programs:
                    ask = stage.by_key(route, method, objects)
                else:
                    ask = by(world.members[Role.OWNER], method, route.address(world.ours.slug, objects))
                name = f"{method} {route.name} with {', '.join(sorted(theirs))} of theirs"
                yield Question(name, ask, None if method == "GET" else world.theirs, must_be_refused=True)


def fields(stage: Stage) -> Iterator[Question]:
    met = stage.met
    for (place, name), routes in sorted(met.fields.items()):
        for route, asked in routes.items():
            if (word := word_of(place, name, route)) and word != "catalog":
                foreign = known(stage.scene, word).foreign
                value = [foreign] if (place, name) in met.readings.many else foreign

                def ask(asked: Asked = asked, name: str = name, value: Any = value) -> Any:
                    return prepare(stage.scene, asked)(body_with(asked, name, value))

                watched = None if place == "query" else stage.scene.world.theirs
                yield Question(f"{name} ({place}) of {route} of theirs", ask, watched)


def presses(stage: Stage) -> Iterator[Question]:
    """Every form and every route of programs as it is meant, by theirs too, and creations that theirs repeated."""
    world = stage.scene.world
    for (route, method, is_empty), asked in stage.met.requests.items():
        if not (asked.route.is_of_organization or asked.route.is_of_programs):
            continue

        def ask(asked: Asked = asked) -> Any:
            return prepare(stage.scene, asked)(asked.data)

        yield Question(f"{method} {route}{' where nothing is' if is_empty else ''}", ask, world.theirs)
        if asked.route.is_of_organization and not asked.route.rule.objects and not is_empty:
            address = asked.route.address(world.theirs.slug, {})
            yield Question(f"{method} {route} as theirs", by(world.stranger, method, address, asked.data), world.ours)
    for each in keyed():
        if (each.name, "POST") in REPEATED:
            ask_again = stage.by_key(each, "POST", {}, body=BODIES[each.name, "POST"](world))
            yield Question(f"POST {each.name} with a key that theirs used", ask_again, world.theirs)


def by(user: User, method: str, address: str, data: Mapping[str, Any] | None = None) -> Callable[[], Any]:
    def ask() -> Any:
        client = signed_in(user)
        return client.post(address, data) if data else client.generic(method, address)

    return ask


def copy_to_theirs(scene: Scene, met: Met) -> None:
    """Let them have everything, and what our forms are about to make: the same names, addresses, keys and usage."""
    world = scene.world
    theirs = world.theirs
    # Both have a member whose long address is the same but for this.
    User.objects.filter(email=f"{LONG_NAME}@example.com").update(email=f"ours-{LONG_NAME}@example.com")
    furnish(theirs, NOW)
    SpendCap.objects.of_organization(theirs.pk).update(limit_nano=10**15)
    make_project(theirs, str(TYPED["name"]))
    make_membership(theirs, make_user(str(TYPED["email"])))
    make_invitation(theirs, str(TYPED["email"]), invited_by=world.stranger, now=NOW)
    _let_a_member_of_ours_join(world)
    pasted = {str(asked.data[name]) for asked in met.requests.values() for name in KEYS if name in asked.data}
    for number, key in enumerate(sorted(pasted - {"['']"})):
        name = "robot" if number == 0 else f"pasted-{number}"
        add_ssh_key(organization=theirs, name=name, public_key=key, created_by=None, now=NOW)
    make_ssh_key(theirs, str(TYPED["name"]))
    usage = [make_record(theirs.projects.in_order()[0], sku=model_sku(), occurred_at=NOW - timedelta(hours=1))]
    record_usage(usage, reservation_id=None, now=NOW)
    for route in keyed():
        if (route.name, "POST") in REPEATED:
            secret = world.secret(theirs, route.rule.who)  # type: ignore[arg-type]  # those have scopes
            body = BODIES[route.name, "POST"](world)
            if "ssh_key_names" in body:
                body = body | {"ssh_key_names": [theirs.ssh_keys.all()[0].name]}
            answer = Client().post(
                route.address("", {}),
                json.dumps(body),
                content_type="application/json",
                headers={"Authorization": f"Bearer {secret}", "Idempotency-Key": SAME},
            )
            assert answer.status_code < 300, answer.content


def _let_a_member_of_ours_join(world: World) -> None:
    """Make who is removed from ours a member of theirs, with a key of their own there."""
    member = Membership.objects.get(public_id=world.objects["member"]).user
    make_membership(world.theirs, member)
    project = world.theirs.projects.in_order()[0]
    scopes = [Scope.INFERENCE]
    issue_key(project=project, name="own", scopes=scopes, created_by=member, now=NOW, is_personal=True)
    # And one that stays there when they go.
    issue_key(project=project, name="left in theirs", scopes=scopes, created_by=member, now=NOW)


def use_key(world: World, secret: str) -> None:
    """Record usage of that key of ours on a day and of a SKU that theirs used, too."""
    key = ApiKey.objects.get(digest=digest_of(secret, settings.API_KEY_PEPPER))
    usage = [make_record(key.project, sku=model_sku(), occurred_at=NOW, api_key_id=key.pk)]
    usage += [make_record(world.theirs.projects.in_order()[0], sku=model_sku(), occurred_at=NOW)]
    for each in usage:
        record_usage([each], reservation_id=None, now=NOW)


def model_sku() -> str:
    return ServedModel.objects.order_by("pk")[0].sku(ServedModel.TokenKind.INPUT)
