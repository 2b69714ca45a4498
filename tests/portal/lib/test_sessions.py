"""What is in the database opens no session and shows none; what the browser holds does."""

import re
import time

import pytest
from allauth.account.models import EmailAddress
from allauth.usersessions.models import UserSession
from django.conf import settings as django_settings
from django.contrib.sessions.models import Session
from django.core import mail
from django.test import Client
from django.urls import reverse

from accounts.models import User
from portal.lib.sessions import SessionStore, content_of, stored_key
from tests.factories.accounts import make_user

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery staple"


@pytest.fixture(autouse=True)
def real_sessions(settings):
    """The suite's own store lets the test client in by a row's name."""
    settings.SESSION_ENGINE = "portal.lib.sessions"


@pytest.fixture
def user() -> User:
    made = make_user("ada@example.com", PASSWORD)
    EmailAddress.objects.create(user=made, email=made.email, primary=True, verified=True)
    return made


def sign_in(user: User) -> Client:
    client = Client()
    client.post(reverse("account_login"), {"login": user.email, "password": PASSWORD})
    return client


def cookie_of(client: Client) -> str:
    return client.cookies[django_settings.SESSION_COOKIE_NAME].value


def is_signed_in(cookie: str) -> bool:
    client = Client()
    client.cookies[django_settings.SESSION_COOKIE_NAME] = cookie
    return client.get("/data/").status_code == 200


def test_a_library_that_goes_on_with_another_object_for_the_row_keeps_what_opens_it(user: User):
    """django-allauth does when somebody leaves for GitHub, with a new session or with one that is there."""
    visitor, member = Client(), sign_in(user)
    before = cookie_of(member)
    session = member.session
    session["signed_in_at"] = time.time()
    session.save()

    assert visitor.post("/sign-in-with/github/").status_code == 200
    assert member.post("/sign-in-with/github/").status_code == 200

    for client in (visitor, member):
        row = Session.objects.get(pk=stored_key(cookie_of(client)))
        assert "github" in str(content_of(row))
    assert cookie_of(member) == before
    assert is_signed_in(before)


def test_the_browser_holds_what_opens_it_and_the_rows_a_digest(user: User):
    cookie = cookie_of(sign_in(user))

    [row], [listed] = Session.objects.all(), UserSession.objects.all()
    assert is_signed_in(cookie)
    assert row.session_key == listed.session_key == stored_key(cookie) != cookie
    assert len(row.session_key) == 40
    assert not is_signed_in(row.session_key)


def test_the_content_is_sealed_and_bound_to_its_row(user: User):
    cookie, other = cookie_of(sign_in(user)), cookie_of(sign_in(user))
    row = Session.objects.get(pk=stored_key(cookie))

    assert row.session_data.startswith("sealed:")
    assert content_of(row)["_auth_user_id"] == str(user.pk)
    Session.objects.filter(pk=stored_key(other)).update(session_data=row.session_data)
    assert is_signed_in(cookie)
    assert not is_signed_in(other)


def test_a_changed_or_lost_content_is_an_empty_session(user: User, settings):
    cookie = cookie_of(sign_in(user))
    settings.KEY_ENCRYPTION_KEYS = ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]
    assert not is_signed_in(cookie)

    Session.objects.update(session_data="not sealed")
    assert not is_signed_in(cookie)


@pytest.mark.parametrize(
    "cookie", ["", "x", "A" * 32, "0" * 32, "a" * 31, "a" * 33, "é" * 32, "sealed:" + "a" * 25, "a" * 32 + "\n"]
)
def test_any_other_cookie_opens_nothing_and_gets_no_row(cookie: str):
    assert SessionStore.of_cookie(cookie).load() == {}
    assert not Session.objects.exists()


@pytest.mark.asvs("7.2.4")
def test_signing_in_and_out_changes_what_opens_it(user: User):
    client = Client()
    client.post(reverse("account_request_login_code"), {"email": user.email})
    before = cookie_of(client)
    [code] = re.findall(r"\b\d{6}\b", str(mail.outbox[0].body))
    client.post(reverse("account_confirm_login_code"), {"code": code})
    signed_in = cookie_of(client)
    assert is_signed_in(signed_in)
    client.post(reverse("account_logout"))

    assert len({before, signed_in}) == 2
    assert not Session.objects.filter(pk__in=[stored_key(before), stored_key(signed_in)]).exists()
    assert not is_signed_in(before)
    assert not is_signed_in(signed_in)


def test_ending_another_session_from_the_list_ends_it(user: User):
    here, there = sign_in(user), sign_in(user)
    page = here.get(reverse("usersessions_list")).content.decode()
    assert "Current" in page

    here.post(reverse("usersessions_list"))

    assert is_signed_in(cookie_of(here))
    assert not is_signed_in(cookie_of(there))
    assert Session.objects.count() == 1


def test_another_password_ends_every_other_session(user: User):
    here, there = sign_in(user), sign_in(user)
    change = {"oldpassword": PASSWORD, "password1": "a new long password 7", "password2": "a new long password 7"}
    here.post(reverse("account_change_password"), change)

    assert is_signed_in(cookie_of(here))
    assert not is_signed_in(cookie_of(there))


def test_a_new_proof_gives_a_new_cookie_and_the_former_opens_nothing(user: User):
    client = sign_in(user)
    before = cookie_of(client)
    client.post(reverse("account_reauthenticate"), {"password": PASSWORD})

    assert cookie_of(client) != before
    assert is_signed_in(cookie_of(client))
    assert not is_signed_in(before)


def test_a_row_does_not_say_what_opens_it(user: User):
    cookie = cookie_of(sign_in(user))

    assert SessionStore.of_cookie(cookie).cookie_key == cookie
    with pytest.raises(LookupError):
        _ = SessionStore(stored_key(cookie)).cookie_key
