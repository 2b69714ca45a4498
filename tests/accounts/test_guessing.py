"""Guessing: whom a form knows, passwords from everywhere, codes; limits that hold over processes and forged addresses.

Security N4 to N8. What somebody else tries never keeps the owner of a passkey out.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, generate_totp_secret, hotp_value
from django.conf import settings
from django.contrib.auth.hashers import Argon2PasswordHasher
from django.core import mail
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from accounts.models import Organization, Role, User
from dev.paths import ROOT
from tests.accounts.test_passkeys import answer as answer_with_key
from tests.accounts.test_passkeys import ask, enroll
from tests.accounts.test_sso import set_up
from tests.accounts.test_sso import sign_in as sign_in_through
from tests.attempts import try_wrong
from tests.doubles.identity_provider import Provider, running_provider
from tests.factories.accounts import make_domain, make_membership, make_organization
from tests.own_database import SUPERUSER, OwnDatabase
from tests.soft_key import SoftKey
from tests.support import normal, undone
from tests.visits import PASSWORD, make_person, signed_in, visitor

PROVE = bool(os.environ.get("PROVE"))
PAIRS = 500 if PROVE else 3
WHOLE = 10  # Of so many pairs one goes down to the last step.
TRIES = 200 if PROVE else 30
FORGERIES = 250 if PROVE else 30
ADDRESSES, ACCOUNTS = 50 if PROVE else 4, 12
PER_ACCOUNT, PER_ADDRESS = 5, 10  # allauth's limits of failed sign-ins: in five minutes, in one

# --- Whom a form knows ---------------------------------------------------------------------------

# Form -> the next one, which asks for the mailed code.
ASKING_FOR_CODE = {
    "account_signup": "account_email_verification_sent",
    "account_signup_by_passkey": "account_email_verification_sent",
    "account_request_login_code": "account_confirm_login_code",
    "account_reset_password": "account_confirm_password_reset_code",
}


@dataclass(frozen=True)
class Place:
    """Where people sign in by an organization's provider, and where an owner invites them."""

    provider: Provider
    organization: Organization
    owner: Client

    def walk_with_single_sign_on(self, email: str, is_whole: bool) -> list[Any]:
        answers = [visitor().post(reverse("accounts:sso-entry"), {"email": email})]
        answers += [visitor().post(reverse("accounts:sso-entry"), {"email": f"{email}.elsewhere.example"})]
        return [(chance.sub("", str(normal(one, email, quote(email)))), sorted(one.cookies)) for one in answers]

    def walk_with_invitation(self, email: str, is_whole: bool) -> list[Any]:
        invited = {"email": email, "role": "developer"}
        slug = self.organization.slug
        # What was said of others and nobody has read yet.
        self.owner.cookies.pop(settings.MESSAGE_COOKIE_NAME, None)
        with undone():
            answers = [self.owner.post(reverse("accounts:member-invite", args=[slug]), invited)]
            if is_whole:
                answers.append(self.owner.get(reverse("accounts:member-list", args=[slug])))
                assert email in answers[1].content.decode()
                # And once more, which is refused.
                answers.append(self.owner.post(reverse("accounts:member-invite", args=[slug]), invited))
        return [(chance.sub("", str(normal(one, email))), sorted(one.cookies)) for one in answers]


# What is made anew each time.
chance = re.compile(r"(state|nonce|code_challenge)=[\w-]+|invite_\w+|<time [^>]*>[^<]*")


@pytest.fixture
def place(db: None) -> Iterator[Place]:
    with running_provider() as provider:
        organization = make_organization("Acme")
        make_domain(organization, "example.com")
        owner = make_membership(organization, make_person())
        set_up(provider, owner)
        yield Place(provider, organization, signed_in(owner.user))


def walk_with_codes(form: str, email: str, is_whole: bool) -> list[Any]:
    """Ask for a code, look at the page that waits for it, and answer wrong until there is no more try."""
    client, following = visitor(), reverse(ASKING_FOR_CODE[form])
    answers = [client.post(reverse(form), {"email": email}), client.get(following)]
    if not is_whole:
        return [(normal(answer, email), sorted(answer.cookies)) for answer in answers]
    codes = {re.findall(r"\b\d{6}\b", str(message.body))[0] for message in mail.outbox if "code" in str(message.body)}
    wrong = next(f"{number:06d}" for number in range(10) if f"{number:06d}" not in codes)
    answers += [client.post(following, {"code": wrong}) for _ in range(4)]
    return [(normal(answer, email), sorted(answer.cookies)) for answer in answers]


def walk_with_password(email: str, is_whole: bool) -> list[Any]:
    client, tries = visitor(), PER_ACCOUNT + 2 if is_whole else 1
    forms = [{"login": email, "password": f"wrong password {number}"} for number in range(tries)]
    answers = [client.post(reverse("account_login"), form) for form in forms]
    # Empty: a code is asked for.
    answers.append(client.post(reverse("account_login"), {"login": email, "password": ""}))
    return [(normal(answer, email), sorted(answer.cookies)) for answer in answers]


WALKS: dict[str, Callable[[Place, str, bool], list[Any]]] = {
    form: lambda place, email, is_whole, form=form: walk_with_codes(form, email, is_whole)  # type: ignore[misc]
    for form in ASKING_FOR_CODE
}
WALKS["account_login"] = lambda place, email, is_whole: walk_with_password(email, is_whole)
WALKS["accounts:sso-entry"] = Place.walk_with_single_sign_on
WALKS["accounts:member-invite"] = Place.walk_with_invitation


@pytest.mark.django_db
@pytest.mark.parametrize("form", WALKS)
@pytest.mark.asvs("6.3.8")
def test_nothing_on_the_way_tells_who_has_an_account(form: str, place: Place):
    for number in range(PAIRS):
        known = make_person().email
        walks = []
        for email in (known, f"nobody-{number}@example.com"):
            cache.clear()  # Both with all their tries.
            mail.outbox.clear()
            walks.append(WALKS[form](place, email, number % WHOLE == 0))
        assert walks[0] == walks[1]


# --- Passwords -----------------------------------------------------------------------------------


def opens(user: User, address: str = "198.51.100.9") -> bool:
    client = visitor()
    client.post(reverse("account_login"), {"login": user.email, "password": PASSWORD}, REMOTE_ADDR=address)
    return "_auth_user_id" in client.session


@pytest.mark.django_db
@pytest.mark.asvs("6.3.1")
def test_one_account_is_guessed_at_five_times_from_wherever():
    user, client = make_person(), visitor()

    tried = [try_wrong(client, user.email, number, REMOTE_ADDR=f"203.0.113.{number % 50}") for number in range(TRIES)]

    assert sum(tried) == PER_ACCOUNT
    assert not opens(user)


@pytest.mark.django_db
@pytest.mark.asvs("6.3.1")
def test_one_address_guesses_ten_times_at_whomever():
    people, client = [make_person() for _ in range(TRIES)], visitor()

    tried = [try_wrong(client, user.email, 0, REMOTE_ADDR="203.0.113.1") for user in people]

    assert sum(tried) == PER_ADDRESS
    assert not opens(people[-1], "203.0.113.1")
    assert opens(people[-1], "198.51.100.9"), "an address that guesses keeps nobody out elsewhere"


@pytest.mark.django_db
@pytest.mark.parametrize("count", [ADDRESSES * ACCOUNTS // PER_ACCOUNT + 1, ADDRESSES // 2])
@pytest.mark.asvs("6.3.1")
def test_many_addresses_that_guess_at_many_accounts_are_limited_by_either(count: int):
    people, client = [make_person() for _ in range(count)], visitor()
    tried, at = Counter[str](), Counter[str]()
    for number in range(ADDRESSES * ACCOUNTS):
        address, user = f"203.0.113.{number % ADDRESSES}", people[number % len(people)]
        if try_wrong(client, user.email, number, REMOTE_ADDR=address):
            tried[address] += 1
            at[user.email] += 1

    # Whichever is full first.
    if count > ADDRESSES:
        assert list(tried.values()) == [PER_ADDRESS] * ADDRESSES
    else:
        assert list(at.values()) == [PER_ACCOUNT] * count
    assert max(tried.values()) <= PER_ADDRESS
    assert max(at.values()) <= PER_ACCOUNT


@pytest.mark.django_db
@pytest.mark.asvs("6.1.1")
def test_whoever_guesses_keeps_nobody_out_who_comes_by_single_sign_on(place: Place):
    user, guessing = make_person(), visitor()
    make_membership(place.organization, user, Role.DEVELOPER)
    for number in range(TRIES):
        try_wrong(guessing, user.email, number, REMOTE_ADDR="203.0.113.9")
    assert not opens(user)
    client = Client()
    place.provider.person |= {"sub": "u-7", "email": user.email}

    sign_in_through(client, place.provider, place.organization)

    assert client.session["_auth_user_id"] == str(user.pk)


@pytest.mark.django_db
@pytest.mark.asvs("6.1.1")
def test_whoever_guesses_keeps_the_owner_of_a_passkey_not_out():
    user, key = make_person(), SoftKey(origin="http://testserver")
    enroll(user, key)
    guessing = visitor()
    for number in range(TRIES):
        try_wrong(guessing, user.email, number)
    client = Client()

    answer_with_key(client, key.sign(ask(client)))

    assert client.session["_auth_user_id"] == str(user.pk)


# --- Addresses -----------------------------------------------------------------------------------

FORGED: dict[str, tuple[int, Callable[[int], dict[str, str]]]] = {
    "a header where there is no proxy": (0, lambda number: {"HTTP_X_FORWARDED_FOR": f"192.0.2.{number}"}),
    "a chain where there is no proxy": (0, lambda n: {"HTTP_X_FORWARDED_FOR": f"192.0.2.{n}, 10.0.0.{n}, 127.0.0.1"}),
    "what stands before the proxy's entry": (1, lambda n: {"HTTP_X_FORWARDED_FOR": f"192.0.2.{n}, 203.0.113.7"}),
    "a walk through one network of IPv6": (0, lambda number: {"REMOTE_ADDR": f"2001:db8:1:2::{number + 1:x}"}),
}


@pytest.mark.django_db
@pytest.mark.parametrize("forgery", FORGED)
@pytest.mark.asvs("6.3.1")
@pytest.mark.asvs("4.1.3")
def test_a_forged_address_is_the_same_address(forgery: str, settings: Any):
    settings.ALLAUTH_TRUSTED_PROXY_COUNT, make = FORGED[forgery]
    people, client = [make_person() for _ in range(FORGERIES)], visitor()

    tried = [try_wrong(client, user.email, 0, **make(number % 250)) for number, user in enumerate(people)]

    assert sum(tried) == PER_ADDRESS


# --- Several processes ---------------------------------------------------------------------------


@contextmanager
def process(own_database: OwnDatabase) -> Iterator[Callable[[dict[str, Any]], Callable[[], dict[str, Any]]]]:
    """Yield what sends a step to a new process and returns how to wait for its answer."""
    environment = {**os.environ, **own_database.environment, "DJANGO_SETTINGS_MODULE": "tests.process_settings"}
    command = [sys.executable, "-m", "tests.attempts"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=ROOT, env=environment, text=True, **pipes) as running:  # type: ignore[call-overload]
        assert running.stdin
        assert running.stdout

        def send(step: dict[str, Any]) -> Callable[[], dict[str, Any]]:
            running.stdin.write(json.dumps(step) + "\n")
            running.stdin.flush()

            def wait() -> dict[str, Any]:
                while not (line := running.stdout.readline()).startswith("{"):
                    assert line, "the process ended"
                answered: dict[str, Any] = json.loads(line)
                return answered

            return wait

        yield send
        running.stdin.close()


def person_of_production(own_database: OwnDatabase) -> tuple[str, str]:
    """Make a person with a password and a second factor, for processes with the real settings; return mail and seed."""
    with own_database.in_use(SUPERUSER):
        user = make_person()
        user.password = Argon2PasswordHasher().encode(PASSWORD, "a-salt-of-its-own")
        user.save()
        assert EmailAddress.objects.filter(user=user, verified=True).exists()
        seed = generate_totp_secret()
        TOTP.activate(user, seed)
        return user.email, seed


@pytest.mark.processes
@pytest.mark.asvs("6.3.1")
def test_limits_hold_over_several_processes(own_database: OwnDatabase):
    email, _ = person_of_production(own_database)
    with ExitStack() as stack:
        processes = [stack.enter_context(process(own_database)) for _ in range(4)]
        waiting = [send({"wrong": 100 if PROVE else 10, "email": email}) for send in processes]
        looked_at = [wait()["looked_at"] for wait in waiting]

    assert 1 <= sum(looked_at) <= PER_ACCOUNT


@pytest.mark.processes
@pytest.mark.asvs("6.5.1")
def test_a_code_of_an_app_works_once_over_all_processes(own_database: OwnDatabase):
    email, seed = person_of_production(own_database)
    with ExitStack() as stack:
        processes = [stack.enter_context(process(own_database)) for _ in range(3)]
        for send in processes:
            assert send({"password": PASSWORD, "email": email})() == {"at_second_factor": True}
        signed_in: list[bool] = []
        while not signed_in:
            counter = int(time.time()) // 30
            code = format_hotp_value(hotp_value(seed, counter))
            waiting = [send({"code": code}) for send in processes]
            tried = [wait()["signed_in"] for wait in waiting]
            # When the half minute ended meanwhile, some may have been late: once more with the next code.
            signed_in = tried if int(time.time()) // 30 == counter or any(tried) else []

    assert sorted(signed_in) == [False, False, True]


@pytest.mark.django_db
@pytest.mark.asvs("6.6.3")
def test_codes_of_an_app_are_guessed_five_times():
    user, seed = make_person(), generate_totp_secret()
    TOTP.activate(user, seed)
    client = visitor()
    client.post(reverse("account_login"), {"login": user.email, "password": PASSWORD})
    for _ in range(PER_ACCOUNT):
        client.post(reverse("mfa_authenticate"), {"code": "not it"})

    code = format_hotp_value(hotp_value(seed, int(time.time()) // 30))
    client.post(reverse("mfa_authenticate"), {"code": code})

    assert "_auth_user_id" not in client.session

    # It was the right one.
    cache.clear()
    client.post(reverse("mfa_authenticate"), {"code": code})
    assert "_auth_user_id" in client.session
