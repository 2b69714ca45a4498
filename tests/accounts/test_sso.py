"""Single sign-on: who is let in by what a provider says, and every way in which it may lie (security N13).

Against a provider that answers over HTTP; a real one is in test_sso_real_provider.py.
"""

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
import time_machine
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from django.core import mail
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent, Domain, Membership, Organization, Role, SsoConnection, SsoIdentity, User
from accounts.services.members import remove_member
from accounts.services.notices import mail_notices
from accounts.services.sso_connections import UnableToSetUpSso, set_up_sso
from portal.lib.tenancy import as_platform
from tests.doubles.identity_provider import Claims, Provider, new_key, public_jwk, running_provider
from tests.factories.accounts import make_domain, make_membership, make_organization, make_user

pytestmark = pytest.mark.django_db

NOW = datetime.now(UTC)


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running_provider() as running:
        yield running


@pytest.fixture
def organization() -> Organization:
    return make_organization("Acme")


@pytest.fixture
def owner(organization: Organization) -> Membership:
    make_domain(organization, "acme.example")
    return make_membership(organization, make_person("olga@acme.example"))


@pytest.fixture
def connection(provider: Provider, owner: Membership) -> SsoConnection:
    return set_up(provider, owner)


def set_up(provider: Provider, by: Membership, **more: Any) -> SsoConnection:
    return set_up_sso(
        issuer=more.pop("issuer", provider.issuer),
        client_id=more.pop("client_id", provider.client_id),
        client_secret=more.pop("client_secret", provider.client_secret),
        default_role=more.pop("default_role", Role.DEVELOPER),
        by=by,
        now=NOW,
    )


def make_person(email: str, *, verified: bool = True, password: str | None = None) -> User:
    user = make_user(email, password)
    EmailAddress.objects.create(user=user, email=email, verified=verified, primary=True)
    return user


def begin(client: Client, organization: Organization, **form: str) -> str:
    """Press the button and return the provider's address that the page leads to."""
    page = client.post(reverse("accounts:sso-organization", args=[organization.slug]), form)
    assert page.status_code == 200, page.content.decode()
    [address] = re.findall(r'http-equiv="refresh" content="0;url=([^"]+)"', page.content.decode())
    return str(address).replace("&amp;", "&")


def come_back(client: Client, organization: Organization, brought: dict[str, str]) -> Any:
    return client.get(reverse("accounts:sso-callback", args=[organization.slug]), brought)


def sign_in(client: Client, provider: Provider, organization: Organization, **form: str) -> Any:
    return come_back(client, organization, provider.answer_for(begin(client, organization, **form)))


def user_of(client: Client) -> str | None:
    signed_in: str | None = client.session.get("_auth_user_id")
    return signed_in


def assert_refused(client: Client, answer: Any) -> None:
    assert answer.status_code == 403
    assert "Not signed in" in answer.content.decode()
    assert user_of(client) is None
    assert not SsoIdentity.objects.exists()
    assert set(User.objects.values_list("email", flat=True)) == {"olga@acme.example"}


def actions() -> list[str]:
    return list(AuditEvent.objects.order_by("sequence").values_list("action", flat=True))


# --- Let in --------------------------------------------------------------------------------------


def test_who_is_new_becomes_a_member_with_the_default_role(
    client: Client, provider: Provider, organization: Organization, connection: SsoConnection
):
    answer = sign_in(client, provider, organization)

    assert answer.status_code == 302
    assert answer["Location"].startswith(f"/o/{organization.slug}/")
    member = Membership.objects.get(user__email="ada@acme.example")
    assert member.role == Role.DEVELOPER
    assert user_of(client) == str(member.user_id)
    assert not member.user.has_usable_password()
    assert EmailAddress.objects.get(user=member.user).verified
    assert Membership.objects.filter(user=member.user).count() == 1
    entry = AuditEvent.objects.latest("sequence")
    assert (entry.action, entry.actor_id, entry.target_id) == (
        "sso.member_made",
        member.user.public_id,
        member.public_id,
    )
    assert entry.origin_id
    assert entry.request_id
    assert "ada@" not in entry.changes
    with as_platform():
        mail_notices(now=datetime.now(UTC))
    assert [message.to for message in mail.outbox] == [["olga@acme.example"]]


@pytest.mark.asvs("10.5.2")
def test_the_second_time_the_name_at_the_provider_counts_and_not_the_address(
    client: Client, provider: Provider, organization: Organization, connection: SsoConnection
):
    sign_in(client, provider, organization)
    ada = Membership.objects.get(user__email="ada@acme.example")
    provider.person["email"] = "ada.lovelace@acme.example"

    again = Client()
    sign_in(again, provider, organization)

    assert user_of(again) == str(ada.user_id)
    assert actions()[-2:] == ["sso.member_made", "sso.signed_in"]
    # Her former address was given to somebody else.
    provider.person = {"sub": "u-2", "email": "ada@acme.example", "email_verified": True}
    other = Client()
    refused = sign_in(other, provider, organization)
    assert "knew you by another name" in refused.content.decode()
    assert user_of(other) is None


def test_a_member_with_a_proved_address_is_linked(
    client: Client, provider: Provider, organization: Organization, connection: SsoConnection, owner: Membership
):
    provider.person["email"] = "OLGA@acme.example"

    sign_in(client, provider, organization)

    assert user_of(client) == str(owner.user_id)
    assert Membership.objects.get(pk=owner.pk).role == Role.OWNER
    assert SsoIdentity.objects.get().membership == owner
    assert actions()[-1] == "sso.linked"


def test_the_address_typed_on_the_sign_in_page_leads_to_the_provider(
    client: Client, provider: Provider, organization: Organization, connection: SsoConnection
):
    assert reverse("accounts:sso-entry") in client.get(reverse("account_login")).content.decode()

    for email in ("ada@elsewhere.example", "ada@gmail.com", "ada@sub.acme.example"):
        refused = client.post(reverse("accounts:sso-entry"), {"email": email})
        assert refused.status_code == 422
        assert "No organization has set up single sign-on" in refused.content.decode()
    page = client.post(reverse("accounts:sso-entry"), {"email": "Ada@ACME.example"}).content.decode()

    [address] = re.findall(r'url=(http[^"]+)"', page)
    assert "login_hint=Ada%40ACME.example" in address
    assert come_back(client, organization, provider.answer_for(address.replace("&amp;", "&"))).status_code == 302


def test_people_come_back_to_the_page_they_wanted_and_to_no_other_place(
    client: Client, provider: Provider, organization: Organization, connection: SsoConnection
):
    inside = f"/o/{organization.slug}/members/"
    assert sign_in(client, provider, organization, next=inside)["Location"] == inside
    for outside in (
        "https://evil.example/",
        "//evil.example",
        f"/o/{organization.slug}x/",
        "/o/other/",
        "javascript:1",
    ):
        answer = sign_in(client, provider, organization, next=outside)
        assert answer["Location"] in (f"/o/{organization.slug}/", f"/o/{organization.slug}/keys/")


def test_an_address_in_the_userinfo_does_and_a_doubted_one_does_not(
    client: Client, provider: Provider, organization: Organization, connection: SsoConnection
):
    provider.person = {"sub": "u-1"}
    provider.userinfo = {"sub": "u-2", "email": "ada@acme.example"}
    assert "two different people" in sign_in(client, provider, organization).content.decode()
    provider.userinfo = {"sub": "u-1", "email": "ada@acme.example", "email_verified": False}
    assert "no e-mail address that it has verified" in sign_in(client, provider, organization).content.decode()
    provider.userinfo = {"sub": "u-1", "email": "ada@acme.example"}
    assert sign_in(client, provider, organization).status_code == 302


def test_the_secret_goes_in_the_form_where_the_provider_wants_it_there(
    client: Client, provider: Provider, organization: Organization, connection: SsoConnection
):
    provider.discovery = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}

    assert sign_in(client, provider, organization).status_code == 302


def test_a_second_factor_is_asked_for_all_the_same(
    client: Client, provider: Provider, organization: Organization, connection: SsoConnection, owner: Membership
):
    TOTP.activate(owner.user, generate_totp_secret())
    provider.person["email"] = owner.user.email

    answer = sign_in(client, provider, organization)

    assert answer["Location"] == reverse("mfa_authenticate")
    assert user_of(client) is None


def test_whoever_was_signed_in_before_leaves_nothing_behind(
    client: Client, provider: Provider, organization: Organization, connection: SsoConnection
):
    other = make_person("other@elsewhere.example")
    client.force_login(other, backend="allauth.account.auth_backends.AuthenticationBackend")
    address = begin(client, organization)
    session = client.session
    session["left"] = "behind"
    session.save()

    come_back(client, organization, provider.answer_for(address))

    assert user_of(client) == str(User.objects.get(email="ada@acme.example").pk)
    assert "left" not in client.session


def test_who_never_proved_the_address_loses_the_account_to_who_does(
    client: Client, provider: Provider, organization: Organization, connection: SsoConnection
):
    squatter = make_person("ada@acme.example", verified=False, password="the squatter's password")
    TOTP.activate(squatter, generate_totp_secret())

    sign_in(client, provider, organization)

    squatter.refresh_from_db()
    assert user_of(client) == str(squatter.pk)
    assert not squatter.has_usable_password()
    assert not Authenticator.objects.filter(user=squatter).exists()


def test_a_removed_member_is_out_and_comes_back_as_little_as_anybody_new(
    client: Client, provider: Provider, organization: Organization, connection: SsoConnection, owner: Membership
):
    sign_in(client, provider, organization)
    ada = Membership.objects.get(user__email="ada@acme.example")
    Membership.objects.filter(pk=ada.pk).update(role=Role.ADMIN)

    remove_member(membership=ada, by=owner, now=NOW)
    assert not SsoIdentity.objects.exists()
    assert client.get(f"/o/{organization.slug}/members/").status_code == 404

    sign_in(client, provider, organization)
    assert Membership.objects.get(user=ada.user).role == Role.DEVELOPER


# --- Refused: what the provider says ---------------------------------------------------------------


def unsigned(provider: Provider, claims: Claims) -> str:
    return f"{part({'alg': 'none', 'kid': 'k1', 'typ': 'JWT'})}.{part(claims)}."


def unsigned_in_capitals(provider: Provider, claims: Claims) -> str:
    return f"{part({'alg': 'nOnE', 'kid': 'k1'})}.{part(claims)}."


def part(content: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def without_signature(provider: Provider, claims: Claims) -> str:
    return provider.signed(claims).rpartition(".")[0] + "."


def by_the_public_key_as_a_secret(provider: Provider, claims: Claims) -> str:
    pem = provider.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    # By hand: the library refuses to sign like this.
    head = f"{part({'alg': 'HS256', 'kid': 'k1', 'typ': 'JWT'})}.{part(claims)}"
    signature = hmac.new(pem, head.encode(), hashlib.sha256).digest()
    return f"{head}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def by_a_published_secret(provider: Provider, claims: Claims) -> str:
    secret = b"s" * 32
    provider.keys = [{"kty": "oct", "kid": "k2", "k": base64.urlsafe_b64encode(secret).rstrip(b"=").decode()}]
    return jwt.encode(claims, secret, algorithm="HS256", headers={"kid": "k2"})


def by_the_client_secret(provider: Provider, claims: Claims) -> str:
    key = provider.client_secret.encode().ljust(32, b"0")
    return jwt.encode(claims, key, algorithm="HS256", headers={"kid": "k1"})


def by_another_key(provider: Provider, claims: Claims) -> str:
    return jwt.encode(claims, new_key(), algorithm="RS256", headers={"kid": "k1"})


def by_a_key_it_brings_along(provider: Provider, claims: Claims) -> str:
    own = new_key()
    headers = {"kid": "k9", "jwk": public_jwk(own, "k9"), "jku": f"{provider.issuer}/other", "x5u": "https://x.example"}
    return jwt.encode(claims, own, algorithm="RS256", headers=headers)


def by_a_key_for_encryption(provider: Provider, claims: Claims) -> str:
    provider.keys = [{**public_jwk(provider.key, "k1"), "use": "enc"}]
    return provider.signed(claims)


def by_a_short_key(provider: Provider, claims: Claims) -> str:
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505  # that is the point
    provider.keys = [public_jwk(short, "k1")]
    head = f"{part({'alg': 'RS256', 'kid': 'k1'})}.{part(claims)}"
    signature = short.sign(head.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{head}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def changed_after_signing(provider: Provider, claims: Claims) -> str:
    head, _, signature = provider.signed(claims).split(".")
    return f"{head}.{part({**claims, 'sub': 'boss'})}.{signature}"


def no_token_at_all(provider: Provider, claims: Claims) -> str:
    return "not.a.token"


def nothing(provider: Provider, claims: Claims) -> str:
    return ""


@pytest.mark.asvs("9.1.2")
@pytest.mark.parametrize(
    "forge",
    [
        *(unsigned, unsigned_in_capitals, without_signature, by_the_public_key_as_a_secret, by_a_published_secret),
        *(by_the_client_secret, by_another_key, by_a_key_it_brings_along, by_a_key_for_encryption, by_a_short_key),
        *(changed_after_signing, no_token_at_all, nothing),
    ],
)
@pytest.mark.asvs("9.1.1")
@pytest.mark.asvs("9.1.2")
def test_a_token_that_the_provider_did_not_sign_as_it_must_opens_nothing(
    client: Client, provider: Provider, organization: Organization, connection: SsoConnection, forge: Callable[..., str]
):
    provider.sign = forge

    assert_refused(client, sign_in(client, provider, organization))


def set_to(**values: Any) -> Callable[[Claims], Claims]:
    """Return what changes claims so: None takes one out, a span is that far from now."""

    def change(claims: Claims) -> Claims:
        spans = {name: int(time.time() + span.total_seconds()) for name, span in values.items() if is_span(span)}
        return {name: value for name, value in {**claims, **values, **spans}.items() if value is not None}

    return change


def is_span(value: object) -> bool:
    return isinstance(value, timedelta)


@pytest.mark.asvs("10.5.1")
@pytest.mark.parametrize(
    "values",
    [
        {"iss": "https://evil.example"},
        {"iss": None},
        {"aud": "another-program"},
        {"aud": ["portal", "another-program"]},
        {"aud": ["portal", "another-program"], "azp": "another-program"},
        {"azp": "another-program"},
        {"aud": None},
        {"nonce": "another"},
        {"nonce": None},
        {"exp": timedelta(minutes=-2)},
        {"exp": None},
        {"exp": "never"},
        {"iat": timedelta(minutes=10)},
        {"iat": None},
        {"nbf": timedelta(minutes=10)},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": "x" * 256},
        {"sub": "a\nb"},
        {"sub": "\ud800"},
        {"nonce": "\ud800"},
        {"email": None},
        {"email": ["ada@acme.example"]},
        {"email": "ada@acme.example, boss@acme.example"},
        {"email": "a\x00da@acme.example"},
        {"email": "acme.example"},
        {"email": "ada@elsewhere.example"},
        {"email": "ada@sub.acme.example"},
        {"email": "ada@acme.example@elsewhere.example"},
        {"email": "olga@acme.example", "email_verified": False},
        {"email": "olga@acme.example", "email_verified": "false"},
    ],
    ids=str,
)
@pytest.mark.asvs("9.2.1")
@pytest.mark.asvs("9.2.3")
@pytest.mark.asvs("10.5.4")
def test_a_token_that_says_something_else_than_it_must_opens_nothing(
    client: Client, provider: Provider, organization: Organization, connection: SsoConnection, values: dict[str, Any]
):
    provider.change = set_to(**values)

    assert_refused(client, sign_in(client, provider, organization))


def test_a_domain_that_is_not_verified_any_more_opens_nothing_even_for_who_is_known(
    client: Client, provider: Provider, organization: Organization, connection: SsoConnection
):
    sign_in(client, provider, organization)
    Domain.objects.update(verified_at=None)

    again = Client()
    answer = sign_in(again, provider, organization)

    assert answer.status_code == 403
    assert user_of(again) is None


def test_another_organizations_domain_is_not_the_providers_to_speak_for(
    client: Client, provider: Provider, connection: SsoConnection, organization: Organization
):
    other = make_organization("Other")
    make_domain(other, "other.example")
    victim = make_membership(other, make_person("victim@other.example"))
    provider.person["email"] = "victim@other.example"

    answer = sign_in(client, provider, organization)

    assert answer.status_code == 403
    assert user_of(client) is None
    assert not SsoIdentity.objects.exists()
    assert Membership.objects.filter(user=victim.user).count() == 1


# --- Refused: the way there and back ---------------------------------------------------------------


@pytest.mark.asvs("10.2.1")
@pytest.mark.asvs("10.1.2")
def test_what_comes_back_works_once_in_the_browser_that_was_sent_and_for_ten_minutes(
    client: Client, provider: Provider, organization: Organization, connection: SsoConnection
):
    brought = provider.answer_for(begin(client, organization))
    assert_refused(Client(), come_back(Client(), organization, brought))
    assert_refused(client, come_back(client, organization, {**brought, "state": "made-up"}))
    assert_refused(client, come_back(client, organization, {"code": brought["code"]}))
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=601)):
        assert_refused(client, come_back(client, organization, brought))

    brought = provider.answer_for(begin(client, organization))
    assert come_back(client, organization, brought).status_code == 302
    client.post(reverse("account_logout"))
    assert come_back(client, organization, brought).status_code == 403
    assert user_of(client) is None


def test_a_code_of_another_sign_in_does_not_fit(
    client: Client, provider: Provider, organization: Organization, connection: SsoConnection
):
    """An attacker slips the code of their own sign-in to somebody: the verifier is another, and so is the nonce."""
    theirs = provider.answer_for(begin(Client(), organization))
    mine = provider.answer_for(begin(client, organization))

    assert_refused(client, come_back(client, organization, {"state": mine["state"], "code": theirs["code"]}))


def test_a_token_of_an_earlier_sign_in_is_not_taken_again(
    client: Client, provider: Provider, organization: Organization, connection: SsoConnection
):
    tokens: list[str] = []
    provider.sign = lambda running, claims: tokens.append(running.signed(claims)) or tokens[0]  # type: ignore[func-returns-value]
    sign_in(client, provider, organization)

    again = Client()
    assert sign_in(again, provider, organization).status_code == 403
    assert len(tokens) == 2
    assert user_of(again) is None


@pytest.mark.asvs("10.2.2")
def test_what_one_organizations_provider_answers_is_nothing_to_another(
    client: Client, provider: Provider, organization: Organization, connection: SsoConnection
):
    other = make_organization("Other")
    make_domain(other, "other.example")
    with running_provider() as second:
        set_up(second, make_membership(other))
        address = begin(client, other)
        assert parse_qs(urlsplit(address).query)["redirect_uri"][0].endswith(f"/sso/{other.slug}/callback/")
        brought = second.answer_for(address)

        assert_refused_without_users = come_back(client, organization, brought)

    assert assert_refused_without_users.status_code == 403
    assert user_of(client) is None


def test_an_answer_that_names_another_issuer_is_refused(
    client: Client, provider: Provider, organization: Organization, connection: SsoConnection
):
    brought = provider.answer_for(begin(client, organization))

    assert_refused(client, come_back(client, organization, {**brought, "iss": "https://evil.example"}))


def test_a_refusal_of_the_provider_is_said_in_words(
    client: Client, provider: Provider, organization: Organization, connection: SsoConnection
):
    brought = provider.answer_for(begin(client, organization))

    answer = come_back(client, organization, {"state": brought["state"], "error": "access_denied"})

    assert_refused(client, answer)
    assert "did not let you in" in answer.content.decode()


def test_a_wrong_client_secret_is_said_in_words(
    client: Client, provider: Provider, organization: Organization, connection: SsoConnection
):
    provider.client_secret = "another"

    answer = sign_in(client, provider, organization)

    assert_refused(client, answer)
    assert "the secret wrong" in answer.content.decode()


def test_a_provider_that_is_away_is_said_in_words(client: Client, organization: Organization, owner: Membership):
    with running_provider() as provider:
        set_up(provider, owner)

    answer = client.post(reverse("accounts:sso-organization", args=[organization.slug]))

    assert_refused(client, answer)
    assert "cannot be reached" in answer.content.decode()


def test_nobody_is_told_apart_where_there_is_no_single_sign_on(client: Client, organization: Organization):
    for slug in (organization.slug, "nowhere-at-all"):
        for name in ("sso-organization", "sso-callback"):
            assert client.get(reverse(f"accounts:{name}", args=[slug])).status_code == 404


@pytest.mark.parametrize("flag", ["is_staff", "is_superuser"])
def test_the_portals_own_people_are_no_customers_to_let_in(
    client: Client, provider: Provider, organization: Organization, connection: SsoConnection, flag: str
):
    for verified in (True, False):
        User.objects.filter(email="ada@acme.example").delete()
        ada = make_person("ada@acme.example", verified=verified, password="a password of theirs")
        User.objects.filter(pk=ada.pk).update(**{flag: True})

        assert "Staff of this portal" in sign_in(client, provider, organization).content.decode()
        ada.refresh_from_db()
        assert ada.has_usable_password()
        assert user_of(client) is None


def test_a_closed_account_stays_closed(
    client: Client, provider: Provider, organization: Organization, connection: SsoConnection
):
    sign_in(client, provider, organization)
    User.objects.filter(email="ada@acme.example").update(is_active=False)

    again = Client()
    assert "This account is closed" in sign_in(again, provider, organization).content.decode()
    assert user_of(again) is None


def test_an_organization_that_is_being_deleted_takes_nobody_new_in_and_a_closed_one_nobody(
    client: Client, provider: Provider, organization: Organization, connection: SsoConnection, owner: Membership
):
    Organization.objects.update(closes_at=NOW + timedelta(days=30))
    assert_refused(client, sign_in(client, provider, organization))
    provider.person["email"] = owner.user.email
    assert sign_in(client, provider, organization).status_code == 302

    Organization.objects.update(closes_at=NOW, closed_at=NOW)
    assert Client().get(reverse("accounts:sso-organization", args=[organization.slug])).status_code == 404


def test_presses_are_limited_as_any_sign_in_is(
    client: Client, provider: Provider, organization: Organization, connection: SsoConnection
):
    address = reverse("accounts:sso-organization", args=[organization.slug])

    statuses = [client.post(address).status_code for _ in range(31)]

    assert set(statuses[:30]) == {200}
    assert statuses[-1] == 429


# --- Setting it up -------------------------------------------------------------------------------


def test_the_client_secret_is_stored_sealed_and_shown_nowhere(
    client: Client, provider: Provider, connection: SsoConnection, owner: Membership
):
    stored = SsoConnection.objects.get()
    assert provider.client_secret.encode() not in bytes(stored.client_secret or b"")
    client.force_login(owner.user, backend="allauth.account.auth_backends.AuthenticationBackend")

    page = client.get(reverse("accounts:sso-settings", args=[owner.organization.slug])).content.decode()

    assert provider.issuer in page
    assert "s3cret" not in page
    assert f"/sso/{owner.organization.slug}/callback/" in page
    assert not any("s3cret" in entry.changes for entry in AuditEvent.objects.all())


def test_an_empty_secret_keeps_the_stored_one_for_the_same_provider_only(
    client: Client, provider: Provider, connection: SsoConnection, owner: Membership, organization: Organization
):
    set_up(provider, owner, client_secret="", default_role=Role.VIEWER)
    assert sign_in(client, provider, organization).status_code == 302
    assert Membership.objects.get(user__email="ada@acme.example").role == Role.VIEWER

    with pytest.raises(UnableToSetUpSso, match="Enter the client secret"):
        set_up(provider, owner, client_secret="", client_id="another")
    set_up(provider, owner, client_id="another")
    assert not SsoIdentity.objects.exists(), "another client may know other people by the same names"


def test_the_form_sets_it_up_and_the_log_says_who_did(client: Client, provider: Provider, owner: Membership):
    client.force_login(owner.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    session = client.session
    session["signed_in_at"] = time.time()
    session.save()
    address = reverse("accounts:sso-settings", args=[owner.organization.slug])
    form = {"issuer": provider.issuer, "client_id": "portal", "default_role": "viewer"}
    for wrong in (form, {**form, "client_secret": "x", "issuer": "https://10.0.0.1"}):
        assert client.post(address, wrong).status_code == 422
    assert not SsoConnection.objects.exists()

    assert client.post(address, {**form, "client_secret": provider.client_secret}).status_code == 302

    entry = AuditEvent.objects.latest("sequence")
    assert (entry.action, entry.actor_id) == ("sso.set_up", owner.user.public_id)
    assert entry.origin_id
    assert entry.request_id


@pytest.mark.parametrize(
    ("issuer", "words"),
    [
        ("https://10.0.0.1", "not a public one"),
        ("http://login.example.com", "must start with https"),
        ("https://user:word@login.example.com", "user name or password"),
        ("https://metadata", "full name of a public host"),
        ("file:///etc/passwd", "must start with https"),
    ],
)
def test_an_issuer_inside_our_own_network_is_refused(provider: Provider, owner: Membership, issuer: str, words: str):
    with pytest.raises(UnableToSetUpSso, match=words):
        set_up(provider, owner, issuer=issuer)
    assert not SsoConnection.objects.exists()


@pytest.mark.parametrize(
    ("discovery", "words"),
    [
        ({"issuer": "https://another.example"}, "calls itself"),
        ({"token_endpoint": "https://169.254.169.254/token"}, "not a public one"),
        ({"jwks_uri": "http://keys.example/"}, "must start with https"),
        ({"authorization_endpoint": "javascript:alert(1)"}, "must start with https"),
        ({"token_endpoint": None}, "something else than OpenID Connect"),
        ({"issuer": 7}, "something else than OpenID Connect"),
    ],
)
def test_a_provider_that_leads_elsewhere_is_refused(
    provider: Provider, owner: Membership, discovery: dict[str, Any], words: str
):
    provider.discovery = discovery

    with pytest.raises(UnableToSetUpSso, match=words):
        set_up(provider, owner)


def test_loopback_is_for_development(provider: Provider, owner: Membership, settings: Any):
    settings.DEVELOPMENT = False

    with pytest.raises(UnableToSetUpSso):
        set_up(provider, owner)
    assert provider.asked == []


def test_a_provider_admits_viewers_and_developers_only(provider: Provider, owner: Membership):
    for role in (Role.OWNER, Role.ADMIN, Role.BILLING):
        with pytest.raises(UnableToSetUpSso, match="viewers or developers"):
            set_up(provider, owner, default_role=role)


def test_an_admin_does_not_choose_who_says_who_an_owner_is(client: Client, organization: Organization):
    admin = make_membership(organization, make_person("adam@acme.example"), Role.ADMIN)
    client.force_login(admin.user, backend="allauth.account.auth_backends.AuthenticationBackend")

    assert client.get(reverse("accounts:sso-settings", args=[organization.slug])).status_code == 403
