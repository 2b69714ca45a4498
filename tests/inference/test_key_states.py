"""What a key gets in each of its states, at each kind of door: pages' API, instances' API, models' list, models."""

from datetime import UTC, datetime, timedelta

import httpx2 as httpx
import pytest
from django.conf import settings

from accounts.models import ApiKey, Overlap, Project, Scope, ServiceAccount
from accounts.services.api_keys import KeyLimits, change_key, issue_key, revoke_key
from accounts.services.closing import GRACE, close_due_organizations, request_deletion
from accounts.services.key_rotation import rotate_key
from accounts.services.service_accounts import (
    delete_service_account,
    disable_service_account,
    enable_service_account,
)
from billing.models import SpendCap
from portal.lib.key_format import KeyKind, digest_of, new_secret
from portal.lib.public_ids import new_proj_id
from tests.factories.accounts import make_key, make_organization, make_service_account
from tests.inference.conftest import ServedGateway

type Answer = tuple[int, str | None]

OK: Answer = (200, None)
# Door -> method and path, and how its errors say what is wrong.
DOORS = {
    "api": ("GET", "/api/v1/projects"),
    "instances": ("GET", "/api/v1/instances"),
    "models": ("GET", "/v1/models"),
    "chat": ("POST", "/v1/chat/completions"),
    "responses": ("POST", "/v1/responses"),
    "messages": ("POST", "/v1/messages"),
}
ASKING = ("chat", "responses", "messages")
HELLO = [{"role": "user", "content": "Hello there"}]
# As each of those that ask a model reads it.
BODY = {"model": "demo-chat", "messages": HELLO, "input": HELLO, "max_tokens": 5, "max_output_tokens": 5}


def everywhere(status: int, code: str, lambda_code: str) -> dict[str, Answer]:
    return {**dict.fromkeys(DOORS, (status, code)), "instances": (status, lambda_code)}


UNKNOWN = everywhere(401, "invalid_api_key", "global/invalid-api-key")
# State -> door -> what it answers.
EXPECTED: dict[str, dict[str, Answer]] = {
    "active": dict.fromkeys(DOORS, OK),
    "expired": UNKNOWN,
    "revoked": UNKNOWN,
    "rotated, in overlap": dict.fromkeys(DOORS, OK),
    "rotated, overlap over": UNKNOWN,
    "rotated without overlap": UNKNOWN,
    "rotated, then revoked": UNKNOWN,
    "new secret": dict.fromkeys(DOORS, OK),
    "from elsewhere": everywhere(403, "address_not_allowed", "global/address-not-allowed"),
    "expired and from elsewhere": UNKNOWN,
    "from one of its addresses": dict.fromkeys(DOORS, OK),
    "without the scope": {
        "api": OK,
        "instances": (403, "global/account-inactive"),
        "models": (403, "insufficient_scope"),
        **dict.fromkeys(ASKING, (403, "insufficient_scope")),
    },
    "for another model": {**dict.fromkeys(DOORS, OK), **dict.fromkeys(ASKING, (403, "model_not_allowed"))},
    "for this model": dict.fromkeys(DOORS, OK),
    "manages keys": {
        "api": OK,
        "instances": (403, "global/account-inactive"),
        "models": UNKNOWN["models"],
        **dict.fromkeys(ASKING, UNKNOWN["chat"]),
    },
    "its service account is disabled": UNKNOWN,
    "former, its service account is disabled": UNKNOWN,
    "its service account was enabled again": dict.fromkeys(DOORS, OK),
    "its service account is deleted": UNKNOWN,
    "its organization is closing": dict.fromkeys(DOORS, OK),
    "its organization is closed": UNKNOWN,
    "over budget": {**dict.fromkeys(DOORS, OK), **dict.fromkeys(ASKING, (402, "budget_exceeded"))},
    "never issued": UNKNOWN,
    "for tests": UNKNOWN,
    "malformed": UNKNOWN,
}


def secret_for_tests(project: Project, now: datetime) -> str:
    """Return a secret of the kind that is a name only, in a row as if it had been issued."""
    key = make_key(project, now=now).api_key
    secret = new_secret("hr", KeyKind.TEST)
    digest = digest_of(secret, settings.API_KEY_PEPPER)
    ApiKey.objects.filter(pk=key.pk).update(kind=ApiKey.Kind.TEST, digest=digest, prefix="hr_test_")
    return secret


def make_secrets(gateway: ServedGateway) -> dict[str, str]:  # one block for each state
    """Return a secret in each state."""
    now, project = datetime.now(UTC), gateway.project

    def limited(*, name: str, models: list[str] | None = None, addresses: list[str] | None = None) -> str:
        issued = make_key(project, now=now)
        change_key(api_key=issued.api_key, name=name, limits=KeyLimits(models or [], addresses or []), now=now)
        return issued.secret

    expired = make_key(project, now=now - timedelta(days=91))
    revoked = make_key(project, now=now)
    revoke_key(api_key=revoked.api_key, now=now)
    in_overlap = make_key(project, now=now)
    new = rotate_key(api_key=in_overlap.api_key, overlap=Overlap.HOUR, now=now)
    overlap_over = make_key(project, now=now - timedelta(days=1))
    rotate_key(api_key=overlap_over.api_key, overlap=Overlap.HOUR, now=now - timedelta(hours=2))
    no_overlap = make_key(project, now=now)
    rotate_key(api_key=no_overlap.api_key, overlap=Overlap.NONE, now=now)
    then_revoked = make_key(project, now=now)
    rotate_key(api_key=then_revoked.api_key, overlap=Overlap.HOUR, now=now)
    revoke_key(api_key=then_revoked.api_key, now=now)
    expired_elsewhere = make_key(project, now=now - timedelta(days=91))
    ApiKey.objects.filter(pk=expired_elsewhere.api_key.pk).update(allowed_addresses=["203.0.113.0/24"])
    manages = issue_key(
        project=project, name="m", scopes=[Scope.KEYS_WRITE], created_by=None, now=now, kind=KeyKind.MANAGEMENT
    )
    accounts = {name: make_service_account(project, name) for name in ("disabled", "enabled", "deleted")}
    owned = {name: make_key(project, now=now, service_account=account) for name, account in accounts.items()}
    rotated = rotate_key(api_key=owned["disabled"].api_key, overlap=Overlap.HOUR, now=now)
    for name in ("disabled", "enabled"):
        disable_service_account(account=accounts[name], now=now)
    enable_service_account(account=accounts["enabled"], now=now)
    delete_service_account(account=accounts["deleted"], now=now)
    of_closing, of_closed, of_poor = (make_organization() for _ in range(3))
    in_closing, in_closed, in_poor = (
        make_key(of.projects.get(), now=now).secret for of in (of_closing, of_closed, of_poor)
    )
    request_deletion(organization=of_closing, now=now)
    request_deletion(organization=of_closed, now=now - GRACE)
    close_due_organizations(now=now)
    SpendCap.objects.create(organization=of_poor, scope=SpendCap.Scope.ORGANIZATION, limit_nano=1_000, created_at=now)
    return {
        "its organization is closing": in_closing,
        "its organization is closed": in_closed,
        "over budget": in_poor,
        "for tests": secret_for_tests(project, now),
        "its service account is disabled": rotated.secret,
        "former, its service account is disabled": owned["disabled"].secret,
        "its service account was enabled again": owned["enabled"].secret,
        "its service account is deleted": owned["deleted"].secret,
        "active": make_key(project, now=now).secret,
        "expired": expired.secret,
        "revoked": revoked.secret,
        "rotated, in overlap": in_overlap.secret,
        "rotated, overlap over": overlap_over.secret,
        "rotated without overlap": no_overlap.secret,
        "rotated, then revoked": then_revoked.secret,
        "new secret": new.secret,
        "from elsewhere": limited(name="a", addresses=["203.0.113.0/24", "2001:db8::/32"]),
        "expired and from elsewhere": expired_elsewhere.secret,
        "from one of its addresses": limited(name="b", addresses=["203.0.113.0/24", "127.0.0.0/8", "::1"]),
        "without the scope": make_key(project, scopes=(Scope.USAGE_READ,), now=now).secret,
        "for another model": limited(name="c", models=["demo-embed", "not-sold-yet"]),
        "for this model": limited(name="d", models=["demo-chat"]),
        "manages keys": manages.secret,
        "never issued": new_secret("hr", KeyKind.LIVE),
        "malformed": "hr_live_" + "x" * 40,
    }


@pytest.mark.asvs("8.2.1")
def test_every_state_of_a_key_gets_its_answer_at_every_door(gateway: ServedGateway):
    secrets = make_secrets(gateway)
    gateway.start()

    def ask(client: httpx.Client, door: str, secret: str) -> Answer:
        method, path = DOORS[door]
        body = BODY if method == "POST" else None
        # Where it may stand in either header, the one that the other doors do not know.
        key = {"x-api-key": secret} if door == "messages" else {"authorization": f"Bearer {secret}"}
        answer = client.request(method, path, json=body, headers=key)
        said = answer.json() if answer.status_code != 200 else {}
        error = said.get("error", {})
        return answer.status_code, said.get("code") or error.get("code") or error.get("details", {}).get("error_code")

    with httpx.Client(base_url=gateway.url) as client:
        # Twice: from the database, then from the gateway's memory.
        for _ in range(2):
            found = {state: {door: ask(client, door, secret) for door in DOORS} for state, secret in secrets.items()}
            assert found == EXPECTED


def test_a_list_of_models_shows_what_the_key_may_call(gateway: ServedGateway):
    ApiKey.objects.update(allowed_models=["demo-embed", "not-sold-yet"])
    gateway.start()

    client = gateway.client()

    assert [model.id for model in client.models.list()] == ["demo-embed"]


@pytest.mark.asvs("8.2.2")
@pytest.mark.parametrize("path", ["keys", "service-accounts"])
def test_a_project_that_is_not_there_for_a_key_is_one_answer_and_no_change(gateway: ServedGateway, path: str):
    manages = issue_key(
        project=gateway.project,
        name="m",
        scopes=[Scope.KEYS_WRITE],
        created_by=None,
        now=datetime.now(UTC),
        kind=KeyKind.MANAGEMENT,
    )
    foreign, own = make_organization().projects.get().public_id, gateway.project.public_id
    not_there = [foreign, new_proj_id(), manages.api_key.public_id, own.upper(), gateway.project.slug, "-1", f"{2**63}"]
    gateway.start()

    def ask(project: str) -> tuple[int, str]:
        body = {"name": "n", "scopes": ["inference"], "project": project}
        headers = {"authorization": f"Bearer {manages.secret}"}
        answer = httpx.post(f"{gateway.url}/api/v1/{path}", json=body, headers=headers)
        return answer.status_code, "" if answer.status_code == 201 else str(answer.json()["errors"])

    def made() -> int:
        return ApiKey.objects.count() + ServiceAccount.objects.count()

    before = made()
    refused = {ask(project) for project in not_there}
    assert refused == {(422, "[{'pointer': '/project', 'detail': 'There is no such project.'}]")}
    assert made() == before
    assert ask(own) == (201, "")
    assert made() == before + 1
