"""Codes: those of an app hold for their half minute and are guessed slowly (N8), those by mail for one try (N14)."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, generate_totp_secret, hotp_value
from django.core import mail
from django.test import Client
from django.urls import reverse

from accounts.models import User
from tests.accounts.test_sign_in import code_in, wrong
from tests.visits import PASSWORD, make_person, signed_in, visitor
from tests.world import NOW

pytestmark = pytest.mark.django_db

GUESSES = 10_000 if os.environ.get("PROVE") else 200
PER_MINUTE, PER_FIVE_MINUTES = 10, 5
HALF_MINUTE = 30

# --- Of an app -----------------------------------------------------------------------------------


def code_at(seed: str, seconds: float) -> str:
    return str(format_hotp_value(hotp_value(seed, int(seconds) // HALF_MINUTE)))


def with_app() -> tuple[User, str]:
    user, seed = make_person(), generate_totp_secret()
    TOTP.activate(user, seed)
    return user, seed


def at_second_factor(user: User, **more: str) -> Client:
    client = visitor()
    form = {"login": user.email, "password": PASSWORD}
    sent = client.post(reverse("account_login"), form, **more)  # type: ignore[arg-type]  # parts of the environment
    assert sent["Location"] == reverse("mfa_authenticate")
    return client


def opens(client: Client, code: str) -> bool:
    client.post(reverse("mfa_authenticate"), {"code": code})
    return "_auth_user_id" in client.session


@pytest.mark.parametrize(("windows_away", "expected"), [(-2, False), (-1, False), (0, True), (1, False), (2, False)])
@pytest.mark.asvs("6.5.5")
def test_a_code_of_an_app_is_that_of_its_half_minute(windows_away: int, expected: bool):
    user, seed = with_app()
    with time_machine.travel(NOW, tick=False):
        code = code_at(seed, time.time() + HALF_MINUTE * windows_away)

        assert opens(at_second_factor(user), code) is expected


@pytest.mark.asvs("6.5.1")
def test_a_code_of_an_app_works_once_in_its_half_minute():
    user, seed = with_app()
    begins = NOW.replace(second=0, microsecond=0)
    with time_machine.travel(begins, tick=False) as clock:
        assert opens(at_second_factor(user), code_at(seed, time.time()))
        clock.shift(timedelta(seconds=HALF_MINUTE - 1))

        assert not opens(at_second_factor(user), code_at(seed, time.time()))

        clock.shift(timedelta(seconds=1))
        assert opens(at_second_factor(user), code_at(seed, time.time()))


@pytest.mark.asvs("6.6.3")
def test_codes_of_an_app_are_guessed_slowly_from_wherever():
    user, seed = with_app()
    looked_at: list[float] = []
    with time_machine.travel(NOW, tick=False) as clock:
        client = at_second_factor(user)
        for number in range(GUESSES):
            clock.shift(timedelta(seconds=1))
            address = f"203.0.113.{number % 250}"
            guess = {"code": wrong(code_at(seed, time.time()))}
            answer = client.post(reverse("mfa_authenticate"), guess, REMOTE_ADDR=address)
            if answer.status_code == 302:
                # The step of the second factor has its time, too.
                client = at_second_factor(user, REMOTE_ADDR=address)
            elif "Incorrect code" in answer.content.decode():
                looked_at.append(time.time())

    assert looked_at
    for at in looked_at:
        assert sum(at <= other < at + 60 for other in looked_at) <= PER_MINUTE
        assert sum(at <= other < at + 300 for other in looked_at) <= PER_FIVE_MINUTES


# --- By mail -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """One kind of mailed code. make: who asks, and their address; done: whether a code was taken."""

    asking: str
    answering: str
    make: Callable[[], tuple[Client, str]]
    done: Callable[[Client], bool]
    again: Callable[[Client], Any] = lambda client: client.post(reverse("account_logout"))

    def ask(self, client: Client, email: str) -> str:
        """Have a code mailed; return it."""
        client.post(reverse(self.asking), {"email": email} if email else {})
        return code_in(mail.outbox[-1])

    def answer(self, client: Client, code: str) -> bool:
        client.post(reverse(self.answering), {"code": code})
        return self.done(client)


def is_signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def may_choose_a_password(client: Client) -> bool:
    return client.get(reverse("account_complete_password_reset")).status_code == 200


def has_proved_it(client: Client) -> bool:
    return float(client.session.get("signed_in_at", 0)) > 0


def grow_old(client: Client) -> None:
    session = client.session
    session["signed_in_at"] = 0
    session.save()


def choose_a_password(client: Client) -> None:
    form = {"password1": "another long password", "password2": "another long password"}
    assert client.post(reverse("account_complete_password_reset"), form).status_code == 302


KINDS = {
    "sign-up": Kind(
        "account_signup",
        "account_email_verification_sent",
        lambda: (visitor(), f"newcomer-{len(mail.outbox)}@example.com"),
        is_signed_in,
    ),
    "sign-in": Kind(
        "account_request_login_code",
        "account_confirm_login_code",
        lambda: (visitor(), make_person(None).email),
        is_signed_in,
    ),
    "reset": Kind(
        "account_reset_password",
        "account_confirm_password_reset_code",
        lambda: (visitor(), make_person().email),
        may_choose_a_password,
        choose_a_password,
    ),
    "proof": Kind(
        "accounts:reauthenticate-by-code",
        "accounts:reauthenticate-by-code",
        lambda: (signed_in(make_person(None)), ""),
        has_proved_it,
        grow_old,
    ),
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


@every_kind
@pytest.mark.asvs("6.6.2")
def test_the_third_try_counts_and_the_fourth_does_not(kind: Kind):
    for wrong_ones, expected in ((2, True), (3, False)):
        client, email = kind.make()
        code = kind.ask(client, email)
        for _ in range(wrong_ones):
            assert not kind.answer(client, wrong(code))

        assert kind.answer(client, code) is expected


@every_kind
@pytest.mark.asvs("6.5.5")
def test_a_mailed_code_lives_ten_minutes(kind: Kind):
    for seconds, expected in ((599, True), (601, False)):
        with time_machine.travel(NOW, tick=False) as clock:
            client, email = kind.make()
            code = kind.ask(client, email)
            clock.shift(timedelta(seconds=seconds))

            assert kind.answer(client, code) is expected


@every_kind
@pytest.mark.asvs("6.6.2")
def test_a_mailed_code_is_for_the_session_that_asked(kind: Kind):
    client, email = kind.make()
    code = kind.ask(client, email)
    stranger, other_email = kind.make()

    assert not kind.answer(stranger, code), "who asked for nothing"
    if kind.ask(stranger, other_email) != code:
        assert not kind.answer(stranger, code), "who asked for another"
    assert kind.answer(client, code)


@every_kind
@pytest.mark.asvs("6.5.1")
def test_a_mailed_code_works_once(kind: Kind):
    client, email = kind.make()
    code = kind.ask(client, email)
    assert kind.answer(client, code)
    kind.again(client)

    assert not kind.answer(client, code)
    if kind.ask(client, email) != code:
        assert not kind.answer(client, code), "instead of the next one"


@every_kind
def test_the_newest_code_is_the_one_that_counts(kind: Kind):
    client, email = kind.make()
    former = kind.ask(client, email)
    newest = kind.ask(client, email)

    assert former == newest or not kind.answer(client, former)
    assert kind.answer(client, newest)
