"""A change of the price list has two persons: one proposes, another publishes a new version or the end."""

from datetime import timedelta

import pytest
from django.db import transaction
from django.db.utils import IntegrityError

from accounts.models import User
from accounts.services.staff import StaffGroup
from catalog.models import Price, PriceProposal
from catalog.services.prices import UnableToEndPrice, UnableToPublishPrice
from catalog.services.proposals import (
    UnableToDecideProposal,
    UnableToProposePrice,
    decline_proposal,
    propose_price,
    publish_proposal,
)
from portal.lib.periods import hour_of
from portal.lib.tiers import Tier, TierMode, Tiers
from tests.accounts.test_legal_holds import make_staff
from tests.factories.billing import NOW
from tests.factories.catalog import NOON, load_price_list, make_price

pytestmark = pytest.mark.django_db

SKU = "model.demo.input"
MILLION = 1_000_000
SOON = hour_of(NOW) + timedelta(hours=3)
TIERS = Tiers(TierMode.VOLUME, (Tier(MILLION, 50),))


@pytest.fixture(autouse=True)
def listed() -> Price:
    return make_price(SKU, 100, MILLION)


@pytest.fixture
def capacity() -> User:
    return make_staff(StaffGroup.CAPACITY)


@pytest.fixture
def finance() -> User:
    return make_staff(StaffGroup.FINANCE)


def propose(by: User, price_nano: int | None = 90, *, sku: str = SKU, begins=SOON, **more) -> PriceProposal:
    return propose_price(
        sku=sku, price_nano=price_nano, active_from=begins, reason="Cheaper power", by=by, now=NOW, **more
    )


def versions() -> list[tuple[int, int, bool]]:
    return [(price.version, price.price_nano, price.active_to is None) for price in Price.objects.order_by("version")]


def test_one_proposes_and_nothing_changes_until_another_publishes(capacity, finance):
    proposal = propose(capacity, tiers=TIERS)
    assert versions() == [(1, 100, True)]

    price = publish_proposal(proposal=proposal, by=finance, now=NOW)

    assert versions() == [(1, 100, False), (2, 90, True)]
    assert (price.active_from, price.tier_mode, price.tiers) == (SOON, "volume", [[MILLION, 50]])
    proposal.refresh_from_db()
    assert (proposal.status, proposal.decided_by) == ("published", finance)


def test_a_price_ends_by_two_persons_too(capacity, finance):
    publish_proposal(proposal=propose(capacity, None), by=finance, now=NOW)

    assert Price.objects.get().active_to == SOON


def test_nobody_publishes_what_they_have_proposed(finance):
    proposal = propose(finance)

    with pytest.raises(UnableToDecideProposal, match="Somebody else"):
        publish_proposal(proposal=proposal, by=finance, now=NOW)
    with pytest.raises(IntegrityError, match="two_persons"), transaction.atomic():
        PriceProposal.objects.update(status="published", decided_by=finance, decided_at=NOW)


def test_who_proposed_takes_it_back_and_who_decides_declines_and_then_it_is_over(capacity, finance):
    for by in (capacity, finance):
        proposal = decline_proposal(proposal=propose(capacity), by=by, now=NOW)
        with pytest.raises(UnableToDecideProposal, match="declined already"):
            publish_proposal(proposal=proposal, by=finance, now=NOW)

    assert versions() == [(1, 100, True)]


def test_each_does_only_what_they_may(capacity):
    support, sales = make_staff(StaffGroup.SUPPORT), make_staff(StaffGroup.SALES)
    proposal = propose(capacity)

    for by in (support, sales):
        with pytest.raises(UnableToProposePrice, match="may not"):
            propose(by)
        for decide in (publish_proposal, decline_proposal):
            with pytest.raises(UnableToDecideProposal, match="may not"):
                decide(proposal=proposal, by=by, now=NOW)
    with pytest.raises(UnableToDecideProposal, match="may not"):
        publish_proposal(proposal=proposal, by=make_staff(StaffGroup.CAPACITY), now=NOW)


def test_what_could_not_be_published_is_not_proposed(capacity):
    with pytest.raises(UnableToProposePrice, match="no such SKU"):
        propose(capacity, sku="model.unknown.input")
    with pytest.raises(UnableToPublishPrice, match="30 days"):
        propose(capacity, 101)
    with pytest.raises(UnableToPublishPrice, match="full hour"):
        propose(capacity, begins=NOW)
    with pytest.raises(UnableToEndPrice):
        propose(capacity, None, begins=NOW)
    with pytest.raises(UnableToProposePrice, match="costs no more"):
        propose(capacity, 40, tiers=TIERS)

    assert (versions(), PriceProposal.objects.count()) == ([(1, 100, True)], 0)
    propose(capacity)
    with pytest.raises(UnableToProposePrice, match="waits for a decision"):
        propose(capacity, 80)


def test_what_waited_too_long_is_refused_and_stays_open(capacity, finance):
    proposal = propose(capacity)

    with pytest.raises(UnableToPublishPrice):
        publish_proposal(proposal=proposal, by=finance, now=SOON)

    proposal.refresh_from_db()
    assert (proposal.status, versions()) == ("open", [(1, 100, True)])


def test_the_files_say_nothing_any_more_where_staff_have_published_a_price(capacity, finance):
    load_price_list()
    sku = Price.objects.filter(sku__code__startswith="instance.").select_related("sku").order_by("pk")[0].sku
    proposal = propose_price(
        sku=sku.code, price_nano=1, active_from=hour_of(NOON) + timedelta(hours=2), reason="", by=capacity, now=NOON
    )
    publish_proposal(proposal=proposal, by=finance, now=NOON)

    again = load_price_list(NOON + timedelta(days=1))

    assert again.changed_price_count == 0
    assert Price.objects.filter(sku=sku).order_by("-version")[0].price_nano == 1
