"""What one organization spends, caps and pays counts for nothing in another: services that customers reach.

Each holds twice, as tests/accounts/test_neighbours.py says.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from accounts.models import Organization
from billing.models import Dispute, Payment, SpendCap
from billing.selectors import spend_of_resource
from billing.selectors.disputes import is_disputed
from billing.services.caps import CapTarget, set_cap
from billing.services.top_ups import MOST_UNFINISHED, SMALLEST_CENTS, start_top_up
from billing.services.usage import record_usage
from portal.lib.money import NANO_PER_USD
from portal.lib.tenancy import set_organization
from tests.factories.accounts import make_membership, make_organization
from tests.factories.billing import NOW, make_dispute, make_payment, make_record
from tests.factories.catalog import make_price
from tests.support import as_served

pytestmark = pytest.mark.django_db

SKU = "model.demo.input"
DAY = SpendCap.Period.DAY


@contextmanager
def entered(organization: Organization) -> Iterator[None]:
    with as_served():
        set_organization(organization.pk)
        yield


def use(organization: Organization, dollars: int) -> None:
    record = make_record(organization.projects.get(), dollars, sku=SKU, resource_id="inst_1")
    record_usage([record], reservation_id=None, now=NOW)


def test_a_cap_changes_none_of_a_neighbour():
    ours, neighbour = make_organization(), make_organization()
    before = set_cap(target=CapTarget(neighbour), period=DAY, limit_nano=7, stops=False, now=NOW)

    with entered(ours):
        cap = set_cap(target=CapTarget(ours), period=DAY, limit_nano=9, stops=False, now=NOW)

    assert cap.organization_id == ours.pk
    before.refresh_from_db()
    assert before.limit_nano == 7


def test_only_what_the_organization_spent_counts():
    make_price(SKU, NANO_PER_USD, 1)
    ours, neighbour = make_organization(), make_organization()
    use(ours, 1)
    use(neighbour, 2)

    with entered(ours):
        cap = set_cap(target=CapTarget(ours), period=DAY, limit_nano=9 * NANO_PER_USD, stops=True, now=NOW)
        # Whoever reports usage names resources as they like.
        assert spend_of_resource(ours, "inst_1", since=NOW - timedelta(days=1)) == NANO_PER_USD

    assert cap.found_nano == NANO_PER_USD


def test_unfinished_payments_of_a_neighbour_leave_room_for_one_more():
    ours, neighbour = make_organization(), make_organization()
    payer = make_membership(ours).user
    for _ in range(MOST_UNFINISHED):
        make_payment(neighbour)

    with entered(ours):
        payment = start_top_up(organization=ours, user=payer, amount_cents=SMALLEST_CENTS, now=NOW)

    assert payment.organization_id == ours.pk


def test_a_disputed_payment_of_a_neighbour_stops_no_purchase():
    ours, neighbour = make_organization(), make_organization()
    make_dispute(make_payment(neighbour, state=Payment.State.SUCCEEDED), state=Dispute.State.OPEN)

    with entered(ours):
        assert not is_disputed(ours)
    with entered(neighbour):
        assert is_disputed(neighbour)
