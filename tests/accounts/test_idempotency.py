"""Repeating a creating request: the same answer, nothing created twice, no secret readable."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from accounts.models import ApiKey, KeptAnswer, Organization, Scope
from accounts.services.api_keys import issue_key
from accounts.services.idempotency import forget_answers
from portal.lib.key_format import KeyKind
from tests.factories.accounts import make_organization
from tests.own_database import SUPERUSER, OwnDatabase

NOW = datetime.now(UTC)
BODY = {"name": "ci", "scopes": ["inference"]}


def management_key(organization: Organization) -> str:
    return issue_key(
        project=organization.projects.get(),
        name="automation",
        scopes=[Scope.KEYS_WRITE],
        created_by=None,
        now=NOW,
        kind=KeyKind.MANAGEMENT,
    ).secret


def create(client: Client, secret: str, key: str | None, body: dict[str, Any] = BODY) -> Any:
    headers = {"Authorization": f"Bearer {secret}"} | ({} if key is None else {"Idempotency-Key": key})
    return client.post("/api/v1/keys", json.dumps(body), content_type="application/json", headers=headers)


@pytest.mark.django_db
def test_a_repeated_request_gets_the_first_answer_and_creates_nothing(client: Client):
    secret = management_key(make_organization())

    first, second = create(client, secret, "k1"), create(client, secret, "k1")

    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert ApiKey.objects.filter(name="ci").count() == 1


@pytest.mark.django_db
@pytest.mark.asvs("11.4.2")
def test_a_kept_answer_is_readable_only_with_the_key_that_asked(client: Client):
    organization = make_organization()
    secret = management_key(organization)
    made = create(client, secret, "k1").json()["secret"]

    with connection.cursor() as cursor:
        cursor.execute("SELECT body FROM accounts_keptanswer")
        stored = bytes(cursor.fetchone()[0])
    assert made.encode() not in stored
    assert made[8:-6].encode() not in stored

    other = create(client, management_key(organization), "k1")
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_answer_sealed")
    assert ApiKey.objects.filter(name="ci").count() == 1


@pytest.mark.django_db
def test_another_body_is_refused(client: Client):
    secret = management_key(make_organization())
    create(client, secret, "k1")

    answer = create(client, secret, "k1", {**BODY, "name": "other"})

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")
    assert not ApiKey.objects.filter(name="other").exists()


@pytest.mark.django_db
def test_a_refusal_is_not_kept(client: Client):
    secret = management_key(make_organization())

    assert create(client, secret, "k1", {**BODY, "scopes": []}).status_code == 422
    assert not KeptAnswer.objects.exists()
    assert create(client, secret, "k1").status_code == 201


@pytest.mark.django_db
@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there", "ü"])
def test_an_unusable_key_is_refused(client: Client, key: str):
    secret = management_key(make_organization())

    answer = create(client, secret, key)

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_unusable")
    assert not ApiKey.objects.filter(name="ci").exists()


@pytest.mark.django_db
def test_two_organizations_may_use_one_key(client: Client):
    first = create(client, management_key(make_organization()), "k1")
    second = create(client, management_key(make_organization()), "k1")

    assert first.json()["key"]["id"] != second.json()["key"]["id"]


@pytest.mark.django_db
def test_after_a_day_the_key_is_new_again(client: Client):
    secret = management_key(make_organization())
    first = create(client, secret, "k1").json()
    KeptAnswer.objects.update(created_at=NOW - timedelta(hours=24, seconds=1))

    assert create(client, secret, "k1").json() != first
    assert ApiKey.objects.filter(name="ci").count() == 2


@pytest.mark.django_db
def test_answers_are_forgotten_after_a_day(client: Client):
    create(client, management_key(make_organization()), "k1")

    assert forget_answers(now=NOW + timedelta(hours=23)) == 0
    assert forget_answers(now=NOW + timedelta(hours=25)) == 1


def test_requests_at_the_same_time_create_once(own_database: OwnDatabase):
    with own_database.in_use(SUPERUSER):
        secret = management_key(make_organization())

    def ask(number: int) -> tuple[int, bytes]:
        answer = create(Client(), secret, "k1")
        return answer.status_code, answer.content

    with own_database.in_use():
        answers = own_database.in_threads(6, ask)

    assert len(set(answers)) == 1, answers
    assert answers[0][0] == 201  # type: ignore[index]  # not an exception, as the line before shows
    with own_database.connect(SUPERUSER) as admin:
        assert admin.execute("SELECT count(*) FROM accounts_apikey WHERE name = 'ci'").fetchone() == (1,)
