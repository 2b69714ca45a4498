import time_machine
from django.contrib.sessions.backends.signed_cookies import SessionStore

from portal.lib.one_time import put_secret, take_secret

SECRET = "hr_live_secret"


def test_a_secret_is_taken_once():
    session = SessionStore()
    put_secret(session, "starter_key", SECRET)

    assert take_secret(session, "starter_key") == SECRET
    assert take_secret(session, "starter_key") is None


def test_the_session_never_holds_it_in_the_clear():
    session = SessionStore()

    put_secret(session, "starter_key", SECRET)

    assert SECRET not in str(dict(session.items()))


def test_it_does_not_wait_for_ever():
    session = SessionStore()
    with time_machine.travel("2026-11-22T09:00:00Z", tick=False):
        put_secret(session, "starter_key", SECRET)

    with time_machine.travel("2026-11-22T09:16:00Z", tick=False):
        assert take_secret(session, "starter_key") is None


def test_what_another_key_wrote_is_nothing():
    session = SessionStore()
    session["one_time:starter_key"] = "not ours"

    assert take_secret(session, "starter_key") is None
