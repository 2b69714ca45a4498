"""Sessions: a new one with every proof, an end on the server, and what an old proof may not do (N11, N12).

When they end by themselves, and with a change of a second factor: test_session_life.py.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from allauth.account.models import EmailAddress
from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core import mail
from django.test import Client
from django.urls import resolve, reverse

from accounts.models import User
from tests.factories.accounts import make_organization
from tests.support import undone
from tests.test_audit_trail import presses
from tests.visits import PASSWORD, Scene, make_person, make_scene, signed_in, visits
from tests.world import NOW, World

LONG_AGO = timedelta(hours=1)
SESSION = settings.SESSION_COOKIE_NAME


def sign_in(client: Client, user: User) -> str:
    """Sign in with a password; return the session's key."""
    client.post(reverse("account_login"), {"login": user.email, "password": PASSWORD})
    assert is_signed_in(client)
    return client.cookies[SESSION].value


def is_signed_in(client: Client) -> bool:
    return client.get(reverse("accounts:organization-list")).status_code == 200


def with_session(key: str) -> Client:
    client = Client()
    client.cookies[SESSION] = key
    return client


@pytest.mark.django_db
@pytest.mark.asvs("7.2.4")
def test_a_planted_session_is_not_the_one_that_is_signed_in():
    user, planted = make_person(), SessionStore()
    planted.create()

    for key in (str(planted.session_key), "a-session-that-nobody-made-0000000"):
        victim = with_session(key)
        assert sign_in(victim, user) != key
        assert not is_signed_in(with_session(key))


@pytest.mark.django_db
@pytest.mark.asvs("7.2.4")
def test_every_proof_gives_a_new_session_and_ends_the_former():
    with time_machine.travel(NOW, tick=False) as clock:
        user = make_person()
        client = Client()
        before = sign_in(client, user)
        clock.shift(LONG_AGO)

        client.post(reverse("account_reauthenticate"), {"password": PASSWORD})

        assert client.cookies[SESSION].value != before
        assert is_signed_in(client)
        assert not is_signed_in(with_session(before))


@pytest.mark.django_db
@pytest.mark.asvs("7.2.4")
def test_a_proof_by_mail_gives_a_new_session_and_ends_the_former():
    client = signed_in(make_person(None))
    before = client.cookies[SESSION].value
    page = reverse("accounts:reauthenticate-by-code")
    client.post(page, {})

    [code] = re.findall(r"\b\d{6}\b", str(mail.outbox[-1].body))
    client.post(page, {"code": code})

    assert client.cookies[SESSION].value != before
    assert is_signed_in(client)
    assert not is_signed_in(with_session(before))


@pytest.mark.django_db
@pytest.mark.asvs("7.4.1")
def test_signing_out_ends_the_session_on_the_server():
    client, user = Client(), make_person()
    key = sign_in(client, user)

    client.post(reverse("account_logout"))

    assert not Session.objects.filter(session_key=key).exists()
    assert not is_signed_in(with_session(key))


@pytest.mark.django_db
@pytest.mark.asvs("7.4.3")
def test_a_new_password_ends_every_other_session():
    user, here, elsewhere = make_person(), Client(), Client()
    sign_in(elsewhere, user)
    sign_in(here, user)

    form = {"oldpassword": PASSWORD, "password1": "another long password", "password2": "another long password"}
    here.post(reverse("account_change_password"), form)

    assert is_signed_in(here)
    assert not is_signed_in(elsewhere)


@pytest.mark.django_db
@pytest.mark.asvs("7.4.4")
@pytest.mark.asvs("7.5.2")
def test_people_end_their_other_sessions():
    user, here, elsewhere = make_person(), Client(), Client()
    sign_in(elsewhere, user)
    sign_in(here, user)
    assert is_signed_in(elsewhere)

    here.post(reverse("usersessions_list"))

    assert is_signed_in(here)
    assert not is_signed_in(elsewhere)


@pytest.mark.django_db
@pytest.mark.asvs("7.4.2")
def test_who_is_disabled_is_out_with_the_next_request():
    client, user = Client(), make_person()
    sign_in(client, user)

    User.objects.filter(pk=user.pk).update(is_active=False)

    assert not is_signed_in(client)
    client.post(reverse("account_login"), {"login": user.email, "password": PASSWORD})
    assert not is_signed_in(client)


# --- Actions that ask for a fresh proof ----------------------------------------------------------

# What anybody may do who is signed in, however long ago, and why.
WITHOUT_PROOF: dict[str, str] = {
    # Takes rights or costs away, which an owner in trouble must be able to do at once.
    **dict.fromkeys(
        (
            "accounts:key-revoke",
            "accounts:invitation-revoke",
            "accounts:member-leave",
            "accounts:member-remove",
            "accounts:organization-keep",
            "accounts:project-member-remove",
            "accounts:directory-token-revoke",
            "accounts:service-account-delete",
            "accounts:service-account-disable",
            "compute:instance-stop",
            "compute:instance-terminate",
            "compute:ssh-key-delete",
            "account_logout",
        ),
        "takes away and gives nothing",
    ),
    # Daily work within what the organization's budget and roles allow.
    **dict.fromkeys(
        (
            "accounts:project-create",
            "accounts:project-rename",
            "accounts:rate-limit-of-project",
            "accounts:rate-limit-of-key",
            "inference:project-region",
            "accounts:project-member-set",
            "accounts:organization-settings",
            "accounts:organization-list",
            "accounts:welcome",
            "accounts:invitation",
            "compute:instance-launch",
            "compute:instance-start",
            "compute:instance-restart",
            "compute:ssh-key-create",
            "quickstart-run",
        ),
        "is daily work",
    ),
    **dict.fromkeys(
        (
            "accounts:reauthenticate-by-code",
            "account_reauthenticate",
            "mfa_reauthenticate",
        ),
        "is the proof",
    ),
    "accounts:audit-endpoint-resume": "goes on with an address that was proved when it was written",
    "accounts:audit-endpoint-test": "sends nothing of the log, to an address that was proved when it was written",
    "billing:top-up": "leads to the provider's page, where the card is asked for",
    "billing:debt-pay": "leads to the provider's page, where the card is asked for",
    "billing:anomaly-mails": "a mail more or less; what they say is on a page that everybody with spend sees",
    "billing:payment-cancel": "charges nothing",
    "billing:project-tags": "divides costs for reports, and only those that are to come",
    "billing:invoice-pay": "leads to the provider's page, where the card is asked for",
    "billing:payment-again": "leads to the provider's page, where the card is asked for",
    "billing:card-add": "leads to the provider's page, where the card is typed",
    "billing:card-remove": "takes away and gives nothing",
    "accounts:domain-join": "is for who proved an address, and gives what the organization said beforehand",
    "account_change_password": "asks for the password in the form",
    "account_email": "its buttons ask: test_an_old_proof_changes_no_address",
}

# What gives away rights, secrets or data: always asks.
SENSITIVE = {
    "billing:cap-create",
    "billing:cap-change",
    "billing:cap-remove",
    "billing:payment-refund",
    "billing:card-default",
    "billing:auto-reload",
    "billing:customer-portal",
    "accounts:key-create",
    "accounts:key-change",
    "accounts:key-rotate",
    "quickstart-key",
    "accounts:member-invite",
    "accounts:invitation-resend",
    "accounts:member-role",
    "accounts:ownership-transfer",
    "accounts:organization-delete",
    "accounts:sso-settings",
    "accounts:sso-saml",
    "accounts:sso-require",
    "accounts:sso-make-optional",
    "accounts:sso-remove",
    "accounts:sso-owner",
    "accounts:sso-break-glass",
    "accounts:domain-list",
    "accounts:domain-detail",
    "accounts:domain-verify",
    "accounts:domain-remove",
    "accounts:directory",
    "accounts:directory-group-role",
    "accounts:audit-endpoint-add",
    "accounts:audit-endpoint-change",
    "accounts:audit-endpoint-rotate",
    "accounts:audit-endpoint-pause",
    "accounts:audit-endpoint-remove",
    "accounts:service-account-create",
    "accounts:service-account-enable",
    "accounts:erase",
    "organization-export",
    "your-export",
    "account_set_password",
    "mfa_activate_totp",
    "mfa_deactivate_totp",
    "mfa_generate_recovery_codes",
    "mfa_add_webauthn",
    "mfa_edit_webauthn",
    "mfa_remove_webauthn",
    "accounts:social-begin",
}

# What is not even shown to who has not proved it.
SECRET = {
    "mfa_activate_totp",
    "mfa_view_recovery_codes",
    "mfa_download_recovery_codes",
}


@pytest.fixture(scope="module")
def scene(world_of_module: World, django_db_blocker: Any) -> Scene:
    with django_db_blocker.unblock():
        return make_scene(world_of_module)


@pytest.fixture
def stage(scene: Scene, django_db_blocker: Any) -> Iterator[Scene]:
    with django_db_blocker.unblock(), undone():
        yield scene


def grown_old(client: Client, key: str) -> Client:
    """Go back to that session, and make its proofs as old as if it had lain about."""
    client.cookies[SESSION] = key
    session = client.session
    past = (datetime.now(UTC) - LONG_AGO).timestamp()
    session["signed_in_at"] = past
    session["account_authentication_methods"] = [
        record | {"at": past} for record in session.get("account_authentication_methods", [])
    ]
    session.save()
    return client


def asks_for_proof(answer: Any) -> bool:
    pages = ("account_reauthenticate", "mfa_reauthenticate", "accounts:reauthenticate-by-code")
    return answer.status_code == 302 and str(answer["Location"]).startswith(tuple(map(reverse, pages)))


@pytest.mark.asvs("7.5.1")
@pytest.mark.asvs("7.5.3")
def test_every_form_asks_for_a_fresh_proof_or_says_why_not(stage: Scene):
    # Each is (name, state of the page, method).
    asking, free = set[tuple[str, str, str]](), set[tuple[str, str, str]]()
    for visit in visits():
        if visit.is_empty:
            continue
        with undone():
            client, address = stage.begin(visit)
            if "_auth_user_id" not in client.session:
                continue
            key, before = client.cookies[SESSION].value, stage.world.checksum(stage.world.ours)
            with undone():
                pressed = list(presses(client, address))
            with undone():
                shown = grown_old(client, key).get(address)
                if shown.status_code != 405:
                    (asking if asks_for_proof(shown) else free).add((visit.route.name, visit.state, "GET"))
            for target, data in pressed:
                name = resolve(target.partition("?")[0]).view_name
                with undone():
                    is_asked = asks_for_proof(grown_old(client, key).post(target, data))
                    (asking if is_asked else free).add((name, visit.state, "POST"))
                    assert not is_asked or stage.world.checksum(stage.world.ours) == before, name

    # None that asks in one state, on one page or by one method only hides behind that.
    assert free & asking == set()
    assert names(asking, "POST") >= SENSITIVE
    unexplained, gone = names(free, "POST") - set(WITHOUT_PROOF), set(WITHOUT_PROOF) - names(free, "POST")
    assert (unexplained, gone) == (set(), set())
    assert names(asking, "GET") >= SECRET
    assert names(free, "GET") & SECRET == set()


def names(found: set[tuple[str, str, str]], method: str) -> set[str]:
    return {name for name, _, by in found if by == method}


@pytest.mark.django_db
@pytest.mark.parametrize("button", ["action_add", "action_remove", "action_primary"])
@pytest.mark.asvs("7.5.1")
def test_an_old_proof_changes_no_address(button: str):
    user = make_person()
    other = EmailAddress.objects.create(user=user, email="second@example.com", verified=True)
    email = "third@example.com" if button == "action_add" else other.email
    before = sorted(EmailAddress.objects.values_list("email", "primary"))
    client = signed_in(user)

    answer = grown_old(client, client.cookies[SESSION].value).post(
        reverse("account_email"), {button: "", "email": email}
    )

    assert asks_for_proof(answer)
    assert sorted(EmailAddress.objects.values_list("email", "primary")) == before


@pytest.mark.django_db
@pytest.mark.asvs("7.5.3")
def test_a_session_that_lay_about_gets_no_first_password_until_it_is_proved():
    user = make_person(None)
    client = signed_in(user)
    passwords = {"password1": "a new long password", "password2": "a new long password"}

    asked = grown_old(client, client.cookies[SESSION].value).post(reverse("account_set_password"), passwords)

    assert asks_for_proof(asked)
    user.refresh_from_db()
    assert not user.has_usable_password()
    client.post(asked["Location"], {})
    [code] = re.findall(r"\b\d{6}\b", str(mail.outbox[-1].body))
    client.post(asked["Location"], {"code": code})
    user.refresh_from_db()
    assert user.has_usable_password()


@pytest.mark.django_db
def test_what_was_refused_after_the_proof_is_put_right_where_it_was_begun():
    owner = make_person(None)
    organization = make_organization(owner=owner)
    client, address = signed_in(owner), reverse("accounts:domain-list", args=[organization.slug])
    asked = grown_old(client, client.cookies[SESSION].value).post(address, {"name": "no domain"})
    assert asks_for_proof(asked)
    client.post(asked["Location"], {})
    [code] = re.findall(r"\b\d{6}\b", str(mail.outbox[-1].body))

    refused = client.post(asked["Location"], {"code": code})

    # The browser is still at the address of the proof, which would take the form for a wish for another code.
    assert refused.status_code == 422
    assert f'action="{address}"' in refused.content.decode()
