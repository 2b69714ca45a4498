"""Single sign-on with a provider that we did not write, in a process of its own."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qsl, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Membership, Organization, Role, SsoIdentity
from accounts.services.sso_connections import set_up_sso
from tests.accounts.test_sso import begin, user_of
from tests.doubles.real_provider import running_real_provider
from tests.factories.accounts import make_domain, make_membership, make_organization

pytestmark = [pytest.mark.django_db, pytest.mark.processes]

ADA = {"sub": "ada", "email": "ada@acme.example", "email_verified": True}
EVE = {"sub": "eve", "email": "eve@elsewhere.example", "email_verified": True}


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    log: Path = tmp_path_factory.mktemp("provider") / "log"
    with running_real_provider(log, ADA, EVE) as running:
        yield running


@pytest.fixture
def organization(issuer: str) -> Organization:
    made = make_organization("Acme")
    make_domain(made, "acme.example")
    set_up_sso(
        issuer=issuer,
        client_id="portal",
        client_secret="a secret",
        default_role=Role.VIEWER,
        by=make_membership(made),
        now=datetime.now(UTC),
    )
    return made


class NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def choose(address: str, **form: str) -> str:
    """Press a button on the provider's page and return where it sends the browser."""
    request = Request(address, urlencode(form).encode())
    with pytest.raises(HTTPError) as redirect:
        build_opener(NoRedirects).open(request, timeout=10)
    redirect.value.close()
    assert redirect.value.code == 302
    return str(redirect.value.headers["Location"])


def sign_in(client: Client, organization: Organization, **form: str) -> Any:
    back = urlsplit(choose(begin(client, organization), **form))
    assert back.path == reverse("accounts:sso-callback", args=[organization.slug])
    return client.get(back.path, dict(parse_qsl(back.query)))


def test_a_person_comes_through_and_is_known_the_next_time(client: Client, organization: Organization):
    for one in (client, Client()):
        assert sign_in(one, organization, sub="ada").status_code == 302
        member = Membership.objects.get(user__email="ada@acme.example")
        assert user_of(one) == str(member.user_id)
    assert SsoIdentity.objects.get().subject == "ada"


def test_who_is_of_another_domain_or_says_no_does_not(client: Client, organization: Organization):
    for form in ({"sub": "eve"}, {"action": "deny"}):
        assert sign_in(client, organization, **form).status_code == 403
        assert user_of(client) is None
