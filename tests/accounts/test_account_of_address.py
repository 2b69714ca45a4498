"""Whose account an address is: no letter that a database takes for another leads to somebody else's."""

import pytest
from allauth.account.models import EmailAddress

from accounts.models import User
from accounts.services.account_of_address import AddressRefused, account_of_address, check_address, owner_of_address
from portal.lib.domain_names import domain_of
from tests.factories.accounts import make_domain, make_organization, make_user

pytestmark = pytest.mark.django_db
# Its capital is that of i.
DOTLESS = "\u0131"


def proved(email: str) -> User:
    user = make_user(email)
    EmailAddress.objects.create(user=user, email=email, verified=True, primary=True)
    return user


@pytest.mark.asvs("6.8.1")
@pytest.mark.parametrize("email", [f"victim@g{DOTLESS}thub.example", f"v{DOTLESS}ctim@github.example"])
def test_an_organization_speaks_for_no_address_that_looks_like_anothers(email: str):
    organization = make_organization()
    for name in {domain_of(email), "github.example"}:
        make_domain(organization, name)

    with pytest.raises(AddressRefused, match="ASCII"):
        check_address(organization, email)


@pytest.mark.asvs("6.8.1")
@pytest.mark.parametrize("theirs", [f"victim@g{DOTLESS}thub.example", f"v{DOTLESS}ctim@github.example"])
def test_an_address_leads_to_its_own_account_whatever_a_database_thinks(theirs: str):
    other = proved(theirs)
    asked = "victim@github.example"
    assert EmailAddress.objects.get(email__iexact=asked).user == other

    assert owner_of_address(asked) is None
    assert account_of_address(asked) != other


def test_capitals_make_no_other_address():
    user = proved("victim@github.example")

    assert owner_of_address("Victim@GitHub.example") == account_of_address("Victim@GitHub.example") == user


def test_an_unproved_account_of_a_lookalike_is_left_alone():
    lookalike = make_user(f"v{DOTLESS}ctim@github.example", password="a long password 7")
    before = lookalike.password

    made = account_of_address("victim@github.example")

    lookalike.refresh_from_db()
    assert made != lookalike
    assert lookalike.password == before
    assert EmailAddress.objects.filter(user=made, verified=True).exists()


def test_an_address_longer_than_any_column_is_refused():
    organization = make_organization()
    long = ".".join(["d" * 60] * 4) + ".example"
    make_domain(organization, long)

    with pytest.raises(AddressRefused, match="254"):
        check_address(organization, f"{'a' * 60}@{long}")
