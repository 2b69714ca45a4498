"""The REST API of service accounts."""

from typing import Any

import pytest
from django.test import Client

from accounts.models import ApiKey, Organization, Scope, ServiceAccount
from accounts.services.api_keys import IssuedKey, issue_key
from accounts.services.service_accounts import disable_service_account
from portal.lib.key_format import KeyKind
from tests.accounts.test_api import ask, now
from tests.factories.accounts import make_organization, make_project, make_service_account

pytestmark = pytest.mark.django_db

ACCOUNTS = "/api/v1/service-accounts"


@pytest.fixture
def organization() -> Organization:
    return make_organization()


@pytest.fixture
def secret(organization: Organization) -> str:
    made: IssuedKey = issue_key(
        project=organization.projects.get(),
        name="automation",
        scopes=[Scope.KEYS_WRITE],
        created_by=None,
        now=now(),
        kind=KeyKind.MANAGEMENT,
    )
    return made.secret


def test_an_accounts_life_from_its_first_key_to_its_end(client: Client, organization: Organization, secret: str):
    new = {"name": "nightly", "description": "trains", "scopes": ["inference", "usage:read"]}
    status, account = ask(client, "POST", ACCOUNTS, secret, new)
    assert status == 201
    assert account["project"] == organization.projects.get().public_id
    assert (account["scopes"], account["state"]) == (["inference", "usage:read"], "enabled")

    key = {"name": "first", "scopes": ["usage:read"], "service_account": account["id"]}
    status, made = ask(client, "POST", "/api/v1/keys", secret, key)
    assert (status, made["key"]["service_account"]) == (201, account["id"])
    assert ask(client, "GET", "/api/v1/projects", made["secret"])[0] == 200

    assert ask(client, "POST", f"{ACCOUNTS}/{account['id']}/disable", secret)[1]["state"] == "disabled"
    assert ask(client, "GET", "/api/v1/projects", made["secret"])[0] == 401
    assert ask(client, "GET", f"/api/v1/keys/{made['key']['id']}", secret)[1]["state"] == "disabled"

    assert ask(client, "POST", f"{ACCOUNTS}/{account['id']}/enable", secret)[1]["state"] == "enabled"
    assert ask(client, "GET", "/api/v1/projects", made["secret"])[0] == 200

    assert ask(client, "DELETE", f"{ACCOUNTS}/{account['id']}", secret)[1]["state"] == "deleted"
    assert ask(client, "GET", "/api/v1/projects", made["secret"])[0] == 401
    assert ask(client, "GET", f"{ACCOUNTS}/{account['id']}", secret)[0] == 404
    assert ask(client, "GET", ACCOUNTS, secret)[1]["data"] == []


def test_lists_accounts_page_by_page(client: Client, organization: Organization, secret: str):
    names = ["a", "b", "c"]
    for name in names:
        make_service_account(organization.projects.get(), name)

    first = ask(client, "GET", f"{ACCOUNTS}?limit=2", secret)[1]
    second = ask(client, "GET", f"{ACCOUNTS}?limit=2&after={first['next_cursor']}", secret)[1]

    assert [account["name"] for account in first["data"] + second["data"]] == names
    assert (first["has_more"], second["has_more"]) == (True, False)


@pytest.mark.parametrize(
    ("data", "pointer"),
    [
        ({}, "/name"),
        ({"name": "x", "scopes": []}, "/scopes"),
        ({"name": "x", "scopes": ["keys:write"]}, "/scopes"),
        ({"name": "x", "scopes": ["inference"], "project": "proj_missing"}, "/project"),
        ({"name": "x", "scopes": ["inference"], "description": "y" * 501}, "/description"),
    ],
)
def test_refuses_a_bad_account_and_says_where(client: Client, secret: str, data: Any, pointer: str):
    status, problem = ask(client, "POST", ACCOUNTS, secret, data)

    assert (status, problem["code"]) == (422, "invalid_parameters")
    assert [error["pointer"] for error in problem["errors"] if error["pointer"] == pointer]
    assert not ServiceAccount.objects.exists()


def test_a_foreign_account_is_as_good_as_missing_for_a_new_key(client: Client, secret: str):
    foreign = make_service_account(make_project())
    answers = [
        ask(client, "POST", "/api/v1/keys", secret, {"name": "x", "scopes": ["inference"], "service_account": name})
        for name in (foreign.public_id, "svc_missing")
    ]

    for _, problem in answers:
        del problem["request_id"]
    assert answers[0] == answers[1]
    assert answers[0][0] == 422
    assert ApiKey.objects.count() == 1


def test_a_key_of_an_account_in_another_project_is_refused(client: Client, organization: Organization, secret: str):
    account = make_service_account(make_project(organization, "Other"))
    data = {"name": "x", "scopes": ["inference"], "service_account": account.public_id}

    inherited = ask(client, "POST", "/api/v1/keys", secret, data)
    crossed = ask(client, "POST", "/api/v1/keys", secret, data | {"project": _first(organization)})

    assert (inherited[0], inherited[1]["key"]["project"]) == (201, account.project.public_id)
    assert (crossed[0], crossed[1]["code"]) == (409, "unable_to_issue_key")


def _first(organization: Organization) -> str:
    return organization.projects.in_order()[0].public_id


def test_only_a_person_wakes_an_account_that_manages_keys(client: Client, organization: Organization, secret: str):
    account = make_service_account(organization.projects.get(), scopes=(Scope.KEYS_WRITE,))
    disable_service_account(account=account, now=now())

    status, problem = ask(client, "POST", f"{ACCOUNTS}/{account.public_id}/enable", secret)

    assert (status, problem["code"]) == (403, "forbidden")
    assert ServiceAccount.objects.get().state is ServiceAccount.State.DISABLED
