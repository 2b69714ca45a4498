"""API keys: what is stored, what is refused."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection

from accounts.models import ApiKey, AuditEvent, KeyState, Scope
from accounts.services.api_keys import (
    KeyLimits,
    KeyUse,
    UnableToIssueKey,
    UnableToLimitKey,
    change_key,
    issue_key,
    revoke_key,
    touch_key,
    touch_keys,
)
from portal.lib.key_format import API_KEY_KINDS, KeyKind
from tests.factories.accounts import make_project

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.django_db
def test_stores_a_digest_and_never_the_secret():
    issued = issue_key(project=make_project(), name="ci", scopes=[Scope.INFERENCE], created_by=None, now=NOW)

    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(k)::text FROM accounts_apikey k")
        stored = cursor.fetchone()[0]

    assert issued.secret not in stored
    assert issued.secret[8:-4] not in stored
    assert issued.api_key.label == f"hr_live_…{issued.secret[-4:]}"


@pytest.mark.django_db
def test_refuses_a_management_key_that_calls_models():
    with pytest.raises(UnableToIssueKey, match="management key cannot call models"):
        issue_key(
            project=make_project(),
            name="ci",
            scopes=[Scope.INFERENCE],
            created_by=None,
            now=NOW,
            kind=KeyKind.MANAGEMENT,
        )

    assert not ApiKey.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("kind", sorted(set(KeyKind) - set(API_KEY_KINDS)))
def test_issues_no_key_of_a_kind_that_opens_nothing(kind):
    with pytest.raises(UnableToIssueKey, match="no keys of this kind"):
        issue_key(
            project=make_project(), name="ci", scopes=[Scope.INFERENCE], created_by=None, now=NOW, kind=KeyKind(kind)
        )

    assert not ApiKey.objects.exists()


@pytest.mark.django_db
def test_revokes_once():
    issued = issue_key(project=make_project(), name="ci", scopes=[Scope.INFERENCE], created_by=None, now=NOW)

    first = revoke_key(api_key=issued.api_key, now=NOW)
    second = revoke_key(api_key=issued.api_key, now=NOW.replace(hour=13))

    assert first.revoked_at == second.revoked_at == NOW
    assert not second.is_usable(NOW)


@pytest.mark.django_db
def test_refuses_a_live_key_that_manages_keys():
    with pytest.raises(UnableToIssueKey, match="Only a management key"):
        issue_key(project=make_project(), name="ci", scopes=[Scope.KEYS_WRITE], created_by=None, now=NOW)

    assert not ApiKey.objects.exists()


@pytest.mark.django_db
def test_remembers_the_last_use_to_the_minute(django_capture_on_commit_callbacks: Any):
    key = issue_key(project=make_project(), name="ci", scopes=[Scope.INFERENCE], created_by=None, now=NOW).api_key

    for seconds, expected in [(0, 0), (59, 0), (60, 60), (100, 60)]:
        use = KeyUse(f"203.0.113.{seconds}", f"program/{seconds} \0" + "x" * 300)
        with django_capture_on_commit_callbacks(execute=True):
            touch_key(api_key=key, use=use, now=NOW + timedelta(seconds=seconds))
        key.refresh_from_db()
        assert key.last_used_at == NOW + timedelta(seconds=expected)
        assert key.last_used_address == f"203.0.113.{expected}"
        assert key.last_used_agent == f"program/{expected} ".ljust(200, "x")


@pytest.mark.django_db
def test_remembers_the_last_use_of_many_keys_to_the_minute():
    keys = [
        issue_key(project=make_project(), name="ci", scopes=[Scope.INFERENCE], created_by=None, now=NOW).api_key
        for _ in range(3)
    ]
    touch_keys(uses={keys[0].pk: KeyUse("192.0.2.1", "a")}, now=NOW - timedelta(seconds=59))

    touch_keys(uses={key.pk: KeyUse("2001:db8::1", f"b{key.pk}") for key in keys[:2]}, now=NOW)

    found = []
    for key in keys:
        key.refresh_from_db()
        found.append((key.last_used_at, key.last_used_address, key.last_used_agent))
    assert found == [
        (NOW - timedelta(seconds=59), "192.0.2.1", "a"),
        (NOW, "2001:db8::1", f"b{keys[1].pk}"),
        (None, "", ""),
    ]


@pytest.mark.django_db
def test_tells_the_state_of_a_key():
    key = issue_key(project=make_project(), name="ci", scopes=[Scope.INFERENCE], created_by=None, now=NOW).api_key

    assert key.state(NOW) is KeyState.ACTIVE
    assert key.state(NOW + timedelta(days=90)) is KeyState.EXPIRED
    assert revoke_key(api_key=key, now=NOW).state(NOW + timedelta(days=90)) is KeyState.REVOKED


def newest_event() -> tuple[str, dict[str, list[object]]]:
    event = AuditEvent.objects.order_by("-sequence")[0]
    return event.action, json.loads(event.changes)


@pytest.mark.django_db
def test_keeps_limits_in_one_form_and_says_so_in_the_log():
    limits = KeyLimits([" demo-chat", "demo-chat", "meta/llama-3.3"], ["10.1.2.3/8", "::1"])

    key = issue_key(
        project=make_project(), name="ci", scopes=[Scope.INFERENCE], created_by=None, now=NOW, limits=limits
    ).api_key

    key.refresh_from_db()
    assert key.allowed_models == ["demo-chat", "meta/llama-3.3"]
    assert key.allowed_addresses == ["10.0.0.0/8", "::1/128"]
    action, changes = newest_event()
    assert action == "key.created"
    assert changes["allowed_models"] == [[], ["demo-chat", "meta/llama-3.3"]]
    assert changes["allowed_addresses"] == [[], ["10.0.0.0/8", "::1/128"]]


@pytest.mark.django_db
@pytest.mark.parametrize(
    "limits", [KeyLimits(["a b"]), KeyLimits([""]), KeyLimits(["m" * 121]), KeyLimits([], ["everywhere"])]
)
def test_refuses_limits_that_it_cannot_read(limits: KeyLimits):
    with pytest.raises(UnableToLimitKey):
        issue_key(project=make_project(), name="ci", scopes=[Scope.INFERENCE], created_by=None, now=NOW, limits=limits)

    assert not ApiKey.objects.exists()


@pytest.mark.django_db
def test_changes_a_key_once_and_writes_down_what_really_changed():
    key = issue_key(project=make_project(), name="ci", scopes=[Scope.INFERENCE], created_by=None, now=NOW).api_key
    later = NOW + timedelta(hours=1)

    changed = change_key(api_key=key, name=" ci  ", limits=KeyLimits(["demo-chat"]), now=later)

    assert (changed.name, changed.allowed_models, changed.changed_at) == ("ci", ["demo-chat"], later)
    assert newest_event() == ("key.changed", {"allowed_models": [[], ["demo-chat"]]})
    events = AuditEvent.objects.count()
    again = change_key(api_key=key, name="ci", limits=KeyLimits(["demo-chat"]), now=later + timedelta(hours=1))
    assert (again.changed_at, AuditEvent.objects.count()) == (later, events)
    with pytest.raises(UnableToIssueKey):
        change_key(api_key=key, name=" ", limits=KeyLimits(), now=later)
