"""API keys: what is stored, what is refused."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from accounts.models import ApiKey, KeyState, Scope
from accounts.services.api_keys import UnableToIssueKey, issue_key, revoke_key, touch_key, touch_keys
from portal.lib.key_format import KeyKind
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
def test_remembers_the_last_use_to_the_minute():
    key = issue_key(project=make_project(), name="ci", scopes=[Scope.INFERENCE], created_by=None, now=NOW).api_key

    for seconds, expected in [(0, 0), (59, 0), (60, 60), (100, 60)]:
        touch_key(api_key=key, now=NOW + timedelta(seconds=seconds))
        key.refresh_from_db()
        assert key.last_used_at == NOW + timedelta(seconds=expected)


@pytest.mark.django_db
def test_remembers_the_last_use_of_many_keys_to_the_minute():
    keys = [
        issue_key(project=make_project(), name="ci", scopes=[Scope.INFERENCE], created_by=None, now=NOW).api_key
        for _ in range(3)
    ]
    touch_key(api_key=keys[0], now=NOW - timedelta(seconds=59))

    touch_keys(api_key_ids={key.pk for key in keys[:2]}, now=NOW)

    for key, expected in zip(keys, [NOW - timedelta(seconds=59), NOW, None], strict=True):
        key.refresh_from_db()
        assert key.last_used_at == expected


@pytest.mark.django_db
def test_tells_the_state_of_a_key():
    key = issue_key(project=make_project(), name="ci", scopes=[Scope.INFERENCE], created_by=None, now=NOW).api_key

    assert key.state(NOW) is KeyState.ACTIVE
    assert key.state(NOW + timedelta(days=90)) is KeyState.EXPIRED
    assert revoke_key(api_key=key, now=NOW).state(NOW + timedelta(days=90)) is KeyState.REVOKED
