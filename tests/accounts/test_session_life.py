"""When a session ends by itself, and which others end with a change of how somebody signs in (N11), clock moved."""

import os
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, generate_totp_secret, hotp_value
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.sessions.exceptions import SessionInterrupted
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from accounts.models import User
from accounts.services.sessions import end_other_sessions, rename_session
from portal.checks import portal_settings
from portal.lib.sessions import BEGAN, SessionStore, stored_key
from tests.accounts.test_passkeys import creation_options, enroll, options_on
from tests.accounts.test_sessions import SESSION, is_signed_in, sign_in, with_session
from tests.browser import session_of
from tests.own_database import SUPERUSER, OwnDatabase
from tests.soft_key import SoftKey
from tests.visits import PASSWORD, make_person, signed_in
from tests.world import NOW

IDLE = timedelta(seconds=settings.SESSION_IDLE_SECONDS)
LONGEST = timedelta(seconds=settings.SESSION_COOKIE_AGE)
SECOND = timedelta(seconds=1)
ROUNDS = 50 if os.environ.get("PROVE") else 10
db = pytest.mark.django_db


@pytest.fixture
def clock() -> Iterator[Any]:
    with time_machine.travel(NOW, tick=False) as moved:
        yield moved


# --- By itself -----------------------------------------------------------------------------------


@db
@pytest.mark.asvs("7.3.1")
def test_a_session_that_nobody_uses_ends_after_a_week(clock: Any):
    key, other = sign_in(Client(), make_person()), sign_in(Client(), make_person())

    clock.shift(IDLE - SECOND)
    assert is_signed_in(with_session(key))
    clock.shift(SECOND)

    assert not is_signed_in(with_session(other))
    assert is_signed_in(with_session(key)), "that one was used"


@db
@pytest.mark.asvs("7.3.2")
def test_a_session_that_is_used_every_day_ends_two_weeks_after_the_sign_in(clock: Any):
    client = Client()
    key = sign_in(client, make_person())

    for _ in range(LONGEST.days - 1):
        clock.shift(timedelta(days=1))
        assert is_signed_in(client)
    clock.shift(timedelta(days=1) - SECOND)
    assert is_signed_in(client)
    clock.shift(SECOND)

    # Whatever the browser says, which has forgotten it by now.
    assert not is_signed_in(with_session(key))
    assert not Session.objects.filter(expire_date__gt=datetime.now(UTC)).exists()


@db
@pytest.mark.asvs("7.3.2")
def test_neither_a_proof_nor_a_change_of_what_is_in_it_begins_a_session_anew(clock: Any):
    client = Client()
    sign_in(client, make_person())
    clock.shift(IDLE - SECOND)

    client.post(reverse("account_reauthenticate"), {"password": PASSWORD})
    clock.shift(IDLE - SECOND)
    session = client.session
    session["seen"] = True
    session.save()
    assert is_signed_in(client)
    key = client.cookies[SESSION].value
    clock.shift(2 * SECOND)

    assert not is_signed_in(with_session(key))


@db
def test_the_browser_is_told_to_forget_a_session_when_it_ends(clock: Any):
    client = Client()
    sign_in(client, make_person())
    assert client.cookies[SESSION]["max-age"] == LONGEST.total_seconds()

    clock.shift(timedelta(days=3))
    client.post(reverse("account_reauthenticate"), {"password": PASSWORD})

    assert client.cookies[SESSION]["max-age"] == (LONGEST - timedelta(days=3)).total_seconds()


@db
def test_whoever_signs_in_gets_all_the_time_there_is_in_a_session_that_a_visitor_had(clock: Any):
    client, user = Client(), make_person()
    client.post(reverse("account_request_login_code"), {"email": user.email})
    clock.shift(timedelta(minutes=9))
    [code] = re.findall(r"\b\d{6}\b", str(mail.outbox[-1].body))
    client.post(reverse("account_confirm_login_code"), {"code": code})

    assert client.session[BEGAN] == {"user": str(user.pk), "at": time.time()}


@db
def test_a_session_from_before_sessions_ended_gets_an_end_with_its_next_use(clock: Any):
    client = Client()
    key = sign_in(client, make_person())
    session = client.session
    del session[BEGAN]
    Session.objects.filter(pk=stored_key(key)).update(session_data=session.encode(dict(session.items())))
    assert BEGAN not in client.session
    clock.shift(timedelta(minutes=1))

    assert is_signed_in(client)

    assert client.session[BEGAN]["at"] == time.time()


@db
def test_use_is_written_down_once_a_minute_and_brings_nothing_back(clock: Any):
    client = Client()
    key = sign_in(client, make_person())
    clock.shift(timedelta(seconds=59))
    is_signed_in(client)
    assert Session.objects.get().expire_date == NOW + IDLE
    clock.shift(SECOND)
    is_signed_in(client)
    assert Session.objects.get().expire_date == NOW + IDLE + timedelta(minutes=1)

    used = SessionStore(key)
    assert used.get(BEGAN)
    Session.objects.all().delete()
    used.note_use()
    assert not Session.objects.exists()


def test_a_time_that_would_end_sessions_in_use_is_refused(settings: Any):
    settings.SESSION_IDLE_SECONDS = 60

    assert "portal.E005" in [message.id for message in portal_settings(None)]


# --- With every proof ----------------------------------------------------------------------------


def code_of(seed: str) -> str:
    return str(format_hotp_value(hotp_value(seed, int(time.time()) // 30)))


PROOFS: dict[str, Callable[[Client, SoftKey, str], dict[str, str]]] = {
    "mfa_reauthenticate": lambda client, key, seed: {"code": code_of(seed)},
    "mfa_reauthenticate_webauthn": lambda client, key, seed: {
        "credential": key.sign(options_on(client, "mfa_reauthenticate_webauthn"))
    },
}


@db
@pytest.mark.parametrize("page", PROOFS)
@pytest.mark.asvs("7.2.4")
def test_a_proof_by_an_app_or_a_passkey_gives_a_new_session_and_ends_the_former(page: str, settings: Any):
    settings.MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = True
    user, key, seed = make_person(), SoftKey(), generate_totp_secret()
    enroll(user, key)
    TOTP.activate(user, seed)
    client = signed_in(user)
    before = client.cookies[SESSION].value

    client.post(reverse(page), PROOFS[page](client, key, seed))

    assert client.cookies[SESSION].value != before
    assert is_signed_in(client)
    assert not is_signed_in(with_session(before))


@db
def test_a_renamed_session_is_the_same_one_in_the_list():
    client, user = Client(), make_person()
    sign_in(client, user)
    [before] = UserSession.objects.all()

    client.post(reverse("account_reauthenticate"), {"password": PASSWORD})

    [after] = UserSession.objects.all()
    assert (after.pk, after.created_at) == (before.pk, before.created_at)
    assert after.session_key == client.session.session_key != before.session_key


# --- With a change of how somebody signs in ------------------------------------------------------


def add_app(client: Client, user: User) -> Any:
    client.get(reverse("mfa_activate_totp"))
    return client.post(reverse("mfa_activate_totp"), {"code": code_of(client.session["mfa.totp.secret"])})


def remove_app(client: Client, user: User) -> Any:
    TOTP.activate(user, generate_totp_secret())
    return client.post(reverse("mfa_deactivate_totp"))


def add_passkey(client: Client, user: User) -> Any:
    credential = SoftKey().register(creation_options(client))
    return client.post(reverse("mfa_add_webauthn"), {"name": "laptop", "credential": credential})


def remove_passkey(client: Client, user: User) -> Any:
    enroll(user, SoftKey())
    added = Authenticator.objects.get(user=user, type=Authenticator.Type.WEBAUTHN)
    return client.post(reverse("mfa_remove_webauthn", args=[added.pk]))


def new_codes(client: Client, user: User) -> Any:
    TOTP.activate(user, generate_totp_secret())
    RecoveryCodes.activate(user)
    return client.post(reverse("mfa_generate_recovery_codes"))


def new_password(client: Client, user: User) -> Any:
    form = {"oldpassword": PASSWORD, "password1": "another long password", "password2": "another long password"}
    return client.post(reverse("account_change_password"), form)


def assert_ends_the_other_sessions(change: Callable[[Client, User], Any]) -> None:
    user, other = make_person(), make_person()
    here, proved, elsewhere, of_other = signed_in(user), Client(), Client(), Client()
    sign_in(elsewhere, user)
    sign_in(of_other, other)
    sign_in(proved, user)
    # A session that got another name and was not seen since.
    proved.post(reverse("account_reauthenticate"), {"password": PASSWORD})

    assert change(here, user).status_code == 302

    assert is_signed_in(here)
    assert is_signed_in(of_other)
    assert not is_signed_in(elsewhere)
    assert not is_signed_in(proved)


@db
@pytest.mark.parametrize(
    "change", [remove_app, add_passkey, remove_passkey, new_password], ids=lambda change: change.__name__
)
@pytest.mark.asvs("7.4.3")
def test_a_change_of_how_somebody_signs_in_ends_their_other_sessions(
    change: Callable[[Client, User], Any], settings: Any
):
    settings.MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = True

    assert_ends_the_other_sessions(change)


@pytest.mark.asvs("7.4.3")
def test_so_does_a_change_that_speaks_of_itself_once_it_is_committed(own_database: OwnDatabase):
    with own_database.in_use(SUPERUSER):
        for change in (add_app, new_codes):
            assert_ends_the_other_sessions(change)


@db
def test_looking_at_ones_codes_or_naming_a_passkey_ends_nothing(settings: Any):
    settings.MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = True
    user, elsewhere = make_person(), Client()
    enroll(user, SoftKey())
    passkey = Authenticator.objects.get(user=user, type=Authenticator.Type.WEBAUTHN)
    elsewhere.cookies[SESSION] = session_of(user)
    here = signed_in(user)

    assert here.get(reverse("mfa_view_recovery_codes")).status_code == 200
    assert here.post(reverse("mfa_edit_webauthn", args=[passkey.pk]), {"name": "desk"}).status_code == 302

    assert is_signed_in(elsewhere)


@pytest.mark.asvs("7.4.3")
def test_a_session_that_is_being_renamed_is_not_left_behind(own_database: OwnDatabase):
    with own_database.in_use(SUPERUSER):
        user = make_person()
        here = SessionStore(sign_in(Client(), user))
    for _ in range(ROUNDS):
        cache.clear()  # Sign-ins of one address are limited.
        with own_database.in_use(SUPERUSER):
            there = SessionStore(sign_in(Client(), user))
            assert there.get(BEGAN), "as a request has read it by then"

        def rename_or_end(number: int, there: SessionStore = there) -> None:
            if number:
                rename_session(user=user, session=there)
            else:
                end_other_sessions(user=user, session=here)

        with own_database.in_use():
            done = own_database.in_threads(2, rename_or_end)

        assert [result for result in done if result is not None and not isinstance(result, SessionInterrupted)] == []
        with own_database.in_use(SUPERUSER):
            assert [row.session_key for row in UserSession.objects.all()] == [here.session_key]
            assert [row.session_key for row in Session.objects.all()] == [here.session_key]
