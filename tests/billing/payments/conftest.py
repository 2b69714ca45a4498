"""The portal selling credit through a double of Stripe that starts empty for each test."""

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from accounts.models import Role
from tests.billing.payments.killed import Portal
from tests.doubles.provider import selling_through
from tests.doubles.stripe_double import StripeDouble, running_stripe
from tests.factories.accounts import make_membership, make_organization
from tests.killable import Killable, killable_processes
from tests.own_database import OwnDatabase


@pytest.fixture(scope="session")
def running_double() -> Iterator[StripeDouble]:
    with running_stripe() as double:
        yield double


@pytest.fixture(scope="session")
def processes() -> Iterator[Killable]:
    with killable_processes() as processes:
        yield processes


@pytest.fixture
def portal(own_database: OwnDatabase, running_double: StripeDouble, processes: Killable) -> Portal:
    """A portal with a database of its own, whose processes can be killed."""
    return Portal(own_database, running_double, processes)


@pytest.fixture
def double(running_double: StripeDouble) -> Iterator[StripeDouble]:
    running_double.control("reset")
    with selling_through(running_double):
        yield running_double
    running_double.control("settle")
    assert running_double.look("drift") == []


@pytest.fixture
def organization(db):
    return make_organization(name="Acme")


@pytest.fixture
def payer(organization):
    return make_membership(organization, role=Role.BILLING).user


@pytest.fixture
def browser(client, payer):
    client.force_login(payer)
    return client


@pytest.fixture
def log_lines():
    """Return the names of what was logged so far."""
    with capture_logs() as lines:
        yield lambda: [line["event"] for line in lines]
