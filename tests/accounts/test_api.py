"""The REST API of keys and projects."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from accounts.models import ApiKey, Organization, Scope
from accounts.services.api_keys import IssuedKey, issue_key, revoke_key
from portal.lib.key_format import KeyKind
from tests.factories.accounts import make_key, make_organization, make_project

pytestmark = pytest.mark.django_db


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def organization() -> Organization:
    return make_organization()


@pytest.fixture
def management(organization: Organization) -> IssuedKey:
    return issue_key(
        project=organization.projects.get(),
        name="automation",
        scopes=[Scope.KEYS_WRITE],
        created_by=None,
        now=now(),
        kind=KeyKind.MANAGEMENT,
    )


def ask(client: Client, method: str, path: str, secret: str, data: Any = None) -> tuple[int, Any]:
    answer = client.generic(
        method,
        path,
        data="" if data is None else json.dumps(data),
        content_type="application/json",
        headers={"Authorization": f"Bearer {secret}"},
    )
    return answer.status_code, answer.json()


def test_creates_lists_and_revokes_a_key(client: Client, organization: Organization, management: IssuedKey):
    status, made = ask(
        client, "POST", "/api/v1/keys", management.secret, {"name": "ci", "scopes": ["inference", "usage:read"]}
    )
    assert status == 201
    assert made["key"]["label"].endswith(made["secret"][-4:])
    assert made["key"]["scopes"] == ["inference", "usage:read"]
    assert ask(client, "GET", "/api/v1/projects", made["secret"])[0] == 200

    status, listed = ask(client, "GET", "/api/v1/keys", management.secret)
    assert [key["id"] for key in listed["data"]] == [management.api_key.public_id, made["key"]["id"]]
    assert "secret" not in str(listed)

    status, revoked = ask(client, "DELETE", f"/api/v1/keys/{made['key']['id']}", management.secret)
    assert (status, revoked["state"]) == (200, "revoked")
    assert ask(client, "GET", "/api/v1/projects", made["secret"])[0] == 401


@pytest.mark.parametrize(
    ("data", "pointer"),
    [
        ({}, "/name"),
        ({"name": "x", "scopes": []}, "/scopes"),
        ({"name": "x", "scopes": ["keys:write"]}, "/scopes"),
        ({"name": "x", "scopes": ["everything"]}, "/scopes"),
        ({"name": "x" * 81, "scopes": ["inference"]}, "/name"),
        ({"name": "a\x00b", "scopes": ["inference"]}, "/name"),
        ({"name": "x", "scopes": ["inference"], "project": "proj_missing"}, "/project"),
        ({"name": "x", "scopes": ["inference"], "expires_at": "tomorrow"}, "/expires_at"),
        ([1, 2], "/"),
    ],
)
def test_refuses_a_bad_key_and_says_where(client: Client, management: IssuedKey, data: Any, pointer: str):
    status, problem = ask(client, "POST", "/api/v1/keys", management.secret, data)

    assert (status, problem["code"]) == (422, "invalid_parameters")
    assert any(error["pointer"].startswith(pointer) for error in problem["errors"])
    assert ApiKey.objects.count() == 1


def test_refuses_an_expiry_in_the_past(client: Client, management: IssuedKey):
    data = {"name": "x", "scopes": ["inference"], "expires_at": "2020-01-01T00:00:00Z"}
    status, problem = ask(client, "POST", "/api/v1/keys", management.secret, data)

    assert (status, problem["code"]) == (409, "unable_to_issue_key")
    assert ApiKey.objects.count() == 1


def test_a_foreign_project_is_as_good_as_missing(client: Client, management: IssuedKey):
    foreign = make_project()
    answers = [
        ask(client, "POST", "/api/v1/keys", management.secret, {"name": "x", "scopes": ["inference"], "project": name})
        for name in (foreign.public_id, "proj_missing")
    ]

    for _, problem in answers:
        del problem["request_id"]
    assert answers[0] == answers[1]
    assert answers[0][0] == 422


def test_a_foreign_key_is_as_good_as_missing(client: Client, management: IssuedKey):
    foreign = make_key(make_project(), now=now()).api_key
    for method in ("GET", "DELETE"):
        answers = [
            ask(client, method, f"/api/v1/keys/{name}", management.secret)
            for name in (foreign.public_id, "key_missing")
        ]
        for _, problem in answers:
            del problem["request_id"]
        assert answers[0] == answers[1]
        assert answers[0][0] == 404

    foreign.refresh_from_db()
    assert foreign.revoked_at is None


def test_only_a_management_key_reaches_keys(client: Client, organization: Organization, management: IssuedKey):
    ordinary = make_key(organization.projects.get(), now=now())

    for method, path in [
        ("GET", "/api/v1/keys"),
        ("POST", "/api/v1/keys"),
        ("DELETE", f"/api/v1/keys/{management.api_key.public_id}"),
    ]:
        assert ask(client, method, path, ordinary.secret)[0] == 403
    management.api_key.refresh_from_db()
    assert management.api_key.revoked_at is None


def test_pages_through_projects_while_others_appear(client: Client, organization: Organization):
    secret = make_key(organization.projects.get(), now=now()).secret
    wanted = [project.public_id for project in organization.projects.all()]
    wanted += [make_project(organization).public_id for _ in range(4)]

    seen, cursor = [], ""
    while cursor is not None:
        after = f"&after={cursor}" if cursor else ""
        status, page = ask(client, "GET", f"/api/v1/projects?limit=2{after}", secret)
        assert status == 200
        assert page["has_more"] is (page["next_cursor"] is not None)
        seen += [project["id"] for project in page["data"]]
        cursor = page["next_cursor"]

    assert seen == wanted


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "limit=-1", "after=proj_missing", "after=%00"])
def test_refuses_a_bad_page(client: Client, organization: Organization, query: str):
    secret = make_key(organization.projects.get(), now=now()).secret

    status, problem = ask(client, "GET", f"/api/v1/projects?{query}", secret)

    assert (status, problem["errors"][0]["pointer"]) == (422, "/" + query.split("=", maxsplit=1)[0])


def test_a_foreign_cursor_is_no_cursor(client: Client, organization: Organization):
    secret = make_key(organization.projects.get(), now=now()).secret

    assert ask(client, "GET", f"/api/v1/projects?after={make_project().public_id}", secret)[0] == 422


def test_using_a_key_is_remembered(client: Client, organization: Organization):
    issued = make_key(organization.projects.get(), now=now())

    ask(client, "GET", "/api/v1/projects", issued.secret)

    issued.api_key.refresh_from_db()
    assert issued.api_key.last_used_at is not None
    assert now() - issued.api_key.last_used_at < timedelta(minutes=1)


def test_every_dead_key_gets_one_and_the_same_answer(client: Client, organization: Organization):
    project = organization.projects.get()
    revoked, expired = make_key(project, now=now()), make_key(project, now=now() - timedelta(days=91))
    revoke_key(api_key=revoked.api_key, now=now())

    bodies = []
    for secret in (revoked.secret, expired.secret, "nonsense", ""):
        status, body = ask(client, "GET", "/api/v1/projects", secret)
        assert status == 401
        del body["request_id"]
        bodies.append(body)
    assert all(body == bodies[0] for body in bodies)
