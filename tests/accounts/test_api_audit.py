"""The audit log for programs: /api/v1/audit-events."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.chain import genesis
from accounts.models import AuditEvent, Organization, Role, Scope, User
from accounts.services.api_keys import IssuedKey, issue_key, revoke_key
from accounts.services.audit import record_event
from portal.lib.context import Actor
from portal.lib.key_format import KeyKind
from tests.accounts.test_api import ask
from tests.factories.accounts import make_key, make_membership, make_organization, make_user

pytestmark = pytest.mark.django_db

EVENTS = "/api/v1/audit-events"
NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def owner() -> User:
    return make_user("grace@example.com")


@pytest.fixture
def organization(owner: User) -> Organization:
    return make_organization(owner=owner)


@pytest.fixture
def reader(organization: Organization) -> IssuedKey:
    return make_key(organization.projects.get(), scopes=(Scope.AUDIT_READ,), now=NOW)


def write(
    organization: Organization, action: str, *, by: User | None = None, target: str = "", at: datetime = NOW
) -> None:
    record_event(
        action,
        organization_id=organization.pk,
        target=("project", target or "proj_1"),
        changes={"name": ("before", "after"), "scopes": (None, ["inference"])},
        actor=Actor("user", by.public_id, "session") if by else None,
        now=at,
    )


def listed(client: Client, reader: IssuedKey, query: str = "") -> list[dict[str, Any]]:
    status, page = ask(client, "GET", f"{EVENTS}?{query}", reader.secret)
    assert status == 200, page
    return list(page["data"])


def test_an_entry_says_who_did_what_to_what_from_where(
    client: Client, organization: Organization, reader: IssuedKey, owner: User
):
    write(organization, "project.renamed", by=owner)
    revoke_key(api_key=make_key(organization.projects.get(), now=NOW).api_key, now=NOW)

    [made, renamed, *_, revoked] = listed(client, reader)

    assert (made["sequence"], made["action"], made["target"]["name"]) == (1, "key.created", "test")
    assert made["previous"] == genesis(organization.public_id)
    assert renamed["actor"] == {"kind": "user", "id": owner.public_id, "name": "grace@example.com"}
    assert renamed["target"] == {"kind": "project", "id": "proj_1", "name": "proj_1"}
    assert renamed["changes"] == {"name": ["before", "after"], "scopes": [None, ["inference"]]}
    assert (renamed["at"], renamed["via"]) == (f"{NOW:%Y-%m-%dT%H:%M:%SZ}", "session")
    assert (revoked["action"], revoked["target"]["kind"]) == ("key.revoked", "key")
    assert renamed["previous"] == made["digest"]


def test_a_program_goes_on_where_it_stopped(client: Client, organization: Organization, reader: IssuedKey):
    for number in range(6):
        write(organization, f"project.renamed{number}")

    seen: list[int] = []
    query = "limit=3"
    while True:
        _, page = ask(client, "GET", f"{EVENTS}?{query}", reader.secret)
        seen += [event["sequence"] for event in page["data"]]
        if not page["has_more"]:
            break
        query = f"limit=3&after={page['next_cursor']}"
    write(organization, "project.renamed")

    assert seen == list(range(1, 8))
    assert [event["sequence"] for event in listed(client, reader, f"after={seen[-1]}")] == [8]


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("action=key", ["key.created"]),
        ("action=project", ["project.created", "project.renamed"]),
        ("action=project.renamed", ["project.renamed"]),
        ("action=project.rename", []),
        ("target=proj_2", ["project.renamed"]),
        ("actor=user_nobody", []),
        ("start={later}", ["project.renamed"]),
        ("end={later}", ["key.created", "project.created"]),
        ("start={now}&action=project", ["project.created", "project.renamed"]),
    ],
)
def test_narrows_by_action_actor_target_and_time(
    client: Client, organization: Organization, reader: IssuedKey, query: str, wanted: list[str]
):
    write(organization, "project.created")
    write(organization, "project.renamed", target="proj_2", at=NOW + timedelta(hours=1))

    times = {"now": f"{NOW:%Y-%m-%dT%H:%M:%SZ}", "later": f"{NOW + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"}
    assert [event["action"] for event in listed(client, reader, query.format(**times))] == wanted


def test_narrows_to_one_person(client: Client, organization: Organization, reader: IssuedKey, owner: User):
    write(organization, "project.created")
    write(organization, "project.renamed", by=owner)

    assert [event["action"] for event in listed(client, reader, f"actor={owner.public_id}")] == ["project.renamed"]


def test_what_others_do_is_as_good_as_missing(client: Client, organization: Organization, reader: IssuedKey):
    other = make_organization()
    write(other, "project.created", target="proj_theirs")

    assert {event["action"] for event in listed(client, reader)} == {"key.created"}
    assert listed(client, reader, "target=proj_theirs") == listed(client, reader, "target=proj_missing") == []


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("limit=0", "/limit"),
        ("limit=201", "/limit"),
        ("after=x", "/after"),
        ("after=-1", "/after"),
        (f"after={2**63}", "/after"),
        ("start=yesterday", "/start"),
        ("action=%00", "/action"),
        (f"actor={'x' * 33}", "/actor"),
    ],
)
def test_refuses_a_bad_question(client: Client, reader: IssuedKey, query: str, pointer: str):
    status, problem = ask(client, "GET", f"{EVENTS}?{query}", reader.secret)

    assert (status, [error["pointer"] for error in problem["errors"]]) == (422, [pointer])


def test_somebody_who_was_erased_goes_by_their_id(
    client: Client, organization: Organization, reader: IssuedKey, owner: User
):
    write(organization, "project.renamed", by=owner)
    User.objects.filter(pk=owner.pk).update(erased_at=NOW, is_active=False, last_login=None)

    [entry] = listed(client, reader, f"actor={owner.public_id}")

    assert entry["actor"]["name"] == owner.public_id
    assert "grace@example.com" not in str(entry)


def test_reading_leaves_no_entry(client: Client, organization: Organization, reader: IssuedKey):
    before = AuditEvent.objects.count()

    listed(client, reader)

    assert AuditEvent.objects.count() == before


# --- Who may give the scope ------------------------------------------------------------------------


def enter(client: Client, organization: Organization, role: Role) -> None:
    client.force_login(
        make_membership(organization, role=role).user, backend="allauth.account.auth_backends.AuthenticationBackend"
    )
    session = client.session
    session["signed_in_at"] = datetime.now(UTC).timestamp()
    session.save()


@pytest.mark.parametrize(("role", "status"), [(Role.OWNER, 200), (Role.ADMIN, 200), (Role.DEVELOPER, 422)])
def test_only_who_may_read_the_log_gives_a_key_the_right_to(
    client: Client, organization: Organization, role: Role, status: int
):
    enter(client, organization, role)
    project = organization.projects.get().public_id
    form = {"name": "siem", "project": project, "scopes": ["audit:read"], "expires_in": "30"}

    answer = client.post(reverse("accounts:key-create", args=[organization.slug]), form)

    assert answer.status_code == status
    assert organization.api_keys.exists() is (status == 200)


@pytest.mark.parametrize("name", ["key-rotate", "key-change"])
def test_a_developer_neither_sees_a_new_secret_of_such_a_key_nor_changes_it(
    client: Client, organization: Organization, reader: IssuedKey, name: str
):
    enter(client, organization, Role.DEVELOPER)
    address = reverse(f"accounts:{name}", args=[organization.slug, reader.api_key.public_id])

    assert client.get(address).status_code == 403
    assert client.post(address, {"overlap": "0", "name": "x"}).status_code == 403

    reader.api_key.refresh_from_db()
    assert (reader.api_key.last_four, reader.api_key.name) == (reader.secret[-4:], "test")


def test_a_developer_may_still_end_it(client: Client, organization: Organization, reader: IssuedKey):
    enter(client, organization, Role.DEVELOPER)

    client.post(reverse("accounts:key-revoke", args=[organization.slug, reader.api_key.public_id]))

    reader.api_key.refresh_from_db()
    assert reader.api_key.revoked_at is not None


def test_no_key_gives_it_and_none_gets_at_such_a_key(client: Client, organization: Organization, reader: IssuedKey):
    management = issue_key(
        project=organization.projects.get(),
        name="automation",
        scopes=[Scope.KEYS_WRITE],
        created_by=None,
        now=NOW,
        kind=KeyKind.MANAGEMENT,
    )
    path = f"/api/v1/keys/{reader.api_key.public_id}"

    assert ask(client, "POST", "/api/v1/keys", management.secret, {"name": "x", "scopes": ["audit:read"]})[0] == 422
    assert ask(client, "POST", f"{path}/rotate", management.secret)[0] == 403
    assert ask(client, "PATCH", path, management.secret, {"allowed_addresses": []})[0] == 403
    assert ask(client, "GET", EVENTS, management.secret)[0] == 403
