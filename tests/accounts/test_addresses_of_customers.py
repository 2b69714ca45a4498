"""Each field and each document that brings an address of a customer's leads nowhere inside our network (security G1).

The same corpus as tests/portal/lib/test_outbound.py, by every way in which such an address reaches us. A canary listens
on loopback: nobody may have connected to it.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts.gateways import ProviderError, oidc
from accounts.models import AuditEndpoint, Membership, SsoConnection
from portal.lib.outbound import UnsafeAddress, read_url
from tests.accounts.test_sso import make_person
from tests.doubles.identity_provider import Provider, running_provider
from tests.doubles.receiver import Receiver, receiving
from tests.doubles.saml_provider import SamlProvider
from tests.factories.accounts import make_audit_endpoint, make_domain, make_membership, make_organization
from tests.portal.lib.test_outbound import REFUSED_AS_WRITTEN

PROVE = bool(os.environ.get("PROVE"))
OURS = oidc.Client("portal", "s3cret :%/ü", "https://portal.example/callback")


@pytest.fixture
def canary() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def corpus(canary: Receiver) -> list[str]:
    """Return the addresses to write; a form takes away blanks around, so that those with one are others there."""
    found = [written.replace("{port}", str(canary.port)) for written in REFUSED_AS_WRITTEN]
    assert len(found) > 60
    return [written for written in found if written == written.strip()]


def refused_in_development(canary: Receiver) -> list[str]:
    """Return those of the corpus that development refuses too: its own machine it goes to, as tests do."""
    found = []
    for written in corpus(canary):
        try:
            read_url(written)
        except UnsafeAddress:
            found.append(written)
    assert len(found) > 60
    return found


# --- What a person types --------------------------------------------------------------------------


@pytest.fixture
def owner() -> Membership:
    organization = make_organization("Acme")
    make_domain(organization, "acme.example")
    return make_membership(organization, make_person("olga@acme.example"))


def signed_in(owner: Membership) -> Client:
    client = Client()
    client.force_login(owner.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    session = client.session
    session["signed_in_at"] = datetime.now(UTC).timestamp()
    session.save()
    return client


def fields(owner: Membership) -> dict[str, tuple[str, str, dict[str, str]]]:
    """Return each field that takes an address: its form's address, its name, and what else the form wants."""
    slug = owner.organization.slug
    endpoint = make_audit_endpoint(owner.organization)
    saml = SamlProvider()
    role = {"default_role": "viewer"}
    return {
        "issuer": (
            reverse("accounts:sso-settings", args=[slug]),
            "issuer",
            {"client_id": "portal", "client_secret": "x", **role},
        ),
        "sign-in address": (
            reverse("accounts:sso-saml", args=[slug]),
            "sign_in_url",
            {"entity_id": saml.entity_id, "certificates": saml.certificate, **role},
        ),
        "new endpoint": (reverse("accounts:audit-endpoint-add", args=[slug]), "url", {}),
        "changed endpoint": (reverse("accounts:audit-endpoint-change", args=[slug, endpoint.public_id]), "url", {}),
    }


@pytest.mark.asvs("1.3.6")
@pytest.mark.asvs("4.2.5")
@pytest.mark.django_db
@pytest.mark.parametrize("name", ["issuer", "sign-in address", "new endpoint", "changed endpoint"])
def test_no_form_takes_an_address_that_leads_inward(name: str, owner: Membership, canary: Receiver, settings: Any):
    settings.DEVELOPMENT = False
    address, field, others = fields(owner)[name]
    stored = list(AuditEndpoint.objects.values_list("url", flat=True))
    client = signed_in(owner)

    for written in corpus(canary)[:: 1 if PROVE else 9]:
        answer = client.post(address, {**others, field: written})

        assert answer.status_code == 422, written
        assert answer.context["form"].errors, written

    assert canary.connection_count == 0
    assert not SsoConnection.objects.exists()
    assert list(AuditEndpoint.objects.values_list("url", flat=True)) == stored


# --- What a provider says of itself ---------------------------------------------------------------


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running_provider() as running:
        running.userinfo = {"sub": "u-1", "email": "ada@acme.example"}
        yield running


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"])
def test_no_document_of_a_provider_leads_inward(name: str, provider: Provider, canary: Receiver):
    assert oidc.discover(provider.issuer).token_endpoint

    for written in refused_in_development(canary):
        if name == "userinfo_endpoint" and not written:
            continue  # A provider need not have one.
        provider.discovery = {**provider.published(), name: written}
        with pytest.raises(ProviderError):
            oidc.discover(provider.issuer)

    assert canary.connection_count == 0


def identify(provider: Provider, **changed: str) -> None:
    """Sign a person in by what the provider said once; `changed` is what it says since."""
    said = provider.published() | changed
    described = oidc.Provider(
        **{name: value for name, value in said.items() if name in oidc.Provider.__struct_fields__}
    )
    attempt = oidc.new_attempt()
    honest = oidc.discover(provider.issuer)
    code = provider.answer_for(oidc.authorization_address(honest, OURS, attempt))["code"]
    oidc.identify(described, OURS, attempt, code=code)


@pytest.mark.parametrize("name", ["token_endpoint", "jwks_uri", "userinfo_endpoint"])
def test_no_address_that_was_stored_leads_inward_later(name: str, provider: Provider, canary: Receiver):
    """What a provider said is kept: where an address was let in once, by an older portal say, it is looked at again."""
    # Without an address in its token, so that the person is asked for.
    provider.change = lambda claims: {key: value for key, value in claims.items() if not key.startswith("email")}
    identify(provider)

    for written in refused_in_development(canary):
        if name == "userinfo_endpoint" and not written:
            continue
        with pytest.raises(ProviderError):
            identify(provider, **{name: written})

    assert canary.connection_count == 0


def test_production_asks_no_token_endpoint_on_its_own_machine(canary: Receiver, settings: Any):
    settings.DEVELOPMENT = False
    for written in corpus(canary):
        described = oidc.Provider("https://login.example.com", "https://login.example.com/", written, written)
        with pytest.raises(ProviderError):
            oidc.identify(described, OURS, oidc.new_attempt(), code="x")
        with pytest.raises(ProviderError):
            oidc.discover(written)

    assert canary.connection_count == 0
