"""The audit log: chained by the database, recomputed by anybody, and changed by nobody unseen."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import Error, connection, transaction

from accounts.chain import Link, flaws
from accounts.models import ApiKey, AuditEvent, AuditOrigin, Organization, Role, Scope, User
from accounts.selectors import heads, links
from accounts.services.api_keys import issue_key, revoke_key
from accounts.services.audit import changed, record_event
from accounts.services.audit_anchors import anchor_audit_logs, verify_audit_log
from accounts.services.organizations import change_organization, create_organization
from portal.lib.context import Actor, Origin, forget, remember_actor, remember_origin
from portal.lib.tenancy import _role, set_organization
from tests.factories.accounts import make_key, make_membership, make_organization, make_user
from tests.own_database import OwnDatabase

NOW = datetime(2026, 11, 22, 12, 30, 15, 123456, tzinfo=UTC)


@pytest.fixture(autouse=True)
def nobody():
    yield
    forget()


@pytest.fixture
def kept(settings, tmp_path):
    settings.AUDIT_ANCHOR_DIR = tmp_path / "audit"
    return settings.AUDIT_ANCHOR_DIR


def write(organization: Organization, count: int = 3) -> None:
    for number in range(count):
        record_event(
            "project.renamed",
            organization_id=organization.pk,
            target=("project", f"proj_{number}"),
            changes={"name": (f"Größe {number}", "=a:1,b")},
            now=NOW + timedelta(seconds=number),
        )


def tamper(sql: str, organization: Organization) -> None:
    """Rewrite the table as somebody would who owns the machine: past triggers and rights."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(sql, {"organization": organization.pk})
        cursor.execute("SET session_replication_role = origin")


def broken(organization: Organization) -> list[int]:
    return sorted({flaw.sequence for flaw in verify_audit_log(organization=organization, now=NOW).flaws})


@pytest.mark.django_db
def test_numbers_the_entries_of_each_organization_and_ties_them_together(kept):
    ours, theirs = make_organization(), make_organization()
    write(ours)
    write(theirs, 2)
    write(ours, 1)

    found = list(links(ours))

    assert [link.sequence for link in found] == [1, 2, 3, 4]
    assert [after.previous for after in found[1:]] == [before.digest for before in found[:-1]]
    assert flaws(ours.public_id, found, {}) == flaws(theirs.public_id, links(theirs), {}) == []
    # Somebody else's log does not pass for ours.
    assert flaws(theirs.public_id, found, {})


@pytest.mark.django_db
@pytest.mark.parametrize("column", ["action", "actor_id", "target_id", "changes", "origin_id", "request_id", "via"])
@pytest.mark.asvs("16.4.2")
def test_an_edited_entry_is_found(kept, column):
    organization = make_organization()
    write(organization)

    tamper(
        f"UPDATE accounts_auditevent SET {column} = 'x' WHERE organization_id = %(organization)s AND sequence = 2",
        organization,
    )

    assert broken(organization) == [2]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("sql", "where"),
    [
        ("DELETE FROM accounts_auditevent WHERE organization_id = %(organization)s AND sequence = 2", [2]),
        ("DELETE FROM accounts_auditevent WHERE organization_id = %(organization)s AND sequence = 1", [1]),
        (
            "UPDATE accounts_auditevent SET at = at + interval '1 microsecond'"
            " WHERE organization_id = %(organization)s AND sequence = 3",
            [3],
        ),
        (
            # An entry, forged and put at the end.
            "INSERT INTO accounts_auditevent (organization_id, sequence, at, actor_kind, actor_id, via,"
            " impersonator_id, action, target_kind, target_id, changes, origin_id, request_id, previous, digest)"
            " SELECT organization_id, 4, at, actor_kind, actor_id, via, impersonator_id,"
            " 'key.revoked', target_kind, target_id, changes, origin_id, request_id, digest, sha256(digest)"
            " FROM accounts_auditevent WHERE organization_id = %(organization)s AND sequence = 3",
            [4],
        ),
    ],
)
def test_a_deleted_moved_or_forged_entry_is_found(kept, sql, where):
    organization = make_organization()
    write(organization)

    tamper(sql, organization)

    assert broken(organization) == where


@pytest.mark.django_db
def test_swapped_entries_are_found(kept):
    organization = make_organization()
    write(organization)
    for before, after in ((1, 99), (2, 1), (99, 2)):
        tamper(
            f"UPDATE accounts_auditevent SET sequence = {after}"
            f" WHERE organization_id = %(organization)s AND sequence = {before}",
            organization,
        )

    assert broken(organization)[0] == 1


@pytest.mark.django_db
def test_a_log_that_was_cut_off_is_found_by_what_was_kept_elsewhere(kept):
    organization = make_organization()
    write(organization)
    anchor_audit_logs(now=NOW)
    write(organization, 1)

    assert broken(organization) == []
    tamper("DELETE FROM accounts_auditevent WHERE organization_id = %(organization)s AND sequence >= 3", organization)

    assert broken(organization) == [3]


@pytest.mark.django_db
def test_keeps_one_line_a_day_and_organization(kept):
    organizations = [make_organization(), make_organization()]
    for organization in organizations:
        write(organization)

    assert anchor_audit_logs(now=NOW) == len(heads()) == 2
    anchor_audit_logs(now=NOW + timedelta(days=1))

    files = sorted(kept.glob("*"))
    assert [file.name for file in files] == ["2026-11-22.jsonl", "2026-11-23.jsonl"]
    line = json.loads(files[0].read_text().splitlines()[0])
    assert (line["sequence"], line["at"]) == (3, "2026-11-22T12:30:15Z")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "statement",
    ["UPDATE accounts_auditevent SET action = 'x'", "DELETE FROM accounts_auditevent", "TRUNCATE accounts_auditevent"],
)
@pytest.mark.parametrize("role", ["headroom_app", "headroom_platform", "headroom_owner", "postgres"])
@pytest.mark.asvs("16.4.2")
def test_no_role_may_change_an_entry(statement, role):
    organization = make_organization()
    write(organization)
    with connection.cursor() as cursor:
        # A table with foreign keys still to check cannot be emptied anyway.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")

    with (
        _role(role),
        pytest.raises(Error, match=r"permission denied|append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)

    assert AuditEvent.objects.count() == 3


@pytest.mark.django_db
@pytest.mark.asvs("16.4.2")
def test_the_app_role_writes_and_reads_the_log_of_its_organization_alone():
    ours, theirs = make_organization(), make_organization()
    write(theirs)

    with _role("headroom_app"):
        set_organization(ours.pk)
        write(ours, 1)
        assert {event.organization_id for event in AuditEvent.objects.all()} == {ours.pk}
        with pytest.raises(Error, match="row-level security"), transaction.atomic():
            write(theirs, 1)


def test_writers_at_once_leave_no_gap(own_database: OwnDatabase):
    with own_database.in_use("postgres"):
        organization = make_organization()

        def append(number: int) -> None:
            for _ in range(5):
                write(organization, 1)

        assert own_database.in_threads(8, append) == [None] * 8
        assert [event.sequence for event in AuditEvent.objects.order_by("sequence")] == list(range(1, 41))
        assert flaws(organization.public_id, links(organization), {}) == []


@pytest.mark.django_db
@pytest.mark.asvs("16.2.1")
def test_names_the_actor_the_place_and_the_request():
    organization = make_organization()
    remember_actor(Actor("key", "key_1", "key"))
    for agent in ("curl/8", "curl/8", "python"):
        remember_origin(Origin("req_12345678", "192.0.2.7", agent))
        write(organization, 1)

    events = list(AuditEvent.objects.order_by("sequence"))
    origins = list(AuditOrigin.objects.order_by("pk").values_list("actor_id", "address", "browser"))

    assert {(event.actor_kind, event.actor_id, event.via, event.request_id) for event in events} == {
        ("key", "key_1", "key", "req_12345678")
    }
    assert events[0].origin_id == events[1].origin_id != events[2].origin_id
    assert origins == [("key_1", "192.0.2.7", "curl/8"), ("key_1", "192.0.2.7", "python")]
    # Forgetting the place leaves the chain whole.
    AuditOrigin.objects.all().delete()
    assert flaws(organization.public_id, links(organization), {}) == []


@pytest.mark.django_db
def test_work_that_nobody_asked_for_is_the_portals():
    write(make_organization(), 1)

    event = AuditEvent.objects.get()

    assert (event.actor_kind, event.actor_id, event.via, event.origin_id) == ("portal", "", "system", "")


@pytest.mark.django_db
def test_a_new_organization_begins_its_log_and_no_secret_is_in_it():
    owner = make_user()
    organization = create_organization(owner=owner, name="Acme", kind=Organization.Kind.STARTUP, now=NOW)
    issued = issue_key(
        project=organization.projects.get(), name="ci", scopes=[Scope.INFERENCE], created_by=owner, now=NOW
    )
    revoke_key(api_key=issued.api_key, now=NOW)
    revoke_key(api_key=issued.api_key, now=NOW)

    events = list(AuditEvent.objects.order_by("sequence"))

    assert [event.action for event in events] == ["organization.created", "key.created", "key.revoked"]
    assert {event.actor_id for event in events[:2]} == {owner.public_id}
    assert json.loads(events[1].changes)["scopes"] == [None, ["inference"]]
    assert issued.secret not in "".join(event.changes for event in events)
    assert bytes(ApiKey.objects.get().digest).hex() not in "".join(event.changes for event in events)


@pytest.mark.django_db
def test_says_from_what_to_what_and_only_what_changed():
    organization = make_organization("Acme")

    change_organization(organization=organization, name="Acme Two", kind=Organization.Kind(organization.kind), now=NOW)

    assert json.loads(AuditEvent.objects.get().changes) == {"name": ["Acme", "Acme Two"]}
    assert changed(a=(1, 1), b=(1, 2)) == {"b": (1, 2)}


@pytest.mark.django_db
def test_the_command_verifies_all_logs_and_fails_for_a_broken_one(kept, capsys):
    whole, rewritten = make_organization(), make_organization()
    write(whole)
    write(rewritten)
    anchor_audit_logs(now=datetime.now(UTC))
    call_command("verify_audit_log", organization=whole.slug)
    assert f"{whole.slug}: 3 entries, 0 flaws" in capsys.readouterr().out

    tamper(
        "UPDATE accounts_auditevent SET action = 'x' WHERE organization_id = %(organization)s AND sequence = 1",
        rewritten,
    )

    with pytest.raises(CommandError, match="1 audit logs are not as they were written"):
        call_command("verify_audit_log")
    assert "entry 1: its content is not what was written" in capsys.readouterr().out
    with pytest.raises(CommandError, match="no organization nowhere"):
        call_command("verify_audit_log", organization="nowhere")


def owner_of(organization: Organization) -> User:
    return organization.memberships.get(role=Role.OWNER).user


@pytest.mark.django_db
def test_the_page_says_who_did_what_and_can_be_narrowed(client):
    organization = make_organization(owner=make_user(email="ada@example.com"))
    owner = owner_of(organization)
    client.force_login(owner)
    address = f"/o/{organization.slug}/audit-log/"
    client.post(f"/o/{organization.slug}/projects/new/", {"name": "Night shift"})
    write(organization, 1)

    text = client.get(address).content.decode()
    mine = client.get(address, {"actor": owner.public_id})
    nothing = client.get(address, {"action": "instance"})
    wrong = client.get(address, {"before": "x"})

    assert "project.created" in text
    assert "ada@example.com" in text
    assert f'href="{address}?actor={owner.public_id}"' in text
    assert "name: Night shift" in text
    assert [row.action for row in mine.context["rows"]] == ["project.created"]
    assert mine.context["rows"][0].address == "127.0.0.1"
    assert [row.action for row in client.get(address, {"action": "project"}).context["rows"]] == [
        "project.renamed",
        "project.created",
    ]
    assert "No entry matches" in nothing.content.decode()
    assert wrong.status_code == 422


@pytest.mark.django_db
def test_the_page_goes_back_fifty_entries_at_a_time(client, django_assert_max_num_queries):
    organization = make_organization(owner=make_user())
    client.force_login(owner_of(organization))
    write(organization, 120)
    address = f"/o/{organization.slug}/audit-log/"

    seen: list[int] = []
    query = "?"
    while query:
        with django_assert_max_num_queries(23):
            page = client.get(address + query)
        seen += [row.sequence for row in page.context["rows"]]
        query = page.context["next_query"] and f"?{page.context['next_query']}"

    assert seen == list(range(120, 0, -1))


@pytest.mark.django_db
def test_the_export_is_enough_to_verify_the_log_elsewhere(client):
    organization = make_organization(owner=make_user())
    client.force_login(owner_of(organization))
    write(organization)

    lines = client.get(f"/o/{organization.slug}/audit-log/export.jsonl").getvalue().decode().splitlines()
    sheet = client.get(f"/o/{organization.slug}/audit-log/export.csv").getvalue().decode().splitlines()

    exported = [json.loads(line) for line in lines]
    again = [Link(**(entry | {"at": datetime.fromisoformat(entry["at"])})) for entry in exported]
    assert len(again) == 3
    assert flaws(organization.public_id, again, {}) == []
    assert len(sheet) == 4


@pytest.mark.django_db
def test_the_page_verifies_and_says_what_is_wrong(client, kept):
    organization = make_organization(owner=make_user())
    client.force_login(owner_of(organization))
    write(organization)
    address = f"/o/{organization.slug}/audit-log/verify/"

    assert "All 3 entries are as they were written." in client.get(address).content.decode()
    tamper(
        "UPDATE accounts_auditevent SET action = 'x' WHERE organization_id = %(organization)s AND sequence = 2",
        organization,
    )

    assert "Entry 2: its content is not what was written" in client.get(address).content.decode()


@pytest.mark.django_db
def test_a_key_acts_as_itself(client):
    organization = make_organization(owner=make_user())
    issued = make_key(organization.projects.get())
    make_membership(organization, make_user(), Role.VIEWER)

    client.post(
        "/api/v1/ssh-keys",
        {"name": "robot"},
        content_type="application/json",
        headers={"Authorization": f"Bearer {issued.secret}", "User-Agent": "terraform"},
    )

    event = AuditEvent.objects.get(action="ssh_key.added")
    assert (event.actor_kind, event.actor_id, event.via) == ("key", issued.api_key.public_id, "key")
    assert AuditOrigin.objects.get().browser == "terraform"
