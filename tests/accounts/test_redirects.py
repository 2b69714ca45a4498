"""Where people are sent: `next` stays here, mails name the configured address, no other site posts (N15, N16)."""

import os
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, generate_totp_secret, hotp_value
from django.conf import settings
from django.core import mail
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from accounts.models import Membership, Role
from tests.accounts import test_saml, test_social, test_sso
from tests.accounts.test_social import github  # noqa: F401  # a fixture
from tests.documents import Document
from tests.doubles.identity_provider import Provider, running_provider
from tests.doubles.saml_provider import SamlProvider
from tests.factories.accounts import make_domain, make_membership, make_organization
from tests.policy import POLICY, Audience
from tests.routes import ROUTES, Route, name_of
from tests.test_tenancy import UNSAFE
from tests.visits import PASSWORD, make_person, signed_in, visitor
from tests.world import World

# Each leads elsewhere in some browser, or would if it were put into an address without care.
ELSEWHERE = [
    "https://evil.example/",
    "http://evil.example",
    "//evil.example",
    "///evil.example",
    "////evil.example/%2e%2e",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "\t//evil.example",
    " https://evil.example",
    "https:evil.example",
    "https:///evil.example",
    "https://testserver@evil.example",
    "https://testserver.evil.example",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)//testserver",
    "data:text/html,hello",
    "https://evil.example\\@testserver",
    "/\x00/evil.example",
]
# Where the whole way through a provider goes with each.
SOME = ELSEWHERE if os.environ.get("PROVE") else ELSEWHERE[::4]


def stays(address: str) -> bool:
    """Whether a browser that is at the portal stays there, as a strict and as a lenient one read the address."""
    plain = re.sub(r"[\x00-\x20]", "", address).replace("\\", "/")
    parts = urlsplit(plain)
    return parts.scheme in ("", "http", "https") and parts.netloc in ("", "testserver") and not plain.startswith("//")


def links_of(page: str) -> list[str]:
    names = ("href", "action", "src", "formaction", "hx-get", "hx-post")
    return [each.get(name) or "" for each in Document(page).root.iter() for name in names if each.get(name)]


def sign_in(to: str) -> list[Any]:
    client, user = visitor(), make_person()
    page = client.get(reverse("account_login"), {"next": to})
    form = {"login": user.email, "password": PASSWORD, "next": to}
    return [page, client.post(reverse("account_login"), form)]


def sign_in_by_code(to: str) -> list[Any]:
    client, user = visitor(), make_person()
    page = client.get(reverse("account_request_login_code"), {"next": to})
    asked = client.post(reverse("account_request_login_code"), {"email": user.email, "next": to})
    form = {"code": newest_code(), "next": to}
    return [page, asked, client.post(reverse("account_confirm_login_code"), form)]


def sign_up(to: str) -> list[Any]:
    client = visitor()
    page = client.get(reverse("account_signup"), {"next": to})
    asked = client.post(reverse("account_signup"), {"email": "newcomer@example.com", "next": to})
    return [page, asked, client.post(reverse("account_email_verification_sent"), {"code": newest_code(), "next": to})]


def sign_out(to: str) -> list[Any]:
    client = signed_in(make_person())
    return [client.get(reverse("account_logout"), {"next": to}), client.post(reverse("account_logout"), {"next": to})]


def prove_again(to: str) -> list[Any]:
    client = signed_in(make_person())
    page = client.get(reverse("account_reauthenticate"), {"next": to})
    return [page, client.post(reverse("account_reauthenticate"), {"password": PASSWORD, "next": to})]


def prove_again_by_code(to: str) -> list[Any]:
    client, address = signed_in(make_person(None)), reverse("accounts:reauthenticate-by-code")
    page = client.get(address, {"next": to})
    asked = client.post(address, {"next": to})
    return [page, asked, client.post(address, {"code": newest_code(), "next": to})]


def change_password(to: str) -> list[Any]:
    client = signed_in(make_person())
    form = {"oldpassword": PASSWORD, "password1": "another long password", "password2": "another long password"}
    return [client.post(reverse("account_change_password"), form | {"next": to})]


def with_second_factor(to: str) -> list[Any]:
    user, seed, client = make_person(), generate_totp_secret(), visitor()
    TOTP.activate(user, seed)
    form = {"login": user.email, "password": PASSWORD, "next": to}
    asked = client.post(reverse("account_login"), form)
    page = client.get(reverse("mfa_authenticate"), {"next": to})
    code = format_hotp_value(hotp_value(seed, int(time.time()) // 30))
    sent = client.post(f"{reverse('mfa_authenticate')}?{urlencode({'next': to})}", {"code": code, "next": to})
    assert "_auth_user_id" in client.session
    return [asked, page, sent]


def with_second_factor_as_proof(to: str) -> list[Any]:
    user, seed = make_person(), generate_totp_secret()
    TOTP.activate(user, seed)
    client, address = signed_in(user), reverse("mfa_reauthenticate")
    code = format_hotp_value(hotp_value(seed, int(time.time()) // 30))
    return [client.get(address, {"next": to}), client.post(address, {"code": code, "next": to})]


def newest_code() -> str:
    [code] = re.findall(r"\b\d{6}\b", str(mail.outbox[-1].body))
    return str(code)


@pytest.mark.django_db
@pytest.mark.parametrize("to", ELSEWHERE, ids=ascii)
@pytest.mark.parametrize(
    "go",
    [
        sign_in,
        sign_in_by_code,
        sign_up,
        sign_out,
        prove_again,
        prove_again_by_code,
        change_password,
        with_second_factor,
        with_second_factor_as_proof,
    ],
    ids=lambda go: go.__name__,
)
@pytest.mark.asvs("3.7.2")
def test_nobody_is_sent_elsewhere(go: Callable[[str], list[Any]], to: str):
    for answer in go(to):
        assert answer.status_code in (200, 302), answer.status_code
        assert stays(answer.get("Location", "")), answer["Location"]
        found = links_of(answer.content.decode()) if answer.status_code == 200 else []
        assert [link for link in found if not stays(link)] == []


@pytest.mark.django_db
def test_people_are_sent_where_they_were_going():
    to = reverse("accounts:organization-list")

    assert [sign_in(to)[-1]["Location"], prove_again(to)[-1]["Location"]] == [to, to]


# --- By somebody else's page ----------------------------------------------------------------------


@pytest.fixture
def acme(db: None) -> Membership:
    """An owner of an organization whose people come through a provider."""
    organization = make_organization("Acme")
    make_domain(organization, "acme.example")
    return make_membership(organization, make_person())


def by_openid_connect(provider: Provider, acme: Membership, to: str) -> list[Any]:
    client = Client()
    page = client.get(reverse("accounts:sso-organization", args=[acme.organization.slug]), {"next": to})
    back = test_sso.sign_in(client, provider, acme.organization, next=to)
    assert "_auth_user_id" in client.session
    return [page, back]


def by_address(provider: Provider, acme: Membership, to: str) -> list[Any]:
    client, address = Client(), reverse("accounts:sso-entry")
    page = client.get(address, {"next": to})
    left = client.post(f"{address}?{urlencode({'next': to})}", {"email": "ada@acme.example", "next": to})
    [out] = re.findall(r'http-equiv="refresh" content="0;url=([^"]+)"', left.content.decode())
    assert out.startswith(f"{provider.issuer}/authorize?")
    back = test_sso.come_back(client, acme.organization, provider.answer_for(out.replace("&amp;", "&")))
    assert "_auth_user_id" in client.session
    return [page, back]


def by_saml(provider: SamlProvider, acme: Membership, to: str) -> list[Any]:
    """`next`, and a RelayState that says where to go, as some providers let people choose it."""
    client, other = Client(), Client()
    back = test_saml.sign_in(client, provider, acme.organization, next=to)
    assert "_auth_user_id" in client.session
    brought = provider.answer_for(test_sso.begin(other, acme.organization))
    posted = test_saml.post(acme.organization, brought | {"RelayState": to})
    refused = other.get(posted["Location"])
    assert "_auth_user_id" not in other.session
    return [back, posted, refused]


def assert_all_stay(answers: list[Any]) -> None:
    for answer in answers:
        assert answer.status_code in (200, 302, 303, 403), answer.status_code
        assert stays(answer.get("Location", "")), answer["Location"]
        found = links_of(answer.content.decode()) if answer.status_code in (200, 403) else []
        assert [link for link in found if not stays(link)] == []


@pytest.mark.parametrize("go", [by_openid_connect, by_address], ids=lambda go: go.__name__)
@pytest.mark.asvs("3.7.2")
def test_nobody_is_sent_elsewhere_after_single_sign_on(
    go: Callable[[Provider, Membership, str], list[Any]], acme: Membership
):
    with running_provider() as provider:
        test_sso.set_up(provider, acme)
        for to in SOME:
            cache.clear()  # Sign-ins of one address are limited.
            assert_all_stay(go(provider, acme, to))


@pytest.mark.asvs("3.7.2")
def test_nobody_is_sent_elsewhere_after_single_sign_on_by_saml(acme: Membership):
    provider = SamlProvider()
    test_saml.set_up(provider, acme)
    for to in SOME:
        cache.clear()
        assert_all_stay(by_saml(provider, acme, to))


@pytest.mark.django_db
@pytest.mark.usefixtures("github")
@pytest.mark.parametrize("to", ELSEWHERE, ids=ascii)
@pytest.mark.asvs("3.7.2")
def test_nobody_is_sent_elsewhere_after_a_sign_in_with_github(to: str, client: Client):
    user = test_social.make_person("ada@acme.example")
    begin = reverse("accounts:social-begin", args=["github"])

    page = client.post(f"{begin}?{urlencode({'next': to})}", {"next": to})
    [out] = re.findall(r'url=(https://github.com/[^"]+)"', page.content.decode())
    [state] = parse_qs(urlsplit(out.replace("&amp;", "&")).query)["state"]
    back = client.get(reverse("github_callback"), {"code": "a-code", "state": state, "next": to})

    assert client.session["_auth_user_id"] == str(user.pk)
    assert stays(back["Location"]), back["Location"]


# --- Mails ---------------------------------------------------------------------------------------

MAILED: dict[str, Callable[..., Any]] = {
    "sign-up": lambda **headers: visitor().post(
        reverse("account_signup"), {"email": "newcomer@example.com"}, headers=headers
    ),
    "sign-up of a known address": lambda **headers: visitor().post(
        reverse("account_signup"), {"email": make_person().email}, headers=headers
    ),
    "code": lambda **headers: visitor().post(
        reverse("account_request_login_code"), {"email": make_person().email}, headers=headers
    ),
    "code for nobody": lambda **headers: visitor().post(
        reverse("account_request_login_code"), {"email": "nobody@example.com"}, headers=headers
    ),
    "reset": lambda **headers: visitor().post(
        reverse("account_reset_password"), {"email": make_person().email}, headers=headers
    ),
    "reset for nobody": lambda **headers: visitor().post(
        reverse("account_reset_password"), {"email": "nobody@example.com"}, headers=headers
    ),
}


@pytest.mark.django_db
@pytest.mark.parametrize("kind", MAILED)
def test_mails_name_the_configured_address_whatever_a_request_says(kind: str, django_capture_on_commit_callbacks: Any):
    # All that is let in under another name: our own of the machine, and what proxies write.
    with django_capture_on_commit_callbacks(execute=True):
        answer = MAILED[kind](host="localhost", x_forwarded_host="evil.example", x_forwarded_server="evil.example")

    assert answer.status_code in (200, 302)
    [sent] = mail.outbox
    links = re.findall(r"https?://[^\s\"<>)]+", str(sent.body))
    assert [link for link in links if not link.startswith(f"{settings.PORTAL_URL}/")] == []
    assert "evil.example" not in f"{sent.subject}{sent.body}"


@pytest.mark.django_db
@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "localhost@evil.example", "evil.example:80"]
)
@pytest.mark.asvs("4.1.1")
def test_another_host_name_is_refused(host: str):
    answer = Client(raise_request_exception=False).post(
        reverse("account_reset_password"), {"email": make_person().email}, headers={"host": host}
    )

    assert answer.status_code == 400
    assert not mail.outbox


# --- Other sites ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if route.name in POLICY and not route.is_of_programs], ids=name_of
)
@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
@pytest.mark.asvs("3.5.1")
def test_another_origin_changes_nothing_even_with_the_right_token(route: Route, origin: str, world: World):
    if route.rule.who is Audience.SIGNED:
        pytest.skip("checks a signature instead")
    if route.rule.who is Audience.BROWSER:
        pytest.skip("browsers report there by themselves; it changes nothing: test_browser_reports.py")
    client = world.client(world.members[Role.OWNER], enforce_csrf=True)
    token = client.get(reverse("accounts:organization-list")).context["csrf_token"]
    before = world.checksum(world.ours)
    headers = {"origin": origin, "x-csrftoken": str(token)}
    address = route.address(world.ours.slug, world.objects)
    for method in UNSAFE:
        assert client.generic(method, address, headers=headers).status_code == 403, method
    assert world.checksum(world.ours) == before
