"""People and organizations take along all that is theirs, and nothing of anybody else's."""

import io
import json
import time
import zipfile
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, Permission
from django.db import connection
from django.test import Client

from accounts.chain import Link, flaws
from accounts.models import AuditEvent, Organization, Role, User
from billing.services.usage import record_usage
from catalog.models import ServedModel
from compute.models import Instance
from inference.models import Receipt
from portal.lib.context import forget
from portal.lib.retention import LeftOut, Part, Table, Whose
from portal.lib.sessions import stored_key
from portal.lib.tenancy import _role, as_platform
from portal.retention import TABLES
from portal.selectors import exports
from tests.factories.accounts import make_membership, make_organization, make_user
from tests.factories.billing import make_record
from tests.factories.inference import make_receipt
from tests.filling import fill

NOW = datetime.now(UTC).replace(microsecond=0)
ORGANIZATIONS_TABLES = [table for table in TABLES if table.whose is Whose.ORGANIZATION]


@pytest.fixture(autouse=True)
def nobody():
    yield
    forget()


def signed_in(user: User, *, is_recent: bool = True) -> Client:
    client = Client(headers={"user-agent": "SweptBrowser/1"})
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    session = client.session
    session["signed_in_at"] = time.time() - (0 if is_recent else 3_600)
    session.save()
    return client


def archive_of(organization: Organization, client: Client) -> dict[str, str]:
    answer = client.post(f"/o/{organization.slug}/data/export/")
    assert answer.status_code == 200, answer
    assert answer["Content-Type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.getvalue())) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name).decode() for name in archive.namelist()}


def document_of(client: Client) -> dict[str, Any]:
    answer = client.post("/data/export/")
    assert answer.status_code == 200
    document: dict[str, Any] = json.loads(answer.getvalue())
    return document


def rows_of(table: Table, organization: Organization) -> int:
    column = "id" if table.name == "accounts_organization" else "organization_id"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table.name} WHERE {column} = %s", [organization.pk])
        return int(cursor.fetchone()[0])


def ids_of(organization: Organization, *left_out: str) -> set[str]:
    """Every public id of the organization's rows, but for those of some tables."""
    found = {organization.public_id, *organization.memberships.values_list("user__public_id", flat=True)}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name FROM information_schema.columns WHERE column_name = 'public_id' AND table_name IN"
            " (SELECT table_name FROM information_schema.columns WHERE column_name = 'organization_id')"
        )
        for (table,) in cursor.fetchall():
            if table in left_out:
                continue
            cursor.execute(f"SELECT public_id FROM {table} WHERE organization_id = %s", [organization.pk])
            found |= {public_id for (public_id,) in cursor.fetchall()}
    found |= set(Receipt.objects.owned_by(organization).values_list("request_id", flat=True))
    return found


@pytest.mark.django_db
def test_an_organization_takes_along_every_row_of_every_table_that_is_its_own():
    owner = make_user()
    organization = make_organization(owner=owner)
    fill(organization, owner, "ours")

    archive = archive_of(organization, signed_in(owner))

    for table in ORGANIZATIONS_TABLES:
        match table.of_organization:
            case Part(name=name):
                lines = archive[f"{name}.jsonl"].splitlines()
                assert len(lines) == rows_of(table, organization) > 0, table.name
                assert all(isinstance(json.loads(line), dict) for line in lines)
            case LeftOut(why=why):
                assert f"{table.holds}: {why}" in archive["README.txt"]
    assert len(archive) == 1 + sum(isinstance(table.of_organization, Part) for table in TABLES)


@pytest.mark.django_db
def test_an_organization_takes_along_nothing_of_another_and_no_secret():
    ours, theirs = make_organization("Ours"), make_organization("Theirs-canary")
    secrets = []
    for organization, word in ((ours, "our-word"), (theirs, "canary")):
        user = make_membership(organization, make_user(f"{word}@example.com")).user
        secrets += fill(organization, user, word)

    archive = archive_of(ours, signed_in(ours.memberships.get().user))

    whole = "\n".join(archive.values())
    assert "our-word@example.com" in whole
    assert "canary" not in whole.lower()
    assert not [public_id for public_id in ids_of(theirs) if public_id in whole]
    left_out = [table.name for table in ORGANIZATIONS_TABLES if isinstance(table.of_organization, LeftOut)]
    assert {public_id for public_id in ids_of(ours, *left_out) if public_id not in whole} == set()
    assert not [secret for secret in secrets if secret in whole]


@pytest.mark.django_db
def test_row_level_security_holds_while_the_archive_is_read():
    ours, theirs = make_organization("Ours"), make_organization("Theirs")
    for organization in (ours, theirs):
        fill(organization, make_membership(organization).user, organization.name)

    with _role("headroom_app"):
        for table in ORGANIZATIONS_TABLES:
            if isinstance(table.of_organization, Part) and table.name != "accounts_organization":
                part = Part("all", "true", table.of_organization.key)
                read = list(exports._rows(table.name, part, {}, ours))
                assert len(read) == rows_of_as_superuser(table, ours), table.name


def rows_of_as_superuser(table: Table, organization: Organization) -> int:
    with _role("postgres"):
        return rows_of(table, organization)


@pytest.mark.django_db
def test_the_audit_log_in_the_archive_can_be_verified_elsewhere():
    owner = make_user()
    organization = make_organization(owner=owner)
    fill(organization, owner, "ours")

    lines = archive_of(organization, signed_in(owner))["audit_log.jsonl"].splitlines()

    links = [Link(**(entry | {"at": datetime.fromisoformat(entry["at"])})) for entry in map(json.loads, lines)]
    assert links[-1].action == "organization.exported"
    assert flaws(organization.public_id, links, {}) == []


@pytest.mark.django_db
def test_a_long_table_is_read_in_batches_without_a_gap(monkeypatch):
    monkeypatch.setattr(exports, "BATCH", 3)
    owner = make_user()
    organization = make_organization(owner=owner)
    numbers = range(10)
    made = [make_receipt(organization, requested_at=NOW - timedelta(hours=number)).request_id for number in numbers]
    project = organization.projects.get()
    receipt = Receipt.objects.all()[0]
    sku = receipt.served_model.sku(ServedModel.TokenKind.INPUT)
    records = [make_record(project, sku=sku, occurred_at=NOW - timedelta(minutes=n // 2)) for n in numbers]
    record_usage(records, reservation_id=None, now=NOW)

    archive = archive_of(organization, signed_in(owner))

    receipts = [json.loads(line)["request_id"] for line in archive["receipts.jsonl"].splitlines()]
    events = [json.loads(line)["event_id"] for line in archive["usage_events.jsonl"].splitlines()]
    assert receipts == made
    assert sorted(events) == sorted(str(record.event_id) for record in records)


@pytest.mark.django_db
def test_taking_along_asks_for_a_recent_sign_in_and_is_written_down():
    owner = make_user()
    organization = make_organization(owner=owner)
    stale = signed_in(owner, is_recent=False)

    for address in (f"/o/{organization.slug}/data/export/", "/data/export/"):
        answer = stale.post(address)
        assert answer.status_code == 302
        assert answer["Location"].startswith("/confirm-it-is-you/")
    assert not AuditEvent.objects.exists()

    archive_of(organization, signed_in(owner))
    event = AuditEvent.objects.get()
    assert (event.action, event.actor_id) == ("organization.exported", owner.public_id)


@pytest.mark.django_db
@pytest.mark.parametrize("role", [role for role in Role if role != Role.OWNER])
def test_only_an_owner_takes_the_organization_along(role):
    organization = make_organization(owner=make_user())
    client = signed_in(make_membership(organization, role=role).user)

    assert client.post(f"/o/{organization.slug}/data/export/").status_code == 403


# --- A person ------------------------------------------------------------------------------------


def person(email: str) -> User:
    user = make_user(email)
    User.objects.filter(pk=user.pk).update(full_name=f"Name of {email}")
    EmailAddress.objects.create(user=user, email=email, primary=True, verified=True)
    data = {"name": f"phone of {email}", "credential": "CREDENTIAL"}
    Authenticator.objects.create(user=user, type=Authenticator.Type.WEBAUTHN, data=data)
    return user


@pytest.mark.django_db
def test_a_person_takes_along_what_is_about_them_in_every_organization():
    ada = person("ada@example.com")
    first, second, left = make_organization("First"), make_organization("Second"), make_organization("Left")
    for organization in (first, second, left):
        membership = make_membership(organization, ada)
        fill(organization, ada, organization.name.lower())
    membership.delete()
    client = signed_in(ada)
    client.get("/data/")

    document = document_of(client)

    parts = {table.of_person.name for table in TABLES if isinstance(table.of_person, Part)}
    assert parts | {"person", "exported_at", "not_in_here"} == set(document)
    assert document["person"] == ada.public_id
    assert document["profile"][0]["full_name"] == "Name of ada@example.com"
    assert [row["email"] for row in document["email_addresses"]] == ["ada@example.com"]
    assert {row["organization"] for row in document["memberships"]} == {"First", "Second"}
    assert [row["name"] for row in document["passkeys"]] == ["phone of ada@example.com"]
    assert [row["user_agent"] for row in document["sessions"]] == ["SweptBrowser/1"]
    for part in ("api_keys", "ssh_keys", "receipts", "instances", "usage_events", "usage_by_resource"):
        assert len(document[part]) == 3, part
    assert sorted(row["span_days"] for row in document["spend_by_cause"]) == [1, 1, 1, 7, 7, 7]
    actions = {row["action"] for row in document["audit_log"]}
    assert {"key.created", "ssh_key.added", "project.renamed"} <= actions
    assert {row["organization"] for row in document["audit_log"]} == {one.public_id for one in (first, second, left)}
    assert {row["browser"] for row in document["audit_origins"]} == {"Browser/first", "Browser/second", "Browser/left"}


@pytest.mark.django_db
def test_a_person_takes_along_nothing_of_another_member_and_no_secret():
    ada, eve = person("ada@example.com"), person("eve-canary@example.com")
    organization = make_organization("Shared")
    secrets = []
    for user, word in ((ada, "ada"), (eve, "canary")):
        make_membership(organization, user)
        secrets += fill(organization, user, word)
    client = signed_in(ada)
    client.get("/data/")
    eves = signed_in(eve)
    eves.get("/data/")

    whole = client.post("/data/export/").getvalue().decode()

    assert "ada@example.com" in whole
    assert "canary" not in whole
    assert eve.public_id not in whole
    cookies = [one.cookies[settings.SESSION_COOKIE_NAME].value for one in (client, eves)]
    rows = [stored_key(cookie) for cookie in cookies]
    assert not [secret for secret in [*secrets, *cookies, *rows, ada.password, "CREDENTIAL"] if secret in whole]


@pytest.mark.django_db
def test_every_part_holds_a_row_of_the_person_and_none_of_another():
    ada, zoe = person("ada@example.com"), person("zoe@example.com")
    organization = make_organization("Shared")
    documents = {}
    rights = Permission.objects.order_by("pk")
    for user, word, right in zip((ada, zoe), ("ada-word", "zoe-word"), rights, strict=False):
        make_membership(organization, user)
        fill(organization, user, word)
        SocialAccount.objects.create(user=user, provider="github", uid=word, extra_data={"login": word})
        user.user_permissions.add(right)
        user.groups.add(Group.objects.create(name=f"group {word}"))
        LogEntry.objects.create(user=user, object_id=word, object_repr=word, action_flag=1)
    for user in (ada, zoe):
        client = signed_in(user)
        client.get("/data/")
        documents[user] = document_of(client)

    parts = {table.of_person.name: table.name for table in TABLES if isinstance(table.of_person, Part)}
    for part, table in parts.items():
        rows, others = ({json.dumps(row, sort_keys=True) for row in documents[user][part]} for user in (ada, zoe))
        assert documents[ada][part], f"nothing of {table} is shown to be taken along"
        assert len(documents[ada][part]) == len(documents[zoe][part]), part
        assert not rows & others, f"{part} has a row of both"
        assert not [row for row in rows if "zoe" in row or zoe.public_id in row], part


@pytest.mark.django_db
def test_the_pages_say_what_is_in_it():
    owner = person("ada@example.com")
    organization = make_organization(owner=owner)
    client = signed_in(owner)

    mine = client.get("/data/").content.decode()
    ours = client.get(f"/o/{organization.slug}/data/").content.decode()

    assert "email_addresses" in mine
    assert "usage_events.jsonl" in ours
    assert "13 months" in ours


@pytest.mark.django_db
def test_a_table_that_names_a_thing_shows_its_public_id_and_no_internal_number():
    owner = make_user()
    organization = make_organization(owner=owner)
    fill(organization, owner, "ours")

    archive = archive_of(organization, signed_in(owner))

    event = json.loads(archive["usage_events.jsonl"].splitlines()[-1])
    instance = json.loads(archive["instances.jsonl"])
    assert event["project"] == organization.projects.get().public_id
    assert event["user"] == owner.public_id
    assert instance["region"] == Instance.objects.get().region.name
    for name, text in archive.items():
        if name.endswith(".jsonl"):
            for line in text.splitlines():
                numbers = {k for k, v in json.loads(line).items() if k.endswith("_id") and isinstance(v, int)}
                assert not numbers, name


def test_reading_as_the_platform_ends_with_the_batch(db):
    user = make_user()
    parts = exports.person_document(user, NOW)
    next(parts)
    next(parts)

    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        assert cursor.fetchone()[0] != "headroom_platform"
    with as_platform():
        list(parts)
