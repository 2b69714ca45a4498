"""Pages and services of where the audit log is sent."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import AuditEndpoint, AuditEvent, Organization, Overlap, Role
from accounts.services import audit_endpoints
from accounts.services.audit_endpoints import (
    MAXIMUM_ENDPOINTS,
    UnableToAddEndpoint,
    UnableToChangeEndpoint,
    add_endpoint,
    change_endpoint_address,
    pause_endpoint,
    remove_endpoint,
    request_test,
    resume_endpoint,
    rotate_endpoint_secret,
)
from tests.factories.accounts import make_audit_endpoint, make_membership, make_organization, make_user

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
URL = "https://log.example.com/audit?from=headroom"


@pytest.fixture
def organization() -> Organization:
    return make_organization()


def enter(client: Client, organization: Organization, role: Role = Role.ADMIN, *, is_recent: bool = True) -> Client:
    user = make_membership(organization, make_user(), role).user
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    session = client.session
    session["signed_in_at"] = (datetime.now(UTC) - timedelta(hours=0 if is_recent else 1)).timestamp()
    session.save()
    return client


def address(name: str, organization: Organization, endpoint: AuditEndpoint | None = None) -> str:
    args = [organization.slug, *([endpoint.public_id] if endpoint else [])]
    return reverse(f"accounts:audit-endpoint-{name}", args=args)


def entries(organization: Organization) -> list[tuple[str, Any]]:
    found = AuditEvent.objects.owned_by(organization).order_by("sequence")
    return [(event.action, json.loads(event.changes)) for event in found]


def add(organization: Organization, url: str = URL, *, from_start: bool = False) -> AuditEndpoint:
    return add_endpoint(organization=organization, url=url, from_start=from_start, now=NOW).endpoint


# --- Services --------------------------------------------------------------------------------------


def test_starts_with_its_own_entry_or_with_the_first(organization: Organization):
    assert add(organization, "https://one.example.com/").delivered_sequence == 0
    assert add(organization, "https://two.example.com/").delivered_sequence == 1
    assert add(organization, "https://three.example.com/", from_start=True).delivered_sequence == 0


def test_writes_down_the_host_alone_and_no_secret(organization: Organization):
    signed = add_endpoint(organization=organization, url=URL, from_start=False, now=NOW)
    rotated = rotate_endpoint_secret(endpoint=signed.endpoint, overlap=Overlap.DAY, now=NOW)
    change_endpoint_address(endpoint=signed.endpoint, url="https://new.example.com/private", now=NOW)
    request_test(endpoint=signed.endpoint, now=NOW)
    pause_endpoint(endpoint=signed.endpoint, now=NOW)
    resume_endpoint(endpoint=signed.endpoint, now=NOW)
    remove_endpoint(endpoint=signed.endpoint, now=NOW)

    assert entries(organization) == [
        ("audit_endpoint.added", {"host": [None, "log.example.com"], "from_start": [None, False]}),
        ("audit_endpoint.secret_rotated", {"overlap_ends_at": [None, "2026-11-26T12:00:00Z"]}),
        ("audit_endpoint.changed", {"host": ["log.example.com", "new.example.com"]}),
        ("audit_endpoint.tested", {}),
        ("audit_endpoint.paused", {"reason": [None, "asked"]}),
        ("audit_endpoint.resumed", {"reason": ["asked", None]}),
        ("audit_endpoint.removed", {"host": ["new.example.com", None]}),
    ]
    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(e::text, '') FROM accounts_auditevent e")
        stored = cursor.fetchone()[0]
    assert signed.secret not in stored
    assert rotated.secret not in stored


def test_repeating_changes_nothing_and_writes_nothing(organization: Organization):
    endpoint = add(organization)
    resume_endpoint(endpoint=endpoint, now=NOW)
    change_endpoint_address(endpoint=endpoint, url=URL, now=NOW)
    assert len(entries(organization)) == 1

    pause_endpoint(endpoint=endpoint, now=NOW)
    pause_endpoint(endpoint=endpoint, now=NOW + timedelta(hours=1))
    assert len(entries(organization)) == 2
    assert AuditEndpoint.objects.get().paused_at == NOW


@pytest.mark.parametrize("url", ["http://log.example.com/", "https://10.0.0.1/", "https://user:pass@log.example.com/"])
def test_refuses_an_address_that_we_do_not_go_to(organization: Organization, url: str):
    endpoint = add(organization)

    with pytest.raises(UnableToAddEndpoint, match=r"\.$"):
        add(organization, url)
    with pytest.raises(UnableToAddEndpoint, match=r"\.$"):
        change_endpoint_address(endpoint=endpoint, url=url, now=NOW)

    assert AuditEndpoint.objects.get().url == URL
    assert len(entries(organization)) == 1


def test_refuses_an_address_twice_and_too_many(organization: Organization):
    add(organization)
    other = add(organization, "https://other.example.com/")
    with pytest.raises(UnableToAddEndpoint, match="already"):
        add(organization)
    with pytest.raises(UnableToAddEndpoint, match="already"):
        change_endpoint_address(endpoint=other, url=URL, now=NOW)
    assert add(make_organization())

    for number in range(2, MAXIMUM_ENDPOINTS):
        add(organization, f"https://log{number}.example.com/")
    with pytest.raises(UnableToAddEndpoint, match="at the most"):
        add(organization, "https://one-more.example.com/")


def test_what_was_removed_cannot_be_changed(organization: Organization):
    endpoint = add(organization)
    remove_endpoint(endpoint=endpoint, now=NOW)

    for change in (
        lambda: remove_endpoint(endpoint=endpoint, now=NOW),
        lambda: pause_endpoint(endpoint=endpoint, now=NOW),
        lambda: resume_endpoint(endpoint=endpoint, now=NOW),
        lambda: request_test(endpoint=endpoint, now=NOW),
        lambda: rotate_endpoint_secret(endpoint=endpoint, overlap=Overlap.DAY, now=NOW),
        lambda: change_endpoint_address(endpoint=endpoint, url="https://new.example.com/", now=NOW),
    ):
        with pytest.raises(UnableToChangeEndpoint):
            change()


# --- Pages -----------------------------------------------------------------------------------------


def test_the_secret_is_on_one_answer_and_nowhere_after(client: Client, organization: Organization):
    enter(client, organization)
    answer = client.post(address("add", organization), {"url": URL})
    page = answer.content.decode()
    secret = next(word for word in page.replace("<", " ").replace(">", " ").split() if word.startswith("whsec_"))
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]

    endpoint = AuditEndpoint.objects.get()
    for path in (
        address("list", organization),
        *(address(name, organization, endpoint) for name in ("detail", "change", "rotate", "remove")),
    ):
        later = client.get(path)
        assert later.status_code == 200
        assert secret not in later.content.decode()
    assert secret not in str(dict(client.session))

    rotated = client.post(address("rotate", organization, endpoint), {"overlap": "3600"}).content.decode()
    assert "whsec_" in rotated
    assert secret not in rotated
    assert "signs too until" in client.get(address("detail", organization, endpoint)).content.decode()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://log.example.com/", "must start with https://"),
        ("https://169.254.169.254/", "not a public one"),
        ("https://internal/", "full name of a public host"),
        ("", "required"),
        ("x" * 501, "at most 500"),
    ],
)
def test_a_wrong_address_is_said_beside_the_field_and_changes_nothing(
    client: Client, organization: Organization, url: str, words: str
):
    enter(client, organization)

    answer = client.post(address("add", organization), {"url": url})

    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert not AuditEndpoint.objects.exists()


@pytest.mark.parametrize("role", [Role.DEVELOPER, Role.BILLING, Role.VIEWER])
def test_members_below_admin_neither_see_nor_change_them(client: Client, organization: Organization, role: Role):
    endpoint = make_audit_endpoint(organization)
    enter(client, organization, role)

    assert client.get(address("list", organization)).status_code == 403
    assert client.get(address("detail", organization, endpoint)).status_code == 403
    assert client.post(address("add", organization), {"url": URL}).status_code == 403
    assert client.post(address("pause", organization, endpoint)).status_code == 403


@pytest.mark.asvs("7.5.3")
@pytest.mark.parametrize("name", ["change", "rotate", "pause", "remove"])
def test_what_could_hide_something_asks_again_who_one_is(client: Client, organization: Organization, name: str):
    endpoint = make_audit_endpoint(organization)
    enter(client, organization, is_recent=False)

    answer = client.post(address(name, organization, endpoint), {"url": URL, "overlap": "0"})

    assert answer.status_code == 302
    assert "confirm-it-is-you" in answer["Location"] or "reauthenticate" in answer["Location"]
    after = AuditEndpoint.objects.get()
    assert (after.url, bytes(after.secret), after.paused_at) == (endpoint.url, bytes(endpoint.secret), None)


def test_a_member_tests_pauses_resumes_and_removes(client: Client, organization: Organization):
    endpoint = make_audit_endpoint(organization)
    enter(client, organization)
    detail = address("detail", organization, endpoint)

    answer = client.post(address("test", organization, endpoint), follow=True)
    assert "A test event is on its way" in answer.content.decode()
    answer = client.post(address("pause", organization, endpoint), follow=True)
    assert "The log keeps every entry" in answer.content.decode()
    assert client.post(address("resume", organization, endpoint)).headers["Location"] == detail
    assert client.get(detail).content.decode().count("entries behind") == 1
    assert "Remove this endpoint?" in client.get(address("remove", organization, endpoint)).content.decode()
    client.post(address("remove", organization, endpoint))
    assert client.get(detail).status_code == 404
    assert not AuditEndpoint.objects.exists()


def test_the_portals_pause_is_a_banner(client: Client, organization: Organization):
    endpoint = make_audit_endpoint(organization)
    paused = {"paused_at": NOW, "pause_reason": "failing", "failure_count": 20, "last_problem": "it answered 500"}
    AuditEndpoint.objects.filter(pk=endpoint.pk).update(**paused)
    enter(client, organization)

    page = client.get(address("detail", organization, endpoint)).content.decode()

    assert "We have paused it" in page
    assert "20 tries in a row failed, the last because it answered 500" in page


def test_removed_while_the_request_ran_is_missing(
    client: Client, organization: Organization, monkeypatch: pytest.MonkeyPatch
):
    endpoint = make_audit_endpoint(organization)
    enter(client, organization)
    locked = audit_endpoints._locked

    def lock_late(found: AuditEndpoint) -> AuditEndpoint:
        AuditEndpoint.objects.filter(pk=found.pk).delete()
        return locked(found)

    monkeypatch.setattr(audit_endpoints, "_locked", lock_late)

    assert client.post(address("pause", organization, endpoint)).status_code == 404


def test_the_list_takes_the_same_queries_for_many(client: Client, organization: Organization):
    enter(client, organization)
    path = address("list", organization)

    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            client.get(path)
        return len(captured)

    make_audit_endpoint(organization)
    client.get(path)  # The first page of a session notes it.
    few = queries()
    for _ in range(8):
        make_audit_endpoint(organization)

    assert queries() == few


def test_the_audit_log_leads_there_for_who_may(client: Client, organization: Organization):
    enter(client, organization)

    assert address("list", organization) in client.get(f"/o/{organization.slug}/audit-log/").content.decode()
