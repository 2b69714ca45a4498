"""The REST API of keys and projects."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from accounts.models import ApiKey, Organization, RetiredSecret, Scope
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


def ask(client: Client, method: str, path: str, secret: str, data: Any = None, **headers: str) -> tuple[int, Any]:
    answer = client.generic(
        method,
        path,
        data="" if data is None else json.dumps(data),
        content_type="application/json",
        headers={"Authorization": f"Bearer {secret}", **headers},
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
        ({"name": "x", "scopes": ["inference"], "allowed_models": ["a b"]}, "/allowed_models"),
        ({"name": "x", "scopes": ["inference"], "allowed_models": "demo-chat"}, "/allowed_models"),
        ({"name": "x", "scopes": ["inference"], "allowed_models": [f"m{n}" for n in range(101)]}, "/allowed_models"),
        ({"name": "x", "scopes": ["inference"], "allowed_addresses": ["10.0.0.0/33"]}, "/allowed_addresses"),
        ({"name": "x", "scopes": ["inference"], "allowed_addresses": [{}]}, "/allowed_addresses"),
        (
            {"name": "x", "scopes": ["inference"], "allowed_addresses": [f"10.0.{n}.0/24" for n in range(51)]},
            "/allowed_addresses",
        ),
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


def make_key_of(client: Client, management: IssuedKey, **fields: Any) -> Any:
    data = {"name": "ci", "scopes": ["inference"], **fields}
    status, made = ask(client, "POST", "/api/v1/keys", management.secret, data)
    assert status == 201, made
    return made


def test_limits_a_key_to_models_and_addresses(
    client: Client, management: IssuedKey, django_capture_on_commit_callbacks: Any
):
    made = make_key_of(client, management, allowed_models=["demo-chat"], allowed_addresses=["10.1.2.3/8", "::1"])
    assert made["key"]["allowed_models"] == ["demo-chat"]
    assert made["key"]["allowed_addresses"] == ["10.0.0.0/8", "::1/128"]

    # In both dialects of errors.
    status, problem = ask(client, "GET", "/api/v1/projects", made["secret"])
    assert (status, problem["code"], problem["title"]) == (403, "address_not_allowed", "Forbidden")
    status, lambda_error = ask(client, "GET", "/api/v1/instances", made["secret"])
    assert (status, lambda_error["error"]["code"]) == (403, "global/address-not-allowed")

    path = f"/api/v1/keys/{made['key']['id']}"
    status, changed = ask(client, "PATCH", path, management.secret, {"allowed_addresses": ["127.0.0.0/8"]})
    assert (status, changed["allowed_addresses"]) == (200, ["127.0.0.0/8"])
    assert (changed["name"], changed["allowed_models"]) == ("ci", ["demo-chat"])
    with django_capture_on_commit_callbacks(execute=True):
        assert ask(client, "GET", "/api/v1/projects", made["secret"], user_agent="deploy/7")[0] == 200
    status, seen = ask(client, "GET", path, management.secret)
    assert (seen["last_used_address"], seen["last_used_agent"]) == ("127.0.0.1", "deploy/7")


def test_a_key_that_manages_keys_cannot_widen_its_like(client: Client, management: IssuedKey):
    path = f"/api/v1/keys/{management.api_key.public_id}"

    assert ask(client, "PATCH", path, management.secret, {"allowed_addresses": []})[0] == 403


def test_rotates_a_key_once_however_often_it_is_asked(client: Client, management: IssuedKey):
    made = make_key_of(client, management)
    path = f"/api/v1/keys/{made['key']['id']}/rotate"

    answers = [
        ask(client, "POST", path, management.secret, {"overlap_seconds": 3600}, idempotency_key="rotate-1")
        for _ in range(2)
    ]

    status, rotated = answers[0]
    assert answers[1] == (status, rotated) == (201, rotated)
    assert rotated["key"]["id"] == made["key"]["id"]
    assert rotated["key"]["label"].endswith(rotated["secret"][-4:])
    until = datetime.fromisoformat(rotated["key"]["overlap_ends_at"])
    assert until.microsecond == 0
    assert timedelta(minutes=59) < until - now() <= timedelta(hours=1)
    for secret in (made["secret"], rotated["secret"]):
        assert ask(client, "GET", "/api/v1/projects", secret)[0] == 200
    assert RetiredSecret.objects.count() == 1


def test_rotates_at_once_when_nothing_else_is_said(client: Client, management: IssuedKey):
    made = make_key_of(client, management)

    status, rotated = ask(client, "POST", f"/api/v1/keys/{made['key']['id']}/rotate", management.secret)

    assert (status, rotated["key"]["overlap_ends_at"]) == (201, None)
    assert ask(client, "GET", "/api/v1/projects", made["secret"])[0] == 401
    assert ask(client, "GET", "/api/v1/projects", rotated["secret"])[0] == 200


def test_a_former_secret_makes_no_new_one_of_its_own_key(client: Client, management: IssuedKey):
    path = f"/api/v1/keys/{management.api_key.public_id}/rotate"
    status, rotated = ask(client, "POST", path, management.secret, {"overlap_seconds": 86_400})
    assert status == 201

    status, problem = ask(client, "POST", path, management.secret)

    assert (status, "replaced already" in problem["detail"]) == (403, True)
    assert ask(client, "GET", "/api/v1/keys", rotated["secret"])[0] == 200


@pytest.mark.parametrize("overlap", [1, -1, "a day", 86_401, None, [3600]])
def test_refuses_another_overlap(client: Client, management: IssuedKey, overlap: Any):
    made = make_key_of(client, management)
    path = f"/api/v1/keys/{made['key']['id']}/rotate"

    status, problem = ask(client, "POST", path, management.secret, {"overlap_seconds": overlap})

    assert (status, problem["errors"][0]["pointer"]) == (422, "/overlap_seconds")
    assert not RetiredSecret.objects.exists()


def test_a_revoked_key_is_not_rotated(client: Client, management: IssuedKey):
    made = make_key_of(client, management)
    ask(client, "DELETE", f"/api/v1/keys/{made['key']['id']}", management.secret)

    status, problem = ask(client, "POST", f"/api/v1/keys/{made['key']['id']}/rotate", management.secret)

    assert (status, problem["code"]) == (409, "unable_to_rotate_key")


def test_a_key_that_manages_keys_rotates_itself_and_no_other_of_its_kind(
    client: Client, organization: Organization, management: IssuedKey
):
    other = issue_key(
        project=organization.projects.get(),
        name="other",
        scopes=[Scope.KEYS_WRITE],
        created_by=None,
        now=now(),
        kind=KeyKind.MANAGEMENT,
    )

    assert ask(client, "POST", f"/api/v1/keys/{other.api_key.public_id}/rotate", management.secret)[0] == 403
    status, rotated = ask(client, "POST", f"/api/v1/keys/{management.api_key.public_id}/rotate", management.secret)
    assert status == 201
    assert ask(client, "GET", "/api/v1/keys", rotated["secret"])[0] == 200
    assert ask(client, "GET", "/api/v1/keys", management.secret)[0] == 401


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


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=", "limit=201", "limit=x", "limit=-1", "after=proj_missing", "after=%00"]
)
def test_refuses_a_bad_page(client: Client, organization: Organization, query: str):
    secret = make_key(organization.projects.get(), now=now()).secret

    status, problem = ask(client, "GET", f"/api/v1/projects?{query}", secret)

    assert (status, problem["errors"][0]["pointer"]) == (422, "/" + query.split("=", maxsplit=1)[0])


def test_a_foreign_cursor_is_no_cursor(client: Client, organization: Organization):
    secret = make_key(organization.projects.get(), now=now()).secret

    assert ask(client, "GET", f"/api/v1/projects?after={make_project().public_id}", secret)[0] == 422


def test_using_a_key_is_remembered(client: Client, organization: Organization, django_capture_on_commit_callbacks: Any):
    issued = make_key(organization.projects.get(), now=now())

    with django_capture_on_commit_callbacks(execute=True):
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
