"""Single sign-on by SAML with a provider that we did not write, in a process of its own, signed by xmlsec1."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from django.test import Client
from django.urls import reverse

from accounts.gateways.saml_provider import read_metadata
from accounts.models import Membership, Organization, Role, SsoIdentity
from accounts.services.sso_connections import set_up_saml
from tests.accounts.test_saml import bring
from tests.accounts.test_sso import begin, user_of
from tests.documents import Document
from tests.doubles.real_saml_provider import RealSamlProvider, running_real_saml_provider
from tests.factories.accounts import make_domain, make_membership, make_organization

pytestmark = [pytest.mark.django_db, pytest.mark.processes]

PEOPLE = {
    "ada": {"subject": "8f2c-ada", "mail": "ada@acme.example"},
    "eve": {"subject": "8f2c-eve", "mail": "eve@elsewhere.example"},
}


@pytest.fixture(scope="module", params=["Assertion", "Response", "Assertion Response"])
def provider(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealSamlProvider]:
    folder: Path = tmp_path_factory.mktemp("provider")
    with running_real_saml_provider(folder, PEOPLE, signs=request.param.split()) as running:
        yield running


def page_of(address: str) -> str:
    with urlopen(address, timeout=30) as answer:
        return str(answer.read().decode())


@pytest.fixture
def organization(provider: RealSamlProvider) -> Organization:
    """Each has read the other's metadata."""
    made = make_organization("Acme")
    make_domain(made, "acme.example")
    described = read_metadata(page_of(provider.metadata_url))
    set_up_saml(
        entity_id=described.entity_id,
        sign_in_url=described.sign_in_url,
        certificates=described.certificates,
        default_role=Role.VIEWER,
        by=make_membership(made),
        now=datetime.now(UTC),
    )
    provider.partner.write_bytes(Client().get(reverse("accounts:saml-metadata", args=[made.slug])).content)
    return made


def sign_in(client: Client, organization: Organization, person: str, more: str = "") -> Any:
    """Go there, choose who one is, and post what the provider's page holds, as a browser does."""
    address = begin(client, organization)
    assert f"person={person}&amp;" in page_of(address)
    there = address.replace("/sign-in?", f"/answer?person={person}{more}&")
    [form] = Document(page_of(there)).root.iter("form")
    assert str(form.get("action")).endswith(reverse("accounts:saml-acs", args=[organization.slug]))
    fields = {str(field.get("name")): str(field.get("value")) for field in form.iter("input") if field.get("name")}
    return bring(client, organization, fields)


def test_a_person_comes_through_and_is_known_the_next_time(client: Client, organization: Organization):
    for one in (client, Client()):
        answer = sign_in(one, organization, "ada")
        assert answer.status_code == 302, answer.content.decode()
        member = Membership.objects.get(user__email="ada@acme.example")
        assert user_of(one) == str(member.user_id)
    assert SsoIdentity.objects.get().subject == "8f2c-ada"


@pytest.mark.parametrize(
    ("person", "more", "words"),
    [
        ("eve", "", "no verified domain"),
        ("ada", "&transient=1", "another name each time"),
        ("ada", "&sha1=1", "signs by a weak algorithm"),
    ],
)
def test_what_a_real_provider_may_be_set_to_and_must_not_is_said_in_words(
    client: Client, organization: Organization, person: str, more: str, words: str
):
    answer = sign_in(client, organization, person, more)

    assert answer.status_code == 403
    assert words in answer.content.decode()
    assert user_of(client) is None
    assert not SsoIdentity.objects.exists()
