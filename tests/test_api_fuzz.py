"""Programs that read our OpenAPI document and try everything: generated requests against the API (security T10).

A real server on a database of its own, with the roles of production, asked by one organization while another looks
on. Beside what schemathesis checks by itself: whatever one organization may ask about an object of its own, the same
request with the other's key is refused, and nothing of the other's changes.
"""

import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
import schemathesis
import schemathesis.openapi
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import connections, transaction
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from accounts.models import ApiKey, Organization, Scope
from accounts.services.api_keys import issue_key
from billing.models import SpendCap
from portal.lib.key_format import KeyKind, digest_of
from portal.lib.tenancy import set_organization
from portal.views.api_document import api_description
from tests.own_database import SUPERUSER, OwnDatabase
from tests.world import World, make_world

PROVE = bool(os.environ.get("PROVE"))
EXAMPLES, SEQUENCES = (300, 300) if PROVE else (12, 8)
SEED = int(os.environ.get("SEED", "20261122"))
CHECKS = {
    "not_a_server_error",
    "ignored_auth",
    "use_after_free",
    "ensure_resource_availability",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "a_neighbour_gets_nothing",
}
# Not asked for here: what they find is a matter of style, or needs what the document does not say.
OTHER_CHECKS = {
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "positive_data_acceptance",
    "missing_required_header",
    "allow_header_conformance",
    "object_level_authorization",
}
SCOPES = [scope for scope in Scope if scope is not Scope.INFERENCE]
# What answers only after a PUT of the same key and period, which chance seldom brings together: their answers are in
# tests/billing/test_api_caps.py, and what a neighbour gets in tests/test_tenancy.py.
AFTER_ANOTHER = {f"{method} /api/v1/keys/{{public_id}}/caps/{{period}}" for method in ("GET", "DELETE")}
# What the two identities send; the server puts in a key that works, for they revoke and rotate their own.
OURS, THEIRS = "Bearer ours", "Bearer theirs"


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: there are thousands."""


@dataclass
class Server:
    """The portal over HTTP, on one database; one request at a time."""

    organizations: dict[str, Organization]
    secrets: dict[str, str] = field(default_factory=dict)
    portal: Any = field(default_factory=get_wsgi_application)
    asked: Counter[str] = field(default_factory=Counter)

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        identity = environ.get("HTTP_AUTHORIZATION", "")
        self.asked[identity] += 1
        if identity in self.organizations:
            environ = {**environ, "HTTP_AUTHORIZATION": f"Bearer {self._secret(identity)}"}
        answer = self.portal(environ, start)
        try:
            return [b"".join(answer)]
        finally:
            answer.close()
            connections.close_all()

    @contextmanager
    def running(self) -> Iterator[str]:
        """Serve, and yield the address."""
        with make_server("127.0.0.1", 0, self, WSGIServer, Quiet) as server:
            thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}"
            finally:
                server.shutdown()
                thread.join()

    def _secret(self, identity: str) -> str:
        """Return the secret of a key of that organization that is not revoked yet."""
        organization, secret = self.organizations[identity], self.secrets.get(identity, "")
        with transaction.atomic():
            set_organization(organization.pk)
            alive = ApiKey.objects.filter(digest=digest_of(secret, settings.API_KEY_PEPPER), revoked_at=None)
            if not secret or not alive.exists():
                now = datetime.now(UTC)
                # A project has room for two hundred keys, and everybody here makes keys.
                ApiKey.objects.filter(revoked_at=None).update(revoked_at=now)
                project = organization.projects.in_order()[0]
                kind = KeyKind.MANAGEMENT
                issued = issue_key(project=project, name="asks", scopes=SCOPES, created_by=None, now=now, kind=kind)
                self.secrets[identity] = issued.secret
        return self.secrets[identity]


@schemathesis.check
def a_neighbour_gets_nothing(context: Any, response: Any, case: Any) -> None:
    """Whatever worked for an object of one organization is refused to the key of another."""
    body = case.body if isinstance(case.body, dict) else {}
    names_object = bool(case.path_parameters) or any(name.endswith(("_ids", "_names", "project")) for name in body)
    is_ours = response.request.headers.get("Authorization") == OURS
    # OPTIONS is answered alike for whatever is in the address, and the price list belongs to everybody.
    is_closed = case.method.lower() == case.operation.method and "security" in case.operation.definition.raw
    if not (names_object and is_ours and is_closed and response.status_code < 400):
        return
    answer = case.call(headers={"Authorization": THEIRS})
    assert answer.status_code in (400, 403, 404, 409, 422), f"another organization was answered {answer.status_code}"


@dataclass
class Heard:
    """What came of it: how many answers of each kind an operation gave, which checks ran, and what went wrong."""

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)
    wrong: set[str] = field(default_factory=set)


def of_customers() -> dict[str, Any]:
    """Return the document without the owner's own API: these two organizations have no key to it.

    It answers for each event of a batch instead of refusing the request (tests/billing/test_api_operator.py).
    """
    description = api_description()
    paths = {path: each for path, each in description["paths"].items() if path.startswith("/api/v1/")}
    return description | {"paths": paths}


def ask_everything(address: str) -> Heard:
    heard = Heard()
    config = SchemathesisConfig.from_dict(
        {
            "seed": SEED,
            "base-url": address,
            "headers": {"Authorization": OURS},
            "generation": {"max-examples": EXAMPLES, "database": "none", "no-shrink": not PROVE},
            "phases": {
                "examples": {"enabled": False},
                "stateful": {"max-steps": 6, "generation": {"max-examples": SEQUENCES}},
            },
            "checks": {name: {"enabled": False} for name in OTHER_CHECKS},
            # A key that was deleted is a revoked one, which stays to be looked at.
            "operations": [
                {"include-path": "/api/v1/keys/{public_id}", "checks": {"use_after_free": {"enabled": False}}}
            ],
            "analysis": {"constants": {"enabled": False}},
        }
    )
    schema = schemathesis.openapi.from_dict(json.loads(json.dumps(of_customers())), config=config)
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            listen(event.recorder, heard)
        elif isinstance(event, events.NonFatalError):
            heard.wrong.add(f"{event.label}: {event.value}")
        elif isinstance(event, events.FatalError):
            heard.wrong.add(str(event.exception))
    return heard


def listen(recorder: Any, heard: Heard) -> None:
    for case, interaction in recorder.interactions.items():
        if interaction.response is not None:
            heard.answers[recorder.cases[case].value.operation.label, interaction.response.status_code] += 1
    for case, checks in recorder.checks.items():
        for check in checks:
            heard.checks[check.name] += 1
            if check.failure_info is not None:
                label = recorder.cases[case].value.operation.label
                heard.wrong.add(f"{label}: {check.failure_info.failure}\n    {check.failure_info.code_sample}")


@pytest.fixture
def quiet() -> Iterator[None]:
    """A line of the log for every request is more than anybody reads."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def rows_of(world: World, own_database: OwnDatabase) -> dict[str, str]:
    with own_database.in_use(SUPERUSER):
        return world.checksum(world.theirs)


@pytest.mark.asvs("8.2.2")
@pytest.mark.asvs("4.1.4")
@pytest.mark.asvs("2.2.2")
@pytest.mark.usefixtures("quiet")
def test_generated_requests_find_nothing(own_database: OwnDatabase):
    with own_database.in_use(SUPERUSER):
        world = make_world()
        # So that launches find their budget.
        SpendCap.objects.of_organization(world.ours.pk).update(limit_nano=10**15)
    server = Server({OURS: world.ours, THEIRS: world.theirs})
    with own_database.in_use():
        # Their key is made before their rows are compared.
        server._secret(THEIRS)
        before = rows_of(world, own_database)
        with server.running() as address:
            heard = ask_everything(address)

    assert not heard.wrong, f"SEED={SEED}\n" + "\n".join(sorted(heard.wrong))
    assert set(heard.checks) >= CHECKS
    assert server.asked[THEIRS] >= 20
    # What nobody got through to proves nothing.
    operations = {f"{method.upper()} {path}" for path, each in of_customers()["paths"].items() for method in each}
    reached = {label for label, status in heard.answers if status < 400}
    assert reached <= operations
    assert operations - reached <= AFTER_ANOTHER
    assert rows_of(world, own_database) == before
