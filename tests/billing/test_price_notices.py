"""Who uses what becomes dearer is told once, 30 days before; who is not concerned is told nothing."""

from datetime import timedelta

import pytest
from django.core import mail

from accounts.models import Membership, Organization, Role
from billing.models import PriceNotice
from billing.services.contracts import AgreedPrice
from billing.services.price_notices import mail_price_notices, note_price_changes
from billing.services.usage import record_usage
from billing.tasks import tell_of_prices
from catalog.models import Price
from catalog.services.prices import NOTICE, UnableToPublishPrice, publish_price
from portal.lib.periods import hour_of
from portal.lib.tiers import NO_TIERS, Tier, TierMode, Tiers
from tests.doubles.refusing_mail import REFUSED
from tests.factories.accounts import make_membership, make_organization, make_project
from tests.factories.billing import NOW, make_contract, make_price_notice, make_record
from tests.factories.catalog import make_price, make_sku

pytestmark = pytest.mark.django_db

SKU = "model.demo.input"
MILLION = 1_000_000
LATER = hour_of(NOW) + NOTICE + timedelta(hours=1)
FALLING = Tiers(TierMode.GRADUATED, (Tier(MILLION, 100),))


@pytest.fixture(autouse=True)
def listed() -> Price:
    return make_price(SKU, 150_000_000, MILLION)


def publish(price_nano: int = 200_000_000, active_from=LATER, now=NOW, tiers: Tiers = NO_TIERS) -> Price:
    return publish_price(
        sku=make_sku(SKU), price_nano=price_nano, unit_size=MILLION, active_from=active_from, now=now, tiers=tiers
    )


def user_of(sku: str = SKU, *, days_ago: int = 3, name: str = "Acme AI") -> Organization:
    organization = make_organization(name)
    at = NOW - timedelta(days=days_ago)
    record_usage([make_record(make_project(organization), sku=sku, occurred_at=at)], reservation_id=None, now=at)
    return organization


def told() -> set[int]:
    return set(PriceNotice.objects.values_list("organization_id", flat=True))


def test_a_higher_price_is_announced_30_days_before_it_begins():
    for soon in (hour_of(NOW) + timedelta(hours=1), hour_of(NOW) + NOTICE):
        with pytest.raises(UnableToPublishPrice, match="30 days"):
            publish(active_from=soon)

    publish()
    publish(price_nano=149_000_000, active_from=hour_of(NOW) + timedelta(hours=1))


def test_tiers_that_give_less_are_a_higher_price_too():
    publish(150_000_000, hour_of(NOW) + timedelta(hours=1), tiers=FALLING)
    within = NOW + timedelta(hours=2)

    with pytest.raises(UnableToPublishPrice, match="30 days"):
        publish(150_000_000, hour_of(within) + timedelta(hours=1), within)
    later = Tiers(TierMode.GRADUATED, (Tier(2 * MILLION, 100),))
    with pytest.raises(UnableToPublishPrice, match="30 days"):
        publish(150_000_000, hour_of(within) + timedelta(hours=1), within, later)
    lower = Tiers(TierMode.VOLUME, (Tier(MILLION, 100),))
    publish(150_000_000, hour_of(within) + timedelta(hours=1), within, lower)


def test_a_lower_price_that_was_announced_may_be_taken_back_and_a_higher_one_softened():
    publish(100_000_000, hour_of(NOW) + timedelta(hours=5))
    publish(150_000_000, hour_of(NOW) + timedelta(hours=1))
    publish(200_000_000)
    near = LATER - timedelta(days=1)

    publish(180_000_000, LATER, near)
    with pytest.raises(UnableToPublishPrice, match="30 days"):
        publish(190_000_000, LATER, near)


def test_those_who_used_it_within_90_days_are_told_once():
    lately, other = user_of(), make_price("model.other.input", 1, MILLION)
    long_ago, elsewhere = user_of(days_ago=91), user_of(other.sku.code)
    closed = user_of()
    Organization.objects.filter(pk=closed.pk).update(closes_at=NOW, closed_at=NOW)
    price = publish()

    assert (note_price_changes(now=NOW), note_price_changes(now=NOW + timedelta(hours=1))) == (1, 0)

    notice = PriceNotice.objects.get()
    assert (notice.organization, notice.list_price_id) == (lately, price.public_id)
    assert (notice.before_nano, notice.price_nano, notice.active_from) == (150_000_000, 200_000_000, LATER)
    assert not told() & {long_ago.pk, elsewhere.pk, closed.pk}


def test_who_begins_to_use_it_after_the_announcement_is_told_too():
    publish()
    assert note_price_changes(now=NOW) == 0
    late = user_of(days_ago=0)

    note_price_changes(now=NOW + timedelta(days=1))

    assert told() == {late.pk}


def test_a_lower_price_and_the_first_one_of_a_sku_are_no_news():
    user_of()
    publish(100_000_000)
    publish_price(sku=make_sku("model.new.input"), price_nano=1, unit_size=MILLION, active_from=LATER, now=NOW)

    assert note_price_changes(now=NOW) == 0


def test_an_agreed_price_that_stays_is_no_news_and_a_discount_moves_with_the_list():
    agreed, discounted = user_of(), user_of()
    make_contract(agreed, AgreedPrice(SKU, 1_000))
    make_contract(discounted, discount_basis_points=5_000)
    publish()

    note_price_changes(now=NOW)

    notice = PriceNotice.objects.get()
    assert (notice.organization, notice.before_nano, notice.price_nano) == (discounted, 75_000_000, 100_000_000)


def test_one_mail_says_all_to_those_who_manage_billing():
    organization = user_of()
    people: dict[Role, Membership] = {role: make_membership(organization, role=role) for role in Role}
    make_price("model.other.input", 1_000_000_000, MILLION)
    record = make_record(organization.projects.in_order()[0], sku="model.other.input")
    record_usage([record], reservation_id=None, now=NOW)
    publish()
    publish_price(
        sku=make_sku("model.other.input"), price_nano=3_000_000_000, unit_size=MILLION, active_from=LATER, now=NOW
    )
    note_price_changes(now=NOW)

    assert (mail_price_notices(now=NOW), mail_price_notices(now=NOW)) == (1, 0)

    to = {address for message in mail.outbox for address in message.to}
    assert to >= {people[role].user.email for role in (Role.OWNER, Role.BILLING)}
    assert people[Role.VIEWER].user.email not in to
    assert len(mail.outbox) == len(to)
    message = mail.outbox[0]
    assert message.subject == f"Prices rise on {LATER:%Y-%m-%d}: what you use becomes dearer"
    for text in ("$0.15 until then, $0.20 from", "$1.00 until then, $3.00 from", f"/pricing/history/{SKU}/"):
        assert text in message.body, message.body


def test_a_mail_server_that_is_away_delays_a_mail_and_loses_none(settings, monkeypatch):
    settings.MAILERS = {"default": {"BACKEND": "tests.doubles.refusing_mail.EmailBackend"}}
    organization = user_of()
    publish()
    note_price_changes(now=NOW)

    with monkeypatch.context() as patched:
        patched.setitem(REFUSED, make_membership(organization, role=Role.OWNER).user.email, 450)
        assert mail_price_notices(now=NOW) == 0
    assert mail_price_notices(now=NOW) == 1

    assert PriceNotice.objects.get(organization=organization).mailed_at == NOW


def test_a_price_that_was_withdrawn_is_not_mailed():
    make_price_notice(user_of())

    assert mail_price_notices(now=NOW) == 0

    assert (mail.outbox, PriceNotice.objects.get().mailed_at) == ([], NOW)


def test_the_hourly_task_finds_nothing_where_nothing_is_announced():
    tell_of_prices()

    assert not PriceNotice.objects.exists()
