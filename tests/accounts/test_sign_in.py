"""Signing up and in: a six-digit code by mail, nothing that tells who has an account, proofs that grow old."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from allauth.account.models import EmailAddress
from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet
from django.core import mail
from django.test import Client
from django.urls import reverse

from accounts.models import ApiKey, Membership, Organization, User
from tests.factories.accounts import make_membership, make_organization, make_user
from tests.support import normal

pytestmark = pytest.mark.django_db

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
CONFIRM = "account_email_verification_sent"


def code_in(message: Any) -> str:
    [code] = re.findall(r"\b\d{6}\b", message.body)
    return str(code)


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06d}"


def person_with_address(email: str, password: str | None = None) -> User:
    user = make_user(email, password)
    EmailAddress.objects.create(user=user, email=email, primary=True, verified=True)
    return user


def sign_up(client: Client, email: str = "ada@acme-labs.com", **more: str) -> Any:
    return client.post(reverse("account_signup"), {"email": email, **more})


def test_an_address_and_a_code_lead_to_an_organization_and_nothing_else_is_asked(client: Client):
    answer = sign_up(client)
    assert answer["Location"] == reverse(CONFIRM)
    assert not Organization.objects.exists()

    answer = client.post(reverse(CONFIRM), {"code": code_in(mail.outbox[0])}, follow=True)

    [organization] = Organization.objects.all()
    assert (organization.name, organization.kind) == ("Acme Labs", "startup")
    [membership] = Membership.objects.all()
    assert (membership.user.email, membership.role) == ("ada@acme-labs.com", "owner")
    assert answer.status_code == 200
    assert answer.redirect_chain[-1][0].startswith(f"/o/{organization.slug}/")


def test_the_kind_chosen_at_sign_up_is_kept(client: Client):
    sign_up(client, kind="research")
    client.post(reverse(CONFIRM), {"code": code_in(mail.outbox[0])})

    assert Organization.objects.get().kind == "research"


@pytest.mark.asvs("6.5.5")
def test_a_code_lives_ten_minutes(client: Client):
    with time_machine.travel(START, tick=False) as clock:
        sign_up(client)
        clock.shift(timedelta(seconds=601))
        client.post(reverse(CONFIRM), {"code": code_in(mail.outbox[0])})

    assert not Organization.objects.exists()
    assert not EmailAddress.objects.filter(verified=True).exists()


@pytest.mark.asvs("6.6.2")
def test_three_wrong_codes_end_the_try(client: Client):
    sign_up(client)
    code = code_in(mail.outbox[0])

    for _ in range(3):
        client.post(reverse(CONFIRM), {"code": wrong(code)})
    client.post(reverse(CONFIRM), {"code": code})

    assert not EmailAddress.objects.filter(verified=True).exists()
    assert client.get(reverse("accounts:welcome")).status_code == 302


@pytest.mark.asvs("6.6.2")
def test_a_code_is_worth_nothing_in_another_session(client: Client):
    sign_up(client)
    other = Client()
    sign_up(other, "eve@example.com")

    other.post(reverse(CONFIRM), {"code": code_in(mail.outbox[0])})

    assert not EmailAddress.objects.filter(verified=True).exists()


@pytest.mark.asvs("6.6.2")
def test_a_code_works_once(client: Client):
    sign_up(client)
    code = code_in(mail.outbox[0])
    client.post(reverse(CONFIRM), {"code": code})
    client.post(reverse("account_logout"))

    client.post(reverse(CONFIRM), {"code": code})

    assert "_auth_user_id" not in client.session


@pytest.mark.asvs("6.3.8")
@pytest.mark.parametrize(
    "form",
    ["account_signup", "account_request_login_code", "account_reset_password", "account_login"],
)
def test_no_form_tells_who_has_an_account(form: str):
    person_with_address("known@example.com", "a-long-password-1")
    answers = []
    for email in ("known@example.com", "other@example.com"):
        answer = Client().post(reverse(form), {"email": email, "login": email, "password": "wrong password!"})
        answers.append(normal(answer, email))

    assert answers[0] == answers[1]


def test_signing_in_by_code(client: Client):
    user = person_with_address("ada@example.com")
    organization = make_membership(make_organization(), user).organization

    client.post(reverse("account_request_login_code"), {"email": "ada@example.com"})
    answer = client.post(reverse("account_confirm_login_code"), {"code": code_in(mail.outbox[0])}, follow=True)

    assert client.session["_auth_user_id"] == str(user.pk)
    assert answer.redirect_chain[-1][0].startswith(f"/o/{organization.slug}/")
    assert Organization.objects.count() == 1


@pytest.mark.asvs("7.2.4")
def test_signing_in_gives_a_new_session(client: Client):
    person_with_address("ada@example.com", "a-long-password-1")
    client.post(reverse("account_request_login_code"), {"email": "ada@example.com"})
    before = client.session.session_key

    client.post(reverse("account_confirm_login_code"), {"code": code_in(mail.outbox[0])})

    assert client.session.session_key != before


@pytest.mark.asvs("6.1.1")
def test_failed_passwords_are_limited_and_codes_stay_open(client: Client):
    person_with_address("ada@example.com", "a-long-password-1")
    for _ in range(6):
        client.post(reverse("account_login"), {"login": "ada@example.com", "password": "wrong password!"})

    client.post(reverse("account_login"), {"login": "ada@example.com", "password": "a-long-password-1"})
    assert "_auth_user_id" not in client.session

    client.post(reverse("account_request_login_code"), {"email": "ada@example.com"})
    client.post(reverse("account_confirm_login_code"), {"code": code_in(mail.outbox[-1])})
    assert "_auth_user_id" in client.session


@pytest.mark.asvs("6.2.1")
def test_a_password_needs_twelve_characters(client: Client):
    user = person_with_address("ada@example.com")
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")

    client.post(reverse("account_set_password"), {"password1": "short-pass1", "password2": "short-pass1"})
    user.refresh_from_db()
    assert not user.has_usable_password()


def test_second_factors_are_stored_encrypted():
    secret = "JBSWY3DPEHPK3PXP"

    stored = get_adapter().encrypt(secret)

    assert secret not in stored
    assert get_adapter().decrypt(stored) == secret


def test_old_keys_of_second_factors_still_read(settings: Any):
    stored = get_adapter().encrypt("seed")

    settings.KEY_ENCRYPTION_KEYS = ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", *settings.KEY_ENCRYPTION_KEYS]

    assert get_adapter().decrypt(stored) == "seed"
    assert get_adapter().encrypt("seed") != stored


def test_second_factors_from_before_envelope_encryption_still_read(settings: Any):
    former = Fernet.generate_key()
    settings.MFA_ENCRYPTION_KEYS = [former.decode()]

    assert get_adapter().decrypt(Fernet(former).encrypt(b"seed").decode()) == "seed"


# --- Proofs that grow old ------------------------------------------------------------------------


def signed_in(client: Client, user: User, at: datetime) -> Organization:
    organization = make_membership(make_organization(), user).organization
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    session = client.session
    session["signed_in_at"] = at.timestamp()
    session.save()
    return organization


KEY = {"name": "ci", "scopes": ["inference"], "expires_in": "90"}


@pytest.mark.asvs("7.5.3")
def test_a_fresh_sign_in_makes_a_key_at_once(client: Client):
    organization = signed_in(client, person_with_address("ada@example.com"), datetime.now(UTC))
    form = {**KEY, "project": organization.projects.get().public_id}

    answer = client.post(reverse("accounts:key-create", args=[organization.slug]), form)

    assert answer.status_code == 200
    assert ApiKey.objects.count() == 1


@pytest.mark.asvs("7.5.3")
def test_an_old_sign_in_without_password_is_asked_for_a_code_and_then_goes_on(client: Client):
    user = person_with_address("ada@example.com")
    organization = signed_in(client, user, datetime.now(UTC) - timedelta(minutes=6))
    form = {**KEY, "project": organization.projects.get().public_id}
    address = reverse("accounts:key-create", args=[organization.slug])

    asked = client.post(address, form)
    page = asked["Location"]
    assert page.startswith(reverse("accounts:reauthenticate-by-code"))
    assert not ApiKey.objects.exists()

    assert client.get(page).status_code == 200
    assert not mail.outbox, "looking at the page sends nothing"
    assert client.post(page, {}).status_code == 200
    code = code_in(mail.outbox[0])
    assert client.post(page, {"code": wrong(code)}).status_code == 422
    assert not ApiKey.objects.exists()

    answer = client.post(page, {"code": code})
    [key] = ApiKey.objects.all()
    assert (key.name, key.created_by) == ("ci", user)
    assert key.last_four in answer.content.decode()


@pytest.mark.asvs("7.5.3")
def test_three_wrong_proofs_end_the_code(client: Client):
    signed_in(client, person_with_address("ada@example.com"), datetime.now(UTC) - timedelta(minutes=6))
    page = reverse("accounts:reauthenticate-by-code")
    client.post(page, {})
    code = code_in(mail.outbox[0])

    for _ in range(3):
        client.post(page, {"code": wrong(code)})
    client.post(page, {"code": code})

    assert client.session["signed_in_at"] < (datetime.now(UTC) - timedelta(minutes=5)).timestamp()


def test_proofs_by_mail_are_limited(client: Client):
    signed_in(client, person_with_address("ada@example.com"), datetime.now(UTC) - timedelta(minutes=6))
    page = reverse("accounts:reauthenticate-by-code")

    statuses = [client.post(page, {}).status_code for _ in range(12)]

    assert statuses[-1] == 429
    assert len(mail.outbox) == 10


@pytest.mark.asvs("7.5.3")
def test_who_has_a_password_is_asked_for_it(client: Client):
    user = person_with_address("ada@example.com", "a-long-password-1")
    organization = signed_in(client, user, datetime.now(UTC) - timedelta(minutes=6))
    form = {**KEY, "project": organization.projects.get().public_id}

    asked = client.post(reverse("accounts:key-create", args=[organization.slug]), form)
    assert asked["Location"].startswith(reverse("account_reauthenticate"))
    assert client.get(reverse("accounts:reauthenticate-by-code"))["Location"].startswith(
        reverse("account_reauthenticate")
    )
    client.post(asked["Location"], {"password": "a-long-password-1"})

    assert ApiKey.objects.count() == 1


@pytest.mark.asvs("7.5.3")
def test_an_old_sign_in_cannot_add_a_second_factor(client: Client):
    signed_in(client, person_with_address("ada@example.com"), datetime.now(UTC) - timedelta(minutes=6))

    answer = client.get(reverse("mfa_activate_totp"))

    assert answer["Location"].startswith(reverse("accounts:reauthenticate-by-code"))
    assert not Authenticator.objects.exists()


# --- Where people land ---------------------------------------------------------------------------


def test_who_has_no_organization_makes_one(client: Client):
    client.force_login(make_user("ada@acme.com"), backend="allauth.account.auth_backends.AuthenticationBackend")

    page = client.get(reverse("accounts:welcome"))
    assert b'value="Acme"' in page.content
    assert client.post(reverse("accounts:welcome"), {"name": " ", "kind": "startup"}).status_code == 422
    assert client.post(reverse("accounts:welcome"), {"name": "Acme", "kind": "fleet"}).status_code == 422
    assert not Organization.objects.exists()

    answer = client.post(reverse("accounts:welcome"), {"name": "Acme", "kind": "enterprise"})
    assert answer["Location"].startswith("/o/acme/")
    assert Organization.objects.get().kind == "enterprise"


def test_who_has_several_organizations_chooses(client: Client):
    user = make_user()
    for name in ("First", "Second"):
        make_membership(make_organization(name), user)
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")

    page = client.get(reverse("accounts:welcome"), follow=True)

    assert page.redirect_chain == [(reverse("accounts:organization-list"), 302)]
    assert b"First" in page.content
    assert b"Second" in page.content
