"""Tiers reach the invoice: by project, across invoices, into the credit's limit; and anybody can compute it again."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from accounts.models import Project
from billing.models import Invoice, InvoiceLine, WriteOff
from billing.rating import ProjectQuantities, tier_shares
from billing.selectors.tiers import TieredUse, tier_changes
from billing.selectors.unbilled import unbilled_usage
from billing.services.invoices import void_invoice
from billing.services.tier_room import room_after
from billing.verify_invoice import main
from catalog.selectors import UnitPrice, rate_card
from catalog.services.prices import publish_price
from portal.lib.exports import json_of
from portal.lib.money import NANO_PER_USD, usd_to_nano
from portal.lib.periods import month_of
from portal.lib.tiers import Tier, TierMode, Tiers
from tests.billing.test_services_invoices import (
    DUE,
    NOVEMBER,
    OCTOBER,
    ON_TERMS,
    SKU,
    allow,
    balances,
    cap_of,
    close,
    starter,
    take_back,
    use,
)
from tests.billing.test_verify_invoice import Records, changed, of, records_of
from tests.billing.test_worked_numbers import table
from tests.factories.accounts import make_organization, make_project
from tests.factories.catalog import make_sku

MILLION = 1_000_000
GRADUATED, VOLUME = (
    Tiers(mode, (Tier(10 * MILLION, 80_000_000), Tier(20 * MILLION, 60_000_000)))
    for mode in (TierMode.GRADUATED, TierMode.VOLUME)
)
TIERS = {"graduated": GRADUATED, "volume": VOLUME}
CENT = NANO_PER_USD // 100


def amounts(text: str) -> dict[str, Decimal]:
    """Return what `a 10, b 15` says, by project."""
    return {name: Decimal(amount) for name, _, amount in (part.partition(" ") for part in text.split(", ")) if name}


@pytest.mark.parametrize("row", table("invoicing.md", "mode"), ids=lambda row: row["why"])
def test_what_tiers_change_by_project(row):
    price = UnitPrice(SKU, "price_1", 100_000_000, MILLION, TIERS[row["mode"]])
    before, after = (
        {name: int(used) * MILLION for name, used in amounts(row[when]).items()} for when in ("before", "after")
    )
    hour = NOVEMBER.start
    month = TieredUse(hour, "models", price, hour, hour if before else None, before, before | after)

    found = {share.project: share.amount_nano for share in tier_changes([month])}

    assert found == {name: usd_to_nano(dollars) for name, dollars in amounts(row["change"]).items()}


@pytest.mark.parametrize("row", table("invoicing.md", "room left"), ids=lambda row: row["why"])
def test_the_room_that_tiers_free(row):
    nano = {name: usd_to_nano(Decimal(text)) for name, text in row.items() if name != "why"}

    room = room_after(nano["room left"], nano["given before"], nano["taken off in all"])

    assert (room.gives_nano, room.short_nano) == (nano["limit moves"], nano["written off"])


def test_the_shares_of_projects_sum_to_what_a_version_takes_off_whatever_was_corrected():
    price = UnitPrice(SKU, "price_1", 100_000_000, MILLION, GRADUATED)
    late = UnitPrice(SKU, "price_2", 100_000_000, MILLION, GRADUATED)

    shares = tier_shares(
        [
            ProjectQuantities(SKU, price, {"a": 20 * MILLION + 1, "b": 7, "c": -3}),
            ProjectQuantities(SKU, late, {"a": -5 * MILLION, "b": 0}),
        ]
    )

    assert sum(amount for (_, version, _), amount in shares.items() if version == "price_1") < 0
    assert shares[SKU, "price_1", "c"] == 0
    # What is taken back at a later version takes its tiers with it.
    assert (shares[SKU, "price_2", "a"], shares[SKU, "price_2", "b"]) > (0, 0)


def publish(tiers: Tiers = GRADUATED, at: datetime = datetime(2026, 1, 1, tzinfo=UTC), price_nano: int = 100_000_000):
    return publish_price(
        sku=make_sku(SKU),
        price_nano=price_nano,
        unit_size=MILLION,
        active_from=at,
        tiers=tiers,
        now=at - timedelta(hours=1),
    )


@pytest.fixture
def project(db: None) -> Project:
    publish()
    return make_project(make_organization())


def lines_of(invoice: Invoice) -> list[tuple[str, int, int, int]]:
    """Return project, quantity in millions, what tiers change in cents, and cents."""
    lines = InvoiceLine.objects.of_invoice(invoice).select_related("project")
    return [
        (str(line.project and line.project.name), line.quantity // MILLION, line.tier_nano // CENT, line.amount_cents)
        for line in lines
    ]


def test_a_line_is_what_its_project_used_less_its_share_of_what_tiers_take_off(project):
    second = make_project(project.organization, "Second")
    use(project, 10 * MILLION)
    use(second, 15 * MILLION)
    assert cap_of(project).settled_nano == 250 * CENT

    invoice = close(project)

    assert sorted(lines_of(invoice)) == [(project.name, 10, -16, 84), ("Second", 15, -24, 126)]
    assert (invoice.total_cents, invoice.credit_cents, invoice.house_cents) == (210, 210, 0)
    # What was settled beyond it is room again: as much as the grants have left.
    assert cap_of(project).remaining_nano == 290 * CENT
    assert balances(project, starter(project)) == [290]
    assert unbilled_usage(project.organization_id, before=NOVEMBER.end).buckets == []


def test_late_usage_and_corrections_change_the_whole_month_and_other_projects_with_it(project):
    second = make_project(project.organization, "Second")
    use(project, 10 * MILLION)
    mine = use(second, 15 * MILLION)
    close(project)
    take_back(mine, NOVEMBER.start)
    for hour in range(2):
        use(project, 8 * MILLION, NOVEMBER.start + timedelta(days=3, hours=hour))

    invoice = close(project, NOVEMBER.end + timedelta(days=1))

    assert sorted(lines_of(invoice)) == [
        (project.name, 0, 16, 16),
        (project.name, 16, -12, 148),
        ("Second", -15, 24, -126),
    ]
    assert InvoiceLine.objects.filter(invoice=invoice, is_adjustment=True).count() == 2
    assert (invoice.total_cents, cap_of(project).tier_room_nano) == (38, 12 * CENT)
    assert cap_of(project).remaining_nano == 252 * CENT
    assert balances(project, starter(project)) == [252]


def test_a_correction_below_a_volume_tier_finds_no_room_and_is_written_off(db):
    publish(VOLUME)
    project = make_project(make_organization())
    use(project, 10 * MILLION)
    little = use(project, MILLION, OCTOBER + timedelta(hours=1))
    assert close(project).total_cents == 88
    take_back(little, NOVEMBER.start)
    # 4.12 was left, and 0.10 came back.
    cap = cap_of(project)
    cap.reserved_nano = cap.remaining_nano - 5 * CENT
    cap.save()
    use(project, MILLION // 2, NOVEMBER.start)

    invoice = close(project, NOVEMBER.end + timedelta(days=1))

    # 0.05 of November, 0.10 back and 0.22 more, for which there is no room.
    assert (invoice.total_cents, invoice.house_cents, invoice.credit_cents) == (17, 17, 0)
    assert [(row.reason, row.amount_nano) for row in WriteOff.objects.all()] == [("tiers", 22 * CENT)]
    assert cap_of(project).remaining_nano == 0


def test_a_void_invoice_gives_its_room_back_and_the_next_revision_gives_it_again(project):
    allow(project, 100)
    use(project, 100 * MILLION)
    before = cap_of(project).limit_nano

    invoice = close(project, terms=ON_TERMS)
    given = cap_of(project).limit_nano
    void_invoice(invoice=invoice, now=DUE)
    returned = cap_of(project)
    again = close(project, DUE + timedelta(hours=1), ON_TERMS)

    assert (invoice.total_cents, invoice.owed_cents, given) == (660, 160, before + 340 * CENT)
    assert (returned.limit_nano, returned.tier_room_nano) == (before, 0)
    assert (again.total_cents, cap_of(project).limit_nano) == (660, given)


@pytest.fixture
def verified(tmp_path, capsys) -> Callable[[Records], tuple[int, str]]:
    def run(records: Records) -> tuple[int, str]:
        export, prices = tmp_path / "invoice.jsonl", tmp_path / "prices.json"
        export.write_text("".join(json.dumps(record) + "\n" for record in records))
        prices.write_bytes(json_of(rate_card()))
        code = main([str(export), "--prices", str(prices)])
        return code, capsys.readouterr().out

    return run


@pytest.fixture
def invoice(project: Project) -> Invoice:
    """November's: two versions with tiers, and October, of which one project was billed before and another is late."""
    second = make_project(project.organization, "Second")
    use(project, 12 * MILLION)
    close(project)
    use(second, 3 * MILLION + 1, OCTOBER, now=DUE + timedelta(days=1))
    publish(VOLUME, NOVEMBER.start + timedelta(days=10), 90_000_000)
    for at, quantity in ((NOVEMBER.start, 9_999_999), (NOVEMBER.start + timedelta(days=10), 2_000_003)):
        use(project, quantity, at)
        use(second, quantity + 5, at)
    return close(project, NOVEMBER.end + timedelta(days=1))


def test_an_export_with_tiers_comes_out(invoice, verified):
    code, said = verified(records_of(invoice))

    assert code == 0, said
    assert "note" not in said
    assert len(invoice.tiered) == 3
    assert {line.tier_nano < 0 for line in InvoiceLine.objects.of_invoice(invoice)} == {True}


def a_use(all_: Records, number: int = 0) -> dict[str, Any]:
    return of(all_, "use", number)


CHANGES: dict[str, tuple[Callable[[Records], Any], str]] = {
    "what tiers change": (lambda all_: changed(of(all_, "line", 1), tiers="0.00"), "Line 2"),
    "a tier's price": (lambda all_: changed(a_price(all_)["tiers"][0], price="0.07"), "on the rate card"),
    "a tier's begin": (lambda all_: changed(a_price(all_)["tiers"][0], above=9_000_000), "on the rate card"),
    "graduated for volume": (lambda all_: changed(a_price(all_), tier_mode="volume"), "on the rate card"),
    "no tiers": (lambda all_: a_price(all_).update(tier_mode="flat", tiers=[]), "on the rate card"),
    "what was billed before": (lambda all_: changed(a_use(all_)["projects"][0], before=1), "the invoice bills"),
    "both of them": (lambda all_: more(a_use(all_)["projects"][0]), "tiers change"),
    "a version's first hour": (lambda all_: changed(a_use(all_), first_after="2026-10-01T00:00:00Z"), "does not begin"),
    "a version twice": (lambda all_: a_use(all_, 2).update(a_use(all_, 1)), "does not begin"),
    "a version less": (lambda all_: drop(all_, a_use(all_, 1)), "is in no account of 2026-11"),
    "a use less": (lambda all_: all_.remove(a_use(all_)), "uses and says 3"),
}


def a_price(all_: Records) -> dict[str, Any]:
    [price] = [one for one in all_ if one["record"] == "price" and one["id"] == a_use(all_)["price"]]
    return price


def more(part: dict[str, Any]) -> None:
    part.update(before=part["before"] + MILLION, after=part["after"] + MILLION)


def drop(all_: Records, record: dict[str, Any]) -> None:
    all_.remove(record)
    of(all_, "end")["uses"] -= 1


def test_what_is_changed_of_tiers_is_named(invoice, verified):
    whole = json.dumps(records_of(invoice))
    for change, (spoil, named) in CHANGES.items():
        records = json.loads(whole)
        spoil(records)

        code, said = verified(records)

        assert (code, said[:9]) == (1, "DIFFERS: "), (change, said)
        assert named in said, (change, said)


def test_the_order_of_versions_is_that_of_the_hours_that_were_billed(project):
    """Late usage may be the first of its version, and the first of the month: both computations are whole."""
    publish(VOLUME, month_of(OCTOBER).start + timedelta(days=10), 90_000_000)
    use(project, 15 * MILLION)
    close(project)
    use(project, 15 * MILLION, month_of(OCTOBER).start + timedelta(days=1), now=DUE)
    # Taken back before anybody billed it: of no account.
    take_back(use(project, 5, month_of(OCTOBER).start, now=DUE), DUE)
    use(project, MILLION, NOVEMBER.start + timedelta(days=20))
    close(project, NOVEMBER.end + timedelta(days=1))

    october = InvoiceLine.objects.filter(month=month_of(OCTOBER).start)
    by_version = {
        price_nano: sum(line.tier_nano for line in october.filter(price_nano=price_nano))
        for price_nano in (100_000_000, 90_000_000)
    }
    assert by_version == {100_000_000: -5 * 2 * CENT, 90_000_000: -15 * 3 * CENT}
