"""Signing in with GitHub: only where it is configured, and an account is found by an address that both have proved."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from allauth.socialaccount.models import SocialAccount, SocialToken
from allauth.socialaccount.providers.github.views import GitHubOAuth2Adapter
from django.test import Client
from django.urls import reverse

from accounts.models import Membership, Organization, User
from accounts.services.erasure import erase_person
from portal.lib.tenancy import as_platform
from tests.browser import session_of
from tests.doubles.github import GitHub, running_github
from tests.factories.accounts import lock_behind_sso, make_domain, make_membership, make_organization, make_user

pytestmark = pytest.mark.django_db

PROVED = {"email": "ada@acme.example", "verified": True, "primary": True}


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHub]:
    with running_github() as running:
        running.emails = [PROVED]
        for name, path in (("access_token_url", "/token"), ("profile_url", "/user"), ("emails_url", "/user/emails")):
            monkeypatch.setattr(GitHubOAuth2Adapter, name, running.url + path)
        yield running


def make_person(email: str, *, verified: bool = True, password: str | None = None) -> User:
    user = make_user(email, password)
    EmailAddress.objects.create(user=user, email=email, verified=verified, primary=True)
    return user


def sign_in(client: Client) -> Any:
    page = client.post(reverse("accounts:social-begin", args=["github"]))
    assert page.status_code == 200
    [address] = re.findall(r'url=(https://github.com/[^"]+)"', page.content.decode())
    asked = {name: values[0] for name, values in parse_qs(urlsplit(address.replace("&amp;", "&")).query).items()}
    assert asked["code_challenge_method"] == "S256"
    return client.get(reverse("github_callback"), {"code": "a-code", "state": asked["state"]})


def user_of(client: Client) -> str | None:
    signed_in: str | None = client.session.get("_auth_user_id")
    return signed_in


def test_who_is_new_starts_with_an_organization_of_their_own(client: Client, github: GitHub):
    sign_in(client)

    user = User.objects.get()
    assert (user.email, user_of(client)) == ("ada@acme.example", str(user.pk))
    assert EmailAddress.objects.get().verified
    assert Membership.objects.get(user=user).organization.name == "Acme"
    assert github.exchanges[0]["client_secret"] == "github-secret"
    assert "code_verifier" in github.exchanges[0]
    assert not SocialToken.objects.exists()


def test_an_address_that_both_have_proved_leads_to_the_account(client: Client, github: GitHub):
    ada = make_person("ada@acme.example", password="a password that stays")

    sign_in(client)

    ada.refresh_from_db()
    assert user_of(client) == str(ada.pk)
    assert ada.has_usable_password()
    assert SocialAccount.objects.get().user == ada
    github.emails = [{**PROVED, "email": "new@elsewhere.example"}]
    again = Client()
    sign_in(again)
    assert user_of(again) == str(ada.pk)


def test_an_address_that_nobody_has_proved_there_leads_to_no_account(client: Client, github: GitHub):
    make_person("ada@acme.example")
    github.emails = [{**PROVED, "verified": False}]

    sign_in(client)

    assert user_of(client) is None
    assert not SocialAccount.objects.exists()


def test_who_signed_up_with_it_and_never_proved_it_does_not_get_in_any_more(client: Client, github: GitHub):
    squatter = make_person("ada@acme.example", verified=False, password="the squatter's password")

    sign_in(client)

    squatter.refresh_from_db()
    assert not squatter.has_usable_password()


def test_a_second_factor_is_asked_for_all_the_same(client: Client, github: GitHub):
    TOTP.activate(make_person("ada@acme.example"), generate_totp_secret())

    assert sign_in(client)["Location"] == reverse("mfa_authenticate")
    assert user_of(client) is None


def test_it_does_not_stand_for_the_single_sign_on_that_an_organization_requires(client: Client, github: GitHub):
    owner = make_membership(make_organization("Acme"), make_person("ada@acme.example"))
    make_domain(owner.organization, "acme.example")
    lock_behind_sso(owner)

    sign_in(client)

    assert user_of(client) == str(owner.user_id)
    assert client.get(reverse("accounts:member-list", args=[owner.organization.slug])).status_code == 403


def test_a_state_of_another_browser_opens_nothing(client: Client, github: GitHub):
    answer = client.get(reverse("github_callback"), {"code": "a-code", "state": "made-up"})

    assert answer.status_code in (200, 401, 403)
    assert user_of(client) is None
    assert not github.exchanges


def test_who_is_signed_in_ties_another_account_to_theirs_and_takes_it_off_again(
    client: Client, github: GitHub, settings: Any
):
    ada = make_person("ada@home.example", password="a password that stays")
    client.force_login(ada, backend="allauth.account.auth_backends.AuthenticationBackend")
    asked = client.post(reverse("accounts:social-begin", args=["github"]))
    assert asked.status_code == 302, "an old sign-in is asked for a proof first"
    client.cookies[settings.SESSION_COOKIE_NAME] = session_of(ada)

    sign_in(client)

    tied = SocialAccount.objects.get()
    assert tied.user == ada
    page = client.get(reverse("socialaccount_connections")).content.decode()
    assert "Remove" in page
    client.post(reverse("socialaccount_connections"), {"account": str(tied.pk)})
    assert not SocialAccount.objects.exists()


def test_nothing_of_it_is_there_where_it_is_not_configured(client: Client, settings: Any):
    page = client.get(reverse("account_login")).content.decode()
    assert "Continue with GitHub" in page
    assert "Continue with Google" in page

    settings.SOCIALACCOUNT_PROVIDERS = {}

    assert "Continue with" not in client.get(reverse("account_login")).content.decode()
    assert client.post(reverse("accounts:social-begin", args=["github"])).status_code == 404


def test_an_erased_person_leaves_no_account_elsewhere(client: Client, github: GitHub):
    sign_in(client)
    Organization.objects.update(closes_at=datetime.now(UTC), closed_at=datetime.now(UTC))

    with as_platform():
        erase_person(user=User.objects.get(), now=datetime.now(UTC))

    assert not SocialAccount.objects.exists()
