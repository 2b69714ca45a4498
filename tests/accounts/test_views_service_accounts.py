"""Pages of service accounts, and what the removal of a member says of the keys that stay."""

from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import ApiKey, Membership, Organization, Project, Role, Scope, ServiceAccount
from accounts.services.api_keys import issue_key
from accounts.services.service_accounts import disable_service_account
from tests.factories.accounts import (
    make_key,
    make_membership,
    make_organization,
    make_project,
    make_service_account,
    make_user,
)

pytestmark = pytest.mark.django_db

NOW = datetime.now(UTC)


@pytest.fixture
def organization() -> Organization:
    return make_organization(owner=make_user())


@pytest.fixture
def project(organization: Organization) -> Project:
    return organization.projects.get()


def enter(client: Client, organization: Organization, role: Role = Role.ADMIN, *, is_recent: bool = True) -> Membership:
    membership = make_membership(organization, make_user(), role)
    client.force_login(membership.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    session = client.session
    session["signed_in_at"] = datetime.now(UTC).timestamp() - (0 if is_recent else 3_600)
    session.save()
    return membership


def at(name: str, organization: Organization, *names: str) -> str:
    return reverse(f"accounts:{name}", args=[organization.slug, *names])


def page(client: Client, address: str) -> str:
    return client.get(address).content.decode()


def test_creates_an_account_and_leads_to_its_first_key(client: Client, organization: Organization, project: Project):
    enter(client, organization)
    data = {"name": "nightly", "project": project.public_id, "scopes": ["inference", "keys:write"], "description": "x"}

    answer = client.post(at("service-account-create", organization), data)

    account = ServiceAccount.objects.get()
    assert answer["Location"] == at("service-account-detail", organization, account.public_id)
    shown = page(client, answer["Location"])
    new_key = f"{at('key-create', organization)}?service_account={account.public_id}"
    assert new_key in shown
    form = page(client, new_key)
    assert f'<option value="{account.public_id}" selected>' in form

    made = {"name": "first", "project": project.public_id, "scopes": ["inference"], "expires_in": "30"}
    client.post(at("key-create", organization), made | {"service_account": account.public_id})

    key = ApiKey.objects.get()
    assert key.service_account == account
    assert at("service-account-detail", organization, account.public_id) in page(
        client, at("key-detail", organization, key.public_id)
    )
    assert "first" in page(client, answer["Location"])
    assert "nightly" in page(client, at("key-list", organization))


@pytest.mark.parametrize(
    "change", [{"name": ""}, {"name": "robots"}, {"scopes": []}, {"scopes": ["everything"]}, {"project": "proj_x"}]
)
def test_refuses_a_bad_form_and_makes_nothing(client: Client, project: Project, change: dict[str, str]):
    enter(client, project.organization)
    make_service_account(project)
    data = {"name": "nightly", "project": project.public_id, "scopes": ["inference"]} | change

    answer = client.post(at("service-account-create", project.organization), data)

    assert answer.status_code == 422
    assert ServiceAccount.objects.count() == 1


def test_refuses_a_foreign_project(client: Client, organization: Organization):
    enter(client, organization)
    foreign = make_project()

    data = {"name": "nightly", "project": foreign.public_id, "scopes": ["inference"]}
    answer = client.post(at("service-account-create", organization), data)

    assert answer.status_code == 422
    assert not ServiceAccount.objects.exists()


def test_disables_and_enables_and_says_so(client: Client, organization: Organization, project: Project):
    enter(client, organization)
    account = make_service_account(project)
    key = make_key(project, now=NOW, service_account=account).api_key
    detail = at("service-account-detail", organization, account.public_id)

    client.post(at("service-account-disable", organization, account.public_id))

    shown = page(client, detail)
    assert "refused until somebody enables it" in shown
    assert "New key" not in shown
    assert "Disabled" in page(client, at("key-detail", organization, key.public_id))

    client.post(at("service-account-enable", organization, account.public_id))

    assert "New key" in page(client, detail)


def test_a_deleted_account_is_as_good_as_missing_and_its_keys_still_name_it(client: Client, project: Project):
    organization = project.organization
    enter(client, organization)
    account = make_service_account(project)
    key = make_key(project, now=NOW, service_account=account).api_key

    client.post(at("service-account-delete", organization, account.public_id))

    assert client.get(at("service-account-detail", organization, account.public_id)).status_code == 404
    assert client.post(at("service-account-enable", organization, account.public_id)).status_code == 404
    assert "robots (deleted)" in page(client, at("key-detail", organization, key.public_id))
    assert "No service accounts yet" in page(client, at("service-account-list", organization))


@pytest.mark.parametrize("name", ["service-account-create", "service-account-enable"])
def test_giving_access_takes_a_recent_proof_of_who_one_is(client: Client, project: Project, name: str):
    enter(client, project.organization, is_recent=False)
    account = disable_service_account(account=make_service_account(project), now=NOW)
    names = [] if "create" in name else [account.public_id]

    data = {"name": "nightly", "project": project.public_id, "scopes": ["inference"]}
    answer = client.post(at(name, project.organization, *names), data)

    assert answer.status_code == 302
    assert answer["Location"] != at("service-account-detail", project.organization, account.public_id)
    assert ServiceAccount.objects.get().disabled_at == NOW


def test_a_developer_sees_accounts_and_gives_them_keys_but_makes_none(client: Client, project: Project):
    enter(client, project.organization, Role.DEVELOPER)
    account = make_service_account(project)

    shown = page(client, at("service-account-detail", project.organization, account.public_id))

    assert "New key" in shown
    assert "Disable" not in shown
    assert "New service account" not in page(client, at("service-account-list", project.organization))


def test_many_accounts_take_no_more_queries_than_one(client: Client, project: Project):
    enter(client, project.organization)
    address = at("service-account-list", project.organization)
    client.get(address)
    counts = []
    for numbers in (range(1), range(1, 60)):
        for number in numbers:
            make_key(project, now=NOW, service_account=make_service_account(project, f"robot {number}"))
        with CaptureQueriesContext(connection) as queries:
            shown = page(client, address)
        counts.append(len(queries))

    assert counts[0] == counts[1]
    assert "robot 49" in shown
    assert "robot 50" not in shown
    last = ServiceAccount.objects.get(name="robot 49")
    assert "robot 50" in page(client, f"{address}?after={last.public_id}")


def left_key(member: Membership, project: Project, scope: Scope = Scope.INFERENCE) -> ApiKey:
    return issue_key(project=project, name="left", scopes=[scope], created_by=member.user, now=NOW).api_key


def test_removing_a_member_names_the_keys_that_stay_and_hands_them_over(client: Client, project: Project):
    organization = project.organization
    enter(client, organization)
    leaver = make_membership(organization, role=Role.DEVELOPER)
    key, account = left_key(leaver, project), make_service_account(project)
    address = at("member-remove", organization, leaver.public_id)

    shown = page(client, address)
    assert at("key-detail", organization, key.public_id) in shown
    assert key.label in shown
    assert account.name in shown

    client.post(address, {f"heir_{project.public_id}": account.public_id})

    assert not Membership.objects.filter(pk=leaver.pk).exists()
    assert ApiKey.objects.get().service_account == account


def test_keys_stay_with_their_project_when_nobody_is_chosen(client: Client, project: Project):
    enter(client, project.organization)
    leaver = make_membership(project.organization, role=Role.DEVELOPER)
    left_key(leaver, project)
    make_service_account(project)

    client.post(at("member-remove", project.organization, leaver.public_id))

    assert not Membership.objects.filter(pk=leaver.pk).exists()
    assert ApiKey.objects.get().service_account is None
    assert ApiKey.objects.get().is_usable(NOW)


def test_an_heir_that_may_less_is_refused_and_nobody_is_removed(client: Client, project: Project):
    enter(client, project.organization)
    leaver = make_membership(project.organization, role=Role.DEVELOPER)
    left_key(leaver, project)
    account = make_service_account(project, scopes=(Scope.USAGE_READ,))

    answer = client.post(
        at("member-remove", project.organization, leaver.public_id), {f"heir_{project.public_id}": account.public_id}
    )

    assert answer.status_code == 422
    assert "may do what the service account robots may not" in answer.content.decode()
    assert Membership.objects.filter(pk=leaver.pk).exists()


def test_a_foreign_heir_is_refused(client: Client, project: Project):
    enter(client, project.organization)
    leaver = make_membership(project.organization, role=Role.DEVELOPER)
    left_key(leaver, project)
    make_service_account(project)
    foreign = make_service_account(make_project())

    answer = client.post(
        at("member-remove", project.organization, leaver.public_id), {f"heir_{project.public_id}": foreign.public_id}
    )

    assert answer.status_code == 422
    assert Membership.objects.filter(pk=leaver.pk).exists()
