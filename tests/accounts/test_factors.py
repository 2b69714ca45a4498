"""Factors of people: what was lost is taken back, what changed is told, and staff choose nobody's password."""

from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.core import mail
from django.test import Client
from django.urls import reverse

from accounts.models import User
from tests.accounts.test_passkeys import answer, ask, enroll, is_signed_in
from tests.routes import ROUTES
from tests.soft_key import SoftKey
from tests.visits import PASSWORD, make_person, signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def as_in_production(settings: Any) -> None:
    settings.MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = False


@pytest.mark.asvs("6.5.6")
@pytest.mark.asvs("6.3.7")
def test_a_passkey_that_was_lost_is_taken_back_and_its_owner_told():
    user, lost = make_person(), SoftKey()
    enroll(user, lost)
    thief = Client()
    kept = Authenticator.objects.get(user=user, type=Authenticator.Type.WEBAUTHN)
    mail.outbox.clear()

    signed_in(user).post(reverse("mfa_remove_webauthn", args=[kept.pk]))
    answer(thief, lost.sign(ask(thief)))

    assert not is_signed_in(thief)
    assert [message.to for message in mail.outbox] == [[user.email]]


@pytest.mark.asvs("6.3.7")
def test_whose_password_changed_is_told():
    user = make_person()
    form = {"oldpassword": PASSWORD, "password1": "another long password", "password2": "another long password"}

    signed_in(user).post(reverse("account_change_password"), form)

    user.refresh_from_db()
    assert user.check_password("another long password")
    assert [message.to for message in mail.outbox] == [[user.email]]
    assert "another long password" not in str(mail.outbox[0].body)


@pytest.mark.asvs("6.4.6")
def test_staff_can_begin_a_reset_and_choose_no_password():
    user = make_person()

    Client().post(reverse("account_reset_password"), {"email": user.email})

    assert [message.to for message in mail.outbox] == [[user.email]], "the code goes to the person alone"
    assert User not in admin.site._registry
    # What the admin calls so is a page of one's own.
    assert not [route.name for route in ROUTES if route.name.startswith("admin:") and "user_password" in route.name]


def test_who_has_a_security_key_alone_is_asked_for_it_and_not_for_a_code():
    key, client = SoftKey(), Client()
    enroll(make_person(None), key)
    answer(client, key.sign(ask(client)))

    asked = client.get(reverse("mfa_view_recovery_codes"))

    assert asked["Location"].startswith(reverse("mfa_reauthenticate_webauthn"))


def test_mails_about_signing_in_go_by_the_brand_and_not_by_the_host(settings: Any):
    Client().post(reverse("account_login"), {"login": make_person(None).email})

    [message] = mail.outbox
    assert str(message.subject).startswith(f"[{settings.PORTAL_BRAND}] ")
    assert f"Hello from {settings.PORTAL_BRAND}!" in str(message.body)
    assert "testserver" not in f"{message.subject}{message.body}"
