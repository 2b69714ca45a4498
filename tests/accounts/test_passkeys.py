"""Passkeys: the happy path in a browser with a key of its own, and everything that a key must not be believed (N10)."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from allauth.core.context import request_context
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.core.cache import cache
from django.test import Client, RequestFactory
from django.urls import reverse

from accounts.adapter import PasskeyNameForm
from accounts.models import User
from accounts.services.passkeys import UnableToUsePasskey, count_use
from tests.browser import PortalBrowser, follow_redirects
from tests.documents import Document
from tests.own_database import SUPERUSER, OwnDatabase
from tests.soft_key import SoftKey
from tests.visits import PASSWORD, make_person, signed_in

SIGN_IN = "mfa_login_webauthn"


@pytest.fixture(autouse=True)
def as_in_production(request: pytest.FixtureRequest, settings: Any) -> None:
    """Look at the origin, which development does not: its address is plain http."""
    settings.MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = "browser" in request.fixturenames


def ask(client: Client) -> Any:
    """Return what the portal asks a key to sign, for a sign-in that says no name."""
    return json.loads(client.get(reverse(SIGN_IN), headers={"X-Requested-With": "XMLHttpRequest"}).content)[
        "request_options"
    ]


def enroll(user: User, key: SoftKey) -> Any:
    client = signed_in(user)
    credential = key.register(creation_options(client))
    form = {"name": "laptop", "passwordless": "on", "credential": credential}
    return client.post(reverse("mfa_add_webauthn"), form)


def creation_options(client: Client) -> Any:
    """Return what the portal asks a new key."""
    page = Document(client.get(reverse("mfa_add_webauthn")).content.decode())
    scripts = [each.text or "" for each in page.root.iter("script") if each.get("type") == "application/json"]
    return json.loads(scripts[0])["creation_options"]


def options_on(client: Client, page: str) -> Any:
    """Return what a page asks a key to sign."""
    scripts = Document(client.get(reverse(page)).content.decode()).root.iter("script")
    data = [json.loads(each.text or "") for each in scripts if each.get("type") == "application/json"]
    [options] = [found["request_options"] for found in data if "request_options" in found]
    return options


def answer(client: Client, credential: str) -> Any:
    return client.post(reverse(SIGN_IN), {"credential": credential})


def is_signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


@pytest.fixture
def key() -> SoftKey:
    return SoftKey()


@pytest.fixture
def ada(key: SoftKey) -> User:
    user = make_person()
    enroll(user, key)
    assert Authenticator.objects.filter(user=user, type=Authenticator.Type.WEBAUTHN).count() == 1
    return user


@pytest.mark.django_db
@pytest.mark.asvs("6.3.3")
def test_a_passkey_signs_in_without_a_name_or_a_password(ada: User, key: SoftKey):
    client = Client()

    answer(client, key.sign(ask(client)))

    assert client.session["_auth_user_id"] == str(ada.pk)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "change",
    [
        {"origin": "https://testserver.evil.example"},
        {"origin": "https://evil.example"},
        {"origin": "http://testserver"},
        {"site": "evil.example"},
        {"credential_id": b"nobody knows this credential id."},
        {"user_handle": "MA"},
    ],
    ids=lambda change: "-".join(f"{name}={value}" for name, value in change.items()),
)
@pytest.mark.asvs("6.3.3")
def test_a_key_that_signed_for_somebody_else_is_refused(ada: User, key: SoftKey, change: dict[str, Any]):
    client = Client()

    answered = answer(client, key.but(**change).sign(ask(client)))

    assert answered.status_code < 500
    assert not is_signed_in(client)


@pytest.mark.django_db
def test_another_key_cannot_sign_under_the_id_of_ours(ada: User, key: SoftKey):
    client, forged = Client(), SoftKey(credential_id=key.credential_id, user_handle=key.user_handle)

    answer(client, forged.sign(ask(client)))

    assert not is_signed_in(client)


@pytest.mark.django_db
def test_a_signature_is_worth_nothing_a_second_time(ada: User, key: SoftKey):
    client = Client()
    credential = key.sign(ask(client))
    answer(client, credential)
    client.post(reverse("account_logout"))

    answer(client, credential)
    assert not is_signed_in(client)
    ask(client)
    answer(client, credential)
    assert not is_signed_in(client), "a new question was answered with an old signature"


@pytest.mark.django_db
def test_a_signature_for_one_session_is_worth_nothing_in_another(ada: User, key: SoftKey):
    asked, other = Client(), Client()
    ask(other)

    answer(other, key.sign(ask(asked)))

    assert not is_signed_in(other)


# --- A copy of a key ------------------------------------------------------------------------------


def sign_in_with(key: SoftKey) -> Client:
    client = Client()
    answer(client, key.sign(ask(client)))
    return client


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("last", "said", "opens"),
    [
        (7, 8, True),
        (7, 5000, True),
        (7, 7, False),
        (7, 6, False),
        (7, 0, False),
        (0, 0, True),
        (0, 1, True),
        (2**32 - 1, 2**32 - 1, False),
    ],
)
def test_a_key_counts_forward_or_not_at_all(last: int, said: int, opens: bool):
    user, key = make_person(), SoftKey(uses=None)
    enroll(user, key)
    if last:
        assert is_signed_in(sign_in_with(key.but(uses=last - 1)))

    client = sign_in_with(key.but(uses=said - 1 if said else None))

    assert is_signed_in(client) is opens
    if not opens:
        page = client.get(reverse("account_login"))
        assert "may have a copy of it" in page.content.decode()
        # It is the use that is refused, not the key.
        assert said == 2**32 - 1 or is_signed_in(sign_in_with(key.but(uses=last)))


@pytest.mark.django_db
def test_the_first_use_is_held_against_what_the_key_said_when_it_was_enrolled():
    user, key = make_person(), SoftKey(uses=41)
    enroll(user, key)

    assert not is_signed_in(sign_in_with(key.but(uses=41)))
    assert is_signed_in(sign_in_with(key.but(uses=42)))


def test_of_uses_at_once_that_count_alike_one_is_let_in(own_database: OwnDatabase):
    with own_database.in_use(SUPERUSER):
        user = make_person()
        enroll(user, SoftKey())
        passkey = Authenticator.objects.get(user=user, type=Authenticator.Type.WEBAUTHN)

    def use(number: int) -> bool:
        count_use(passkey=passkey, counter=2 + number // 4)
        return True

    with own_database.in_use():
        done = own_database.in_threads(8, use)

    assert {type(result) for result in done} == {bool, UnableToUsePasskey}
    assert [done[:4].count(True), done[4:].count(True)] in ([0, 1], [1, 1])


@pytest.mark.django_db
@pytest.mark.parametrize("page", ["mfa_authenticate", "mfa_reauthenticate_webauthn"])
def test_a_copy_is_no_second_factor_and_no_proof_either(page: str, ada: User, key: SoftKey):
    assert is_signed_in(sign_in_with(key.but(uses=10)))
    client = Client() if page == "mfa_authenticate" else signed_in(ada)
    client.post(reverse("account_login"), {"login": ada.email, "password": PASSWORD})
    before = client.cookies[settings.SESSION_COOKIE_NAME].value

    client.post(reverse(page), {"credential": key.but(uses=10).sign(options_on(client, page))})
    assert client.cookies[settings.SESSION_COOKIE_NAME].value == before
    client.post(reverse(page), {"credential": key.but(uses=11).sign(options_on(client, page))})
    assert client.cookies[settings.SESSION_COOKIE_NAME].value != before


@pytest.mark.django_db
def test_a_new_name_for_a_key_leaves_what_it_has_counted(ada: User, key: SoftKey):
    read = Authenticator.objects.get(user=ada, type=Authenticator.Type.WEBAUTHN)
    request = RequestFactory().post("/")
    request.user, request.session = ada, signed_in(ada).session
    assert is_signed_in(sign_in_with(key.but(uses=10)))

    form = PasskeyNameForm({"name": "desk"}, instance=read)
    assert form.is_valid()
    with request_context(request):
        form.save()

    read.refresh_from_db()
    assert (read.wrap().name, read.data["counter"]) == ("desk", 11)


def broken(credential: str) -> Iterator[str]:
    """Yield what a program could send instead: no JSON, another shape, another value in each place that counts."""
    yield from ("", "null", "[]", "{}", '"x"', "{" * 2000, "\x00")
    whole = json.loads(credential)
    for value in ("", "é", "AAAA", None, 1, list[str]()):
        yield json.dumps({"id": value, "rawId": value, "response": {}})
        for name in ("id", "rawId", "response"):
            yield json.dumps(whole | {name: value})
        for name in whole["response"]:
            yield json.dumps(whole | {"response": whole["response"] | {name: value}})


@pytest.mark.django_db
def test_what_is_no_answer_of_a_key_signs_nobody_in(ada: User, key: SoftKey):
    client = Client(raise_request_exception=False)
    for number in range(len(list(broken(key.sign(ask(client)))))):
        # Looked at every time: guesses are counted, and a question is asked once.
        cache.clear()
        credential = list(broken(key.sign(ask(client))))[number]
        answered = answer(client, credential)

        assert answered.status_code not in (429, 500), credential[:200]
        assert not is_signed_in(client), credential[:200]

    cache.clear()
    answer(client, key.sign(ask(client)))
    assert is_signed_in(client)


@pytest.mark.django_db
def test_what_is_no_key_is_not_enrolled():
    user, key = make_person(), SoftKey()
    client = signed_in(user)
    client.raise_request_exception = False
    for number in range(len(list(broken(key.register(creation_options(client)))))):
        cache.clear()
        credential = list(broken(key.register(creation_options(client))))[number]
        answered = client.post(reverse("mfa_add_webauthn"), {"name": "laptop", "credential": credential})

        assert answered.status_code not in (429, 500), credential[:200]
        assert not Authenticator.objects.exists(), credential[:200]

    cache.clear()
    enroll(user, key)
    assert Authenticator.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("change", [{"origin": "https://evil.example"}, {"site": "evil.example"}], ids=str)
def test_a_key_of_another_site_is_not_enrolled(change: dict[str, Any]):
    user = make_person()

    enroll(user, SoftKey(**change))

    assert not Authenticator.objects.exists()


@pytest.mark.django_db
@pytest.mark.browser
@pytest.mark.asvs("6.3.3")
def test_a_browser_makes_a_passkey_and_signs_in_with_it(browser: PortalBrowser):
    user = make_person()
    page = browser.open(reverse("mfa_add_webauthn"), user=user)
    chrome = page.context.new_cdp_session(page)
    chrome.send("WebAuthn.enable")
    made = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
    made |= {"isUserVerified": True, "automaticPresenceSimulation": True}
    chrome.send("WebAuthn.addVirtualAuthenticator", {"options": made})

    page.get_by_label("Name").fill("laptop")
    page.get_by_label("Passwordless").check()
    page.locator("main form button").first.click()
    page.wait_for_url(lambda url: reverse("mfa_add_webauthn") not in url)
    follow_redirects(page)
    assert Authenticator.objects.get(user=user, type=Authenticator.Type.WEBAUTHN).wrap().name == "laptop"

    page.context.clear_cookies(name=settings.SESSION_COOKIE_NAME)
    page.goto("http://localhost" + reverse("account_login"))
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url(lambda url: reverse("account_login") not in url)
    follow_redirects(page)
    assert page.context.cookies("http://localhost")
    assert reverse("account_login") not in page.url
