"""When a session was last seen: noted once a minute, and at once when it comes from somewhere else."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from allauth.usersessions.models import UserSession
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.factories.accounts import make_user

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def client(client):
    with time_machine.travel(NOW, tick=False):
        client.force_login(make_user())
        client.get("/")
        yield client


def ask(client, after: timedelta, **headers: str) -> int:
    """Ask for a page so long after the first one; return how many statements were about the list of sessions."""
    with time_machine.travel(NOW + after, tick=False), CaptureQueriesContext(connection) as captured:
        assert client.get("/", headers=headers).status_code == 200
    return sum("usersessions_usersession" in query["sql"] for query in captured)


def test_a_minute_costs_one_note_and_the_next_minute_another(client):
    assert UserSession.objects.get().last_seen_at == NOW

    assert ask(client, timedelta(seconds=59)) == 0
    assert UserSession.objects.get().last_seen_at == NOW

    assert ask(client, timedelta(seconds=60)) > 0
    assert UserSession.objects.get().last_seen_at == NOW + timedelta(seconds=60)
    assert ask(client, timedelta(seconds=61)) == 0


def test_another_browser_or_address_is_noted_at_once(client):
    assert ask(client, timedelta(seconds=1), **{"user-agent": "Lynx"}) > 0
    assert UserSession.objects.get().user_agent == "Lynx"

    client.defaults["REMOTE_ADDR"] = "192.0.2.7"
    assert ask(client, timedelta(seconds=2), **{"user-agent": "Lynx"}) > 0
    assert UserSession.objects.get().ip == "192.0.2.7"


def test_visitors_are_noted_nowhere(client):
    client.logout()
    assert ask(client, timedelta(seconds=90)) == 0
