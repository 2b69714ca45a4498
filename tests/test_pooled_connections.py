"""Threads that share few connections never see each other's rows, whatever is forgotten or dies (security T5).

Real requests by pages and keys, as the app role, through the whole portal; three in ten go to views that forget the
door, which only exist here. A connection serves whoever comes next, so what one request leaves behind would show.
"""

import logging
import os
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from threading import Lock
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import connection, transaction
from django.http import HttpRequest, JsonResponse
from django.test import Client, override_settings
from django.urls import path

from accounts.models import ApiKey, AuditEvent, Membership, Organization, Project, Scope
from accounts.services.api_keys import issue_key
from accounts.services.audit import record_event
from compute.models import SshKey
from portal.lib.key_format import KeyKind
from portal.lib.tenancy import set_organization
from portal.urls import handler403, handler404, handler500  # noqa: F401  # this module is a URLconf
from portal.urls import urlpatterns as portal_urlpatterns
from tests.factories.accounts import make_organization, make_project, make_user
from tests.factories.compute import make_ssh_key
from tests.own_database import APP, SUPERUSER, OwnDatabase

PROVE = bool(os.environ.get("PROVE"))
THREADS, CONNECTIONS = 16, 4
REQUESTS = 20_000 if PROVE else 800
SEED = int(os.environ.get("SEED", "20261122"))
FORGETFUL_SHARE, KILLED_SHARE = 0.3, 0.02
SCOPES = [scope for scope in Scope if scope is not Scope.INFERENCE]
# What an organization's rows are called, and nothing else is.
CANARY = re.compile(r"canary\d\d")
TABLES = [Project, SshKey, ApiKey, Membership, AuditEvent]


def every_row() -> list[str]:
    return [str(each) for table in TABLES for each in table._default_manager.values_list()]


def forgets_the_door(request: HttpRequest, organization_id: int) -> JsonResponse:
    return JsonResponse({"rows": every_row()})


@transaction.non_atomic_requests
def forgets_the_transaction(request: HttpRequest, organization_id: int) -> JsonResponse:
    """Sets the organization for a transaction that ends with the statement."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('app.organization_id', %s, true)", [str(organization_id)])
    return JsonResponse({"rows": every_row()})


def forgets_whose_it_is(request: HttpRequest, organization_id: int) -> JsonResponse:
    """Looks an object up by its number alone, which somebody took from the address."""
    project = Project.objects.filter(organization_id=organization_id).get()
    return JsonResponse({"rows": [project.name]})


def writes_without_the_door(request: HttpRequest, organization_id: int) -> JsonResponse:
    changed = Project.objects.update(name="taken") + SshKey.objects.update(name="taken")
    return JsonResponse({"rows": ["taken"] * changed})


@transaction.non_atomic_requests
def has_no_transaction(request: HttpRequest, organization_id: int) -> JsonResponse:
    set_organization(organization_id)
    return JsonResponse({"rows": every_row()})


FORGETFUL = [
    forgets_the_door,
    forgets_the_transaction,
    forgets_whose_it_is,
    writes_without_the_door,
    has_no_transaction,
]
urlpatterns = [
    *(path(f"forgetful/{view.__name__}/<int:organization_id>/", view) for view in FORGETFUL),
    *portal_urlpatterns,
]

PAGES = ["/o/{slug}/projects/", "/o/{slug}/ssh-keys/", "/o/{slug}/keys/", "/o/{slug}/audit-log/"]
LISTS = ["/api/v1/projects", "/api/v1/ssh-keys", "/api/v1/keys", "/api/v1/audit-events"]


@dataclass(frozen=True)
class Tenant:
    """An organization, the word that all of its rows carry, and what its owner and its program send."""

    organization: Organization
    canary: str
    cookie: str
    secret: str


def make_tenant(number: int) -> Tenant:
    canary, owner = f"canary{number:02}", make_user()
    organization = make_organization("Shared", owner=owner)
    organization.projects.update(name=f"first of {canary}")
    make_project(organization, f"second of {canary}")
    make_ssh_key(organization, f"{canary}-laptop")
    now = datetime.now(UTC)
    project = organization.projects.in_order()[0]
    issued = issue_key(
        project=project, name=f"{canary}-ci", scopes=SCOPES, created_by=None, now=now, kind=KeyKind.MANAGEMENT
    )
    record_event("project.renamed", organization_id=organization.pk, target=("project", canary), changes={}, now=now)
    client = Client()
    client.force_login(owner, backend="allauth.account.auth_backends.AuthenticationBackend")
    return Tenant(organization, canary, client.cookies[settings.SESSION_COOKIE_NAME].value, issued.secret)


def send(portal: Any, address: str, **headers: str) -> tuple[int, str]:
    """Ask the portal as a web server would, and return status and body."""
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": address,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "HTTP_HOST": "127.0.0.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(),
        **headers,
    }
    statuses = []

    def start(status: str, *_: Any) -> Callable[[bytes], object]:
        statuses.append(int(status[:3]))
        return lambda _: None

    answer = portal(environ, start)
    try:
        body = b"".join(answer)
    finally:
        answer.close()
    return statuses[0], body.decode()


class Killer:
    """Ends a connection of the portal, whoever works on it."""

    def __init__(self, admin: psycopg.Connection) -> None:
        self.admin, self.lock, self.killed = admin, Lock(), 0
        admin.autocommit = True

    def kill_one(self, chance: random.Random) -> None:
        with self.lock:
            living = self.admin.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND usename = %s", [APP]
            ).fetchall()
            if living:
                self.admin.execute("SELECT pg_terminate_backend(%s)", chance.choice(sorted(living)))
                self.killed += 1


@pytest.fixture
def quiet() -> Iterator[None]:
    """Hundreds of refused requests leave a traceback each that nobody reads."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.asvs("8.4.1")
@pytest.mark.usefixtures("quiet")
def test_requests_that_share_connections_see_their_own_rows_only(own_database: OwnDatabase):
    with own_database.in_use(SUPERUSER):
        tenants = [make_tenant(number) for number in range(8)]

    def ask(number: int) -> Counter[str]:
        chance, came = random.Random(SEED + number), Counter[str]()
        for _ in range(REQUESTS // THREADS):
            tenant = chance.choice(tenants)
            session = {"HTTP_COOKIE": f"{settings.SESSION_COOKIE_NAME}={tenant.cookie}"}
            is_forgetful = chance.random() < FORGETFUL_SHARE
            if chance.random() < KILLED_SHARE:
                killer.kill_one(chance)
            if is_forgetful:
                address = f"/forgetful/{chance.choice(FORGETFUL).__name__}/{tenant.organization.pk}/"
                status, body = send(portal, address, **session)
            elif chance.random() < 0.25:
                address = chance.choice(PAGES).format(slug=tenant.organization.slug)
                status, body = send(portal, address, **session)
            else:
                address = chance.choice(LISTS)
                status, body = send(portal, address, HTTP_AUTHORIZATION=f"Bearer {tenant.secret}")
            seen = set(CANARY.findall(body))
            if is_forgetful:
                assert not seen | set(re.findall("taken", body)), f"{address} of {tenant.canary}: {body}"
                came["nothing" if status == 200 else "refused"] += 1
            else:
                assert seen <= {tenant.canary}, f"{address} of {tenant.canary} shows {seen}"
                assert bool(seen) == (status == 200), f"{address} of {tenant.canary}: {status} {body[:400]}"
                came["own" if status == 200 else f"broken {status}"] += 1
        return came

    # Without the suite's own middleware, which clears what a request may have left behind.
    middleware = [each for each in settings.MIDDLEWARE if not each.startswith("tests.")]
    with (
        override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=middleware),
        own_database.connect(SUPERUSER) as admin,
        own_database.in_use(),
        own_database.pooled(CONNECTIONS),
    ):
        killer, portal = Killer(admin), get_wsgi_application()
        results = own_database.in_threads(THREADS, ask)

    wrong = [result for result in results if isinstance(result, Exception)]
    assert wrong == [], f"SEED={SEED}: {wrong[0]!r}"
    came = sum((result for result in results if isinstance(result, Counter)), Counter[str]())
    assert came.total() == REQUESTS
    # Enough got through and enough died for the rest to mean something.
    assert came["own"] > REQUESTS / 2
    assert min(came["nothing"], came["refused"]) > REQUESTS / 20
    assert killer.killed > REQUESTS * KILLED_SHARE / 2
