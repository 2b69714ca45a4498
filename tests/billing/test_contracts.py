"""What an organization pays: contracts in versions, which one person drafts, another approves, and nobody edits."""

from datetime import timedelta

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.utils import IntegrityError

from accounts.models import AuditEvent, Organization, User
from accounts.services.staff import StaffGroup
from billing.models import Contract, ContractPrice, UsageByHour
from billing.selectors import prices_for, prices_of_contracts, prices_of_hours
from billing.selectors.prices import discounted_price_id
from billing.services.contracts import (
    AgreedPrice,
    ContractTerms,
    UnableToChangeContract,
    UnableToDraftContract,
    approve_contract,
    discard_contract,
    draft_contract,
    end_contract,
    publish_contract,
)
from billing.services.usage import record_usage
from catalog.models import Price
from catalog.selectors import instance_type_rows, served_model_rows, unit_prices
from catalog.services.prices import UnableToPublishPrice, publish_price
from portal.lib.tiers import Tier, TierMode, Tiers
from tests.accounts.test_legal_holds import make_staff
from tests.factories.accounts import make_organization, make_project
from tests.factories.billing import NOW, make_contract, make_record
from tests.factories.catalog import make_instance_type, make_price, make_served_model

pytestmark = pytest.mark.django_db

ONE, TWO, THREE = (NOW.replace(minute=0) + timedelta(hours=hours) for hours in (1, 2, 3))
INPUT, OUTPUT = "model.demo.input", "model.demo.output"
MILLION = 1_000_000
TIERS = Tiers(TierMode.GRADUATED, (Tier(10 * MILLION, 80), Tier(20 * MILLION, 60)))


@pytest.fixture
def organization() -> Organization:
    make_price(INPUT, 1_000, MILLION)
    make_price(OUTPUT, 2_001, MILLION)
    return make_organization("Acme AI")


@pytest.fixture
def sales() -> User:
    return make_staff(StaffGroup.SALES)


@pytest.fixture
def finance() -> User:
    return make_staff(StaffGroup.FINANCE)


def terms(*prices: AgreedPrice, name: str = "2027", off: int = 0, begins=ONE, ends=None) -> ContractTerms:
    return ContractTerms(name, off, begins, ends, prices)


def paid(organization: Organization, sku: str, at=NOW) -> int:
    return prices_for(organization.pk, [sku], at)[sku].price_nano


# --- What is paid ----------------------------------------------------------------------------------


def test_a_contract_price_comes_before_its_discount_and_that_before_the_list(organization):
    other = make_organization()
    make_contract(organization, AgreedPrice(INPUT, 700), discount_basis_points=1_250)

    assert (paid(organization, INPUT), paid(organization, OUTPUT)) == (700, 1_751)  # 1,750.875
    assert (paid(other, INPUT), paid(other, OUTPUT)) == (1_000, 2_001)


def test_the_list_price_stays_beside_what_is_paid(organization):
    make_contract(organization, AgreedPrice(INPUT, 700), discount_basis_points=1_000)
    listed = unit_prices([INPUT, OUTPUT], NOW)

    agreed = prices_for(organization.pk, [INPUT, OUTPUT], NOW)

    assert {sku: price.list_price for sku, price in agreed.items()} == listed
    assert len({price.price_id for price in [*agreed.values(), *listed.values()]}) == 4


def test_only_what_is_published_is_paid(organization):
    for status in set(Contract.Status) - {Contract.Status.PUBLISHED}:
        make_contract(organization, AgreedPrice(INPUT, 1), discount_basis_points=5_000, status=status)

    assert prices_for(organization.pk, [INPUT, OUTPUT], NOW) == unit_prices([INPUT, OUTPUT], NOW)


def test_each_hour_has_the_price_that_was_in_force_in_it(organization):
    make_contract(organization, AgreedPrice(INPUT, 700), active_from=ONE, active_to=TWO)
    make_contract(organization, discount_basis_points=5_000, active_from=TWO, active_to=THREE)

    found = prices_of_hours(organization.pk, [(hour, INPUT) for hour in (ONE - timedelta(hours=1), ONE, TWO, THREE)])

    assert [found[hour].price_nano for hour in sorted(found)] == [1_000, 700, 500, 1_000]


def test_a_sku_that_is_neither_listed_nor_agreed_on_has_no_price(organization):
    make_contract(organization, discount_basis_points=1_000)

    assert prices_for(organization.pk, ["model.unknown.input"], NOW) == {}


def test_a_discount_falls_on_the_tiers_of_the_list_too(organization):
    publish_price(
        sku=make_price("model.tiered.input", 100, MILLION, active_from=ONE - timedelta(days=9)).sku,
        price_nano=100,
        unit_size=MILLION,
        active_from=ONE,
        now=NOW,
        tiers=TIERS,
    )
    make_contract(organization, discount_basis_points=2_500)

    price = prices_for(organization.pk, ["model.tiered.input"], ONE)["model.tiered.input"]

    assert (price.price_nano, [step.price_nano for step in price.tiers.steps]) == (75, [60, 45])


def test_the_id_of_a_discounted_price_is_made_of_the_two_that_it_comes_from(organization):
    contract = make_contract(organization, discount_basis_points=1_000)
    listed = unit_prices([INPUT], NOW)[INPUT]

    first, again = (prices_for(organization.pk, [INPUT], NOW)[INPUT] for _ in range(2))

    assert first == again
    assert first.price_id == discounted_price_id(listed.price_id, contract.public_id)
    assert discounted_price_id("price_a", "ctr_a") == "price_CIq70QAXtco3Alu7UUGx"


def test_the_gateway_learns_of_every_organization_with_a_contract_and_of_no_other(organization):
    other = make_organization()
    make_contract(organization, AgreedPrice(INPUT, 700))
    make_contract(other, discount_basis_points=1_000, active_from=THREE)
    make_organization()

    found = prices_of_contracts([(NOW.replace(minute=0), sku) for sku in (INPUT, OUTPUT)])

    assert list(found) == [organization.pk]
    assert {sku: price.price_nano for (_, sku), price in found[organization.pk].items()} == {INPUT: 700, OUTPUT: 2_001}


def test_usage_is_billed_at_what_was_agreed_with_the_list_price_beside_it(organization):
    project = make_project(organization)
    make_contract(organization, AgreedPrice(INPUT, 700))

    records = [make_record(project, 3 * MILLION), make_record(project, MILLION, sku=OUTPUT)]
    done = record_usage(records, reservation_id=None, now=NOW)

    buckets = {bucket.sku: bucket for bucket in UsageByHour.objects.owned_by(organization)}
    assert done.charged_nano == 3 * 700 + 2_001
    assert (buckets[INPUT].price_nano, buckets[INPUT].list_price_nano) == (700, 1_000)
    assert buckets[INPUT].list_price_id == unit_prices([INPUT], NOW)[INPUT].price_id
    assert (buckets[OUTPUT].list_price_id, buckets[OUTPUT].list_price_nano) == ("", None)


def test_what_was_used_before_is_never_priced_anew(organization):
    project = make_project(organization)
    record_usage([make_record(project, MILLION)], reservation_id=None, now=NOW)
    make_contract(organization, AgreedPrice(INPUT, 1))

    record_usage([make_record(project, MILLION)], reservation_id=None, now=NOW)

    assert UsageByHour.objects.get().amount_nano == 2_000


def test_rows_of_the_catalog_show_an_organization_what_it_pays(organization):
    model, shape = make_served_model(), make_instance_type("gpu_1x_demo", price_nano=2_000_000_000)
    make_contract(organization, discount_basis_points=5_000)

    def source(skus, at):
        return prices_for(organization.pk, skus, at)

    [listed_model], [own_model] = served_model_rows(NOW), served_model_rows(NOW, source)
    [listed_shape], [own_shape] = instance_type_rows(NOW), instance_type_rows(NOW, source)

    assert (own_model.name, own_model.input_nano * 2) == (model.name, listed_model.input_nano)
    assert (own_shape.name, own_shape.cheapest.nano_per_hour * 2) == (shape.name, listed_shape.cheapest.nano_per_hour)


# --- How one comes into force ----------------------------------------------------------------------


def test_one_drafts_another_approves_and_what_is_published_is_paid_from_its_first_hour_on(organization, sales, finance):
    contract = draft_contract(organization=organization, terms=terms(AgreedPrice(INPUT, 700)), by=sales, now=NOW)
    approve_contract(contract=contract, by=finance, now=NOW)
    publish_contract(contract=contract, by=finance, now=NOW)

    assert [paid(organization, INPUT, at) for at in (NOW, ONE - timedelta(seconds=1), ONE)] == [1_000, 1_000, 700]
    entries = AuditEvent.objects.filter(organization=organization, target_kind="contract").order_by("pk")
    assert [(entry.action, entry.actor_id) for entry in entries] == [
        ("contract.drafted", sales.public_id),
        ("contract.approved", finance.public_id),
        ("contract.published", finance.public_id),
    ]
    assert not any("700" in entry.changes for entry in entries)


def test_nobody_approves_what_they_have_drafted(organization, finance):
    contract = draft_contract(organization=organization, terms=terms(), by=finance, now=NOW)

    with pytest.raises(UnableToChangeContract, match="Somebody else"):
        approve_contract(contract=contract, by=finance, now=NOW)
    with pytest.raises(IntegrityError, match="contract_has_two_persons"), transaction.atomic():
        Contract.objects.update(status="approved", approved_by=finance, approved_at=NOW)


def test_who_may_draft_need_not_be_who_may_approve(organization, sales, finance):
    other_sales, support = make_staff(StaffGroup.SALES), make_staff(StaffGroup.SUPPORT)
    contract = draft_contract(organization=organization, terms=terms(), by=sales, now=NOW)

    with pytest.raises(UnableToDraftContract, match="may not"):
        draft_contract(organization=organization, terms=terms(), by=support, now=NOW)
    for change in (approve_contract, publish_contract):
        with pytest.raises(UnableToChangeContract, match="may not"):
            change(contract=contract, by=other_sales, now=NOW)
    with pytest.raises(UnableToChangeContract, match="may not"):
        discard_contract(contract=contract, by=support, now=NOW)
    with pytest.raises(UnableToChangeContract, match="draft"):
        publish_contract(contract=contract, by=finance, now=NOW)


def test_a_new_version_ends_the_one_before(organization, sales, finance):
    first = make_contract(organization, AgreedPrice(INPUT, 700))

    second = draft_contract(organization=organization, terms=terms(off=1_000, begins=TWO), by=sales, now=NOW)
    approve_contract(contract=second, by=finance, now=NOW)
    publish_contract(contract=second, by=finance, now=NOW)

    first.refresh_from_db()
    assert (first.active_to, second.version) == (TWO, 2)
    assert [paid(organization, INPUT, at) for at in (ONE, TWO)] == [700, 900]


@pytest.mark.parametrize("ends", [None, THREE])
def test_a_version_that_is_to_begin_later_stands_in_the_way(organization, sales, finance, ends):
    make_contract(organization, active_from=TWO)
    contract = draft_contract(organization=organization, terms=terms(ends=ends), by=sales, now=NOW)
    approve_contract(contract=contract, by=finance, now=NOW)

    with pytest.raises(UnableToChangeContract, match="Version 1 begins"):
        publish_contract(contract=contract, by=finance, now=NOW)


def test_no_hour_that_has_begun_gets_another_price(organization, sales, finance):
    contract = draft_contract(organization=organization, terms=terms(), by=sales, now=NOW)
    approve_contract(contract=contract, by=finance, now=NOW)

    for late in (ONE - timedelta(seconds=30), ONE, TWO):
        with pytest.raises(UnableToChangeContract, match="has begun"):
            publish_contract(contract=contract, by=finance, now=late)

    publish_contract(contract=contract, by=finance, now=ONE - timedelta(seconds=61))


def test_a_contract_ends_in_an_hour_to_come_and_the_list_holds_again(organization, finance):
    contract = make_contract(organization, AgreedPrice(INPUT, 700))

    for wrong in (NOW, NOW.replace(minute=0), TWO + timedelta(minutes=1)):
        with pytest.raises(UnableToChangeContract):
            end_contract(contract=contract, active_to=wrong, by=finance, now=NOW)
    end_contract(contract=contract, active_to=TWO, by=finance, now=NOW)
    with pytest.raises(UnableToChangeContract, match="before that"):
        end_contract(contract=contract, active_to=THREE, by=finance, now=NOW)

    assert [paid(organization, INPUT, at) for at in (ONE, TWO)] == [700, 1_000]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (terms(name=" "), "name"),
        (terms(off=10_001), "100 percent"),
        (terms(begins=ONE + timedelta(minutes=1)), "full hours"),
        (terms(ends=TWO + timedelta(seconds=1)), "full hours"),
        (terms(begins=TWO, ends=ONE), "after it begins"),
        (terms(AgreedPrice(INPUT, 1), AgreedPrice(INPUT, 2)), "one price"),
        (terms(AgreedPrice(INPUT, -1)), "negative"),
        (terms(AgreedPrice("model.unknown.input", 1)), "no list price"),
        (terms(AgreedPrice(INPUT, 79, TIERS)), "costs no more"),
    ],
)
def test_terms_that_contradict_themselves_or_the_list_are_refused(organization, sales, wrong, words):
    with pytest.raises(UnableToDraftContract, match=words):
        draft_contract(organization=organization, terms=wrong, by=sales, now=NOW)

    assert not Contract.objects.exists()


# --- What nobody can do ----------------------------------------------------------------------------


def refused(statement: str, *values: int) -> str:
    with pytest.raises(DatabaseError) as refusal, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, values)
    return str(refusal.value)


def test_the_database_refuses_to_edit_or_delete_what_was_approved(organization):
    contract = make_contract(organization, AgreedPrice(INPUT, 700))
    make_contract(organization, AgreedPrice(INPUT, 700), status=Contract.Status.APPROVED, active_from=THREE)

    for change in ("discount_basis_points = 1", "active_from = active_from - interval '1 hour'", "name = 'x'"):
        assert "never edited" in refused(f"UPDATE billing_contract SET {change}")
    assert "never edited" in refused("UPDATE billing_contract SET status = 'draft' WHERE id = %s", contract.pk)
    assert "never deleted" in refused("DELETE FROM billing_contract")
    assert "never edited" in refused("UPDATE billing_contractprice SET price_nano = 1")
    assert "never edited" in refused("DELETE FROM billing_contractprice")
    with pytest.raises(DatabaseError, match="only a draft"), transaction.atomic():
        ContractPrice.objects.create(
            organization=organization,
            contract=contract,
            sku=Price.objects.get(sku__code=OUTPUT).sku,
            price_nano=1,
            unit_size=MILLION,
        )


def test_the_database_refuses_two_contracts_in_one_hour(organization):
    make_contract(organization, active_to=TWO)

    with pytest.raises(IntegrityError, match="contract_one_in_force"), transaction.atomic():
        make_contract(organization, active_from=ONE)
    make_contract(organization, active_from=TWO)
    make_contract(make_organization())


@pytest.mark.parametrize("role", ["headroom_app", "headroom_gateway"])
@pytest.mark.parametrize("table", ["billing_contract", "billing_contractprice"])
def test_customers_and_the_gateway_cannot_write_contracts(role, table):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT p FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS p"
            " WHERE has_table_privilege(%s, %s, p)",
            [role, table],
        )
        assert cursor.fetchall() == [("SELECT",)]


def test_a_price_version_of_the_list_is_never_edited(organization):
    for change in (
        "price_nano = 1",
        "active_from = active_from + interval '1 hour'",
        "unit_size = 1",
        "tiers = '[[1]]'",
    ):
        assert "never edited" in refused(f"UPDATE catalog_price SET {change}")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT r, c FROM unnest(ARRAY['headroom_app', 'headroom_platform', 'headroom_gateway']) AS r,"
            " unnest(ARRAY['price_nano', 'unit_size', 'active_from', 'active_to', 'tiers', 'tier_mode']) AS c"
            " WHERE has_column_privilege(r, 'catalog_price', c, 'UPDATE') ORDER BY 1"
        )
        assert cursor.fetchall() == [("headroom_app", "active_to"), ("headroom_platform", "active_to")]


def test_a_sku_is_sold_by_one_unit(organization):
    sku = Price.objects.get(sku__code=INPUT).sku

    with pytest.raises(UnableToPublishPrice, match="one unit"):
        publish_price(sku=sku, price_nano=1, unit_size=1, active_from=ONE, now=NOW)
