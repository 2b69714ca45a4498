"""Rotating a key: the id stays, the secret is new, the former one ends at the second that was stated."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection

from accounts.access import InvalidApiKey, authenticate_key
from accounts.models import ApiKey, AuditEvent, Organization, Overlap, RetiredSecret
from accounts.services.api_keys import IssuedKey, revoke_key
from accounts.services.key_rotation import MAXIMUM_FORMER, UnableToRotateKey, rotate_key
from tests.factories.accounts import make_key, make_organization

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 22, 12, 30, 15, 123456, tzinfo=UTC)


@pytest.fixture
def organization() -> Organization:
    return make_organization()


@pytest.fixture
def issued(organization: Organization) -> IssuedKey:
    return make_key(organization.projects.get(), now=NOW)


def opens(secret: str, at: datetime) -> bool:
    with time_machine.travel(at, tick=False):
        try:
            authenticate_key(secret)
        except InvalidApiKey:
            return False
    return True


@pytest.mark.parametrize("overlap", [Overlap.HOUR, Overlap.DAY, Overlap.WEEK])
def test_both_secrets_work_until_the_stated_second(issued: IssuedKey, overlap: Overlap):
    rotated = rotate_key(api_key=issued.api_key, overlap=overlap, now=NOW)

    until = RetiredSecret.objects.get().valid_until
    assert until == NOW.replace(microsecond=0) + timedelta(seconds=overlap.value)
    assert rotated.api_key.public_id == issued.api_key.public_id
    assert rotated.api_key.expires_at == issued.api_key.expires_at
    assert rotated.secret != issued.secret
    assert rotated.api_key.label.endswith(rotated.secret[-4:])
    moment = timedelta(microseconds=1)
    assert [opens(issued.secret, at) for at in (NOW, until - moment, until, until + moment)] == [
        True,
        True,
        False,
        False,
    ]
    assert [opens(rotated.secret, at) for at in (NOW, until, until + moment)] == [True, True, True]


def test_without_overlap_every_former_secret_ends_at_once(issued: IssuedKey):
    second = rotate_key(api_key=issued.api_key, overlap=Overlap.WEEK, now=NOW)
    third = rotate_key(api_key=issued.api_key, overlap=Overlap.DAY, now=NOW)
    assert all(opens(one.secret, NOW) for one in (issued, second, third))

    fourth = rotate_key(api_key=issued.api_key, overlap=Overlap.NONE, now=NOW)

    assert [opens(one.secret, NOW) for one in (issued, second, third, fourth)] == [False, False, False, True]


def test_a_later_rotation_keeps_what_was_stated_before(issued: IssuedKey):
    second = rotate_key(api_key=issued.api_key, overlap=Overlap.WEEK, now=NOW)
    rotate_key(api_key=issued.api_key, overlap=Overlap.HOUR, now=NOW)

    in_two_hours = NOW + timedelta(hours=2)
    assert (opens(issued.secret, in_two_hours), opens(second.secret, in_two_hours)) == (True, False)


def test_revoking_ends_present_and_former_secrets(issued: IssuedKey):
    rotated = rotate_key(api_key=issued.api_key, overlap=Overlap.WEEK, now=NOW)

    revoke_key(api_key=issued.api_key, now=NOW)

    assert (opens(issued.secret, NOW), opens(rotated.secret, NOW)) == (False, False)


def test_a_former_secret_never_outlives_its_key(issued: IssuedKey):
    almost = NOW + timedelta(days=89)
    rotate_key(api_key=issued.api_key, overlap=Overlap.WEEK, now=almost)

    assert opens(issued.secret, almost)
    assert not opens(issued.secret, NOW + timedelta(days=90))


@pytest.mark.parametrize("end", ["revoked", "expired"])
def test_refuses_a_key_that_has_ended(issued: IssuedKey, end: str):
    now = NOW
    if end == "revoked":
        revoke_key(api_key=issued.api_key, now=NOW)
    else:
        now += timedelta(days=90)

    with pytest.raises(UnableToRotateKey):
        rotate_key(api_key=issued.api_key, overlap=Overlap.HOUR, now=now)
    assert not RetiredSecret.objects.exists()


def test_keeps_few_former_secrets(issued: IssuedKey):
    for _ in range(MAXIMUM_FORMER):
        rotate_key(api_key=issued.api_key, overlap=Overlap.WEEK, now=NOW)
    with pytest.raises(UnableToRotateKey, match="still work"):
        rotate_key(api_key=issued.api_key, overlap=Overlap.HOUR, now=NOW)

    rotate_key(api_key=issued.api_key, overlap=Overlap.NONE, now=NOW)
    assert not RetiredSecret.objects.filter(valid_until__gt=NOW).exists()

    rotate_key(api_key=issued.api_key, overlap=Overlap.HOUR, now=NOW + timedelta(days=2))
    assert RetiredSecret.objects.count() == 1


def test_writes_down_who_did_it_and_no_secret(organization: Organization, issued: IssuedKey):
    rotated = rotate_key(api_key=issued.api_key, overlap=Overlap.DAY, now=NOW)

    event = AuditEvent.objects.owned_by(organization).newest_first()[0]
    assert (event.action, event.target_id) == ("key.rotated", issued.api_key.public_id)
    assert json.loads(event.changes) == {
        "label": [issued.api_key.label, rotated.api_key.label],
        "overlap_ends_at": [None, "2026-11-23T12:30:15Z"],
    }
    with connection.cursor() as cursor:
        cursor.execute("SELECT string_agg(s::text, '') FROM accounts_retiredsecret s")
        stored = str(cursor.fetchone()[0])
        cursor.execute("SELECT string_agg(k::text, '') FROM accounts_apikey k")
        stored += str(cursor.fetchone()[0])
    for one in (issued, rotated):
        assert one.secret[8:-4] not in stored + event.changes


def test_a_former_secret_is_noted_as_a_use_of_the_key(issued: IssuedKey, django_capture_on_commit_callbacks: Any):
    rotate_key(api_key=issued.api_key, overlap=Overlap.DAY, now=NOW)

    with django_capture_on_commit_callbacks(execute=True):
        assert opens(issued.secret, NOW)

    assert ApiKey.objects.get().last_used_at == NOW
