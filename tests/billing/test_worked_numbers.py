"""The worked numbers of docs/algorithms are true."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid5

import pytest

from billing.models import SpendCap, UsageByHour
from billing.rating import CapState, PeriodQuantity, discounted_nano, explain, settle, tier_adjustments
from billing.services.credits import lock_cap
from billing.services.reported import UsageReport
from billing.services.usage import UsageRecord, record_usage
from billing.services.usage_reports import report_usage
from catalog.selectors import UnitPrice
from dev.paths import ROOT
from portal.lib.money import round_bucket
from portal.lib.tenancy import as_platform
from portal.lib.tiers import Tier, TierMode, Tiers
from tests.factories.accounts import make_project
from tests.factories.billing import NOW, close_month_before, make_record, make_report
from tests.factories.catalog import make_price


def table(document: str, first_column: str) -> list[dict[str, str]]:
    """Return the rows of the table whose heading begins with `first_column`, by column."""
    lines = (ROOT / "docs/algorithms" / document).read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first_column} |"))
    names = cells(lines[start])
    body = lines[start + 2 :]
    end = next((number for number, line in enumerate(body) if not line.startswith("|")), len(body))
    return [dict(zip(names, cells(line), strict=True)) for line in body[:end]]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def number(text: str) -> int:
    return int(text.replace(",", ""))


def numbers(text: str) -> list[int]:
    return [int(part) for part in re.split(r",\s+", text)]


@pytest.mark.parametrize("row", table("rating.md", "quantity"), ids=lambda row: row["why"])
def test_amounts(row):
    amount = round_bucket(number(row["quantity"]), number(row["price_nano"]), number(row["unit_size"]))

    assert amount == number(row["amount_nano"])


@pytest.mark.parametrize("row", table("rating.md", "before"), ids=lambda row: row["quantities"])
def test_explanations(row):
    price = UnitPrice("sku", "price", price_nano=150, unit_size=1_000)

    assert explain(number(row["before"]), numbers(row["quantities"]), price) == numbers(row["parts"])


@pytest.mark.parametrize("row", table("rating.md", "list_nano"), ids=lambda row: row["why"])
def test_discounts(row):
    assert discounted_nano(number(row["list_nano"]), number(row["basis_points"])) == number(row["paid_nano"])


@pytest.mark.parametrize("row", table("rating.md", "mode"), ids=lambda row: f"{row['mode']} {row['quantities']}")
def test_tiers(row):
    steps = () if row["mode"] == "flat" else (Tier(10_000_000, 80_000_000), Tier(20_000_000, 60_000_000))
    tiers = Tiers(TierMode(row["mode"]), steps)
    versions = [UnitPrice("sku", f"price_{n}", 100_000_000, 1_000_000, tiers) for n in range(2)]
    quantities = [number(part) for part in row["quantities"].split(";")]

    lines = tier_adjustments(PeriodQuantity("sku", *pair) for pair in zip(versions, quantities, strict=False))

    found = {line.price_id: line.amount_nano for line in lines}
    assert [found.get(version.price_id, 0) for version, _ in zip(versions, quantities, strict=False)] == [
        number(part) for part in row["lines"].split(";")
    ]


@pytest.mark.parametrize("row", table("caps.md", "limit"), ids=lambda row: row["change"])
def test_settlements(row):
    cap = CapState(*(number(row[name]) for name in ("limit", "settled", "reserved", "held")))

    done = settle(cap, number(row["change"]))

    assert (done.charged_nano, done.from_reservation_nano, done.written_off_nano) == tuple(
        number(row[name]) for name in ("charged", "from reservation", "written off")
    )


@pytest.mark.django_db
def test_sequence_of_events():
    make_price("model.demo.input", 150_000_000, 1_000_000)
    project = make_project()

    for row in table("metering.md", "event"):
        name, quantity = row["event"], number(row["quantity"])
        record = make_record(project, quantity, cause=name.removeprefix("correction of "))
        if name.startswith("correction"):
            record = correction_of(record, quantity)
        done = record_usage([record], reservation_id=None, now=NOW)

        assert (done.counted, done.charged_nano) == (number(row["counted"]), number(row["charged_nano"])), row
        assert UsageByHour.objects.get().amount_nano == number(row["bucket_nano"]), row


def correction_of(record: UsageRecord, quantity: int) -> UsageRecord:
    return UsageRecord(
        event_id=uuid5(record.event_id, "correct"),
        occurred_at=record.occurred_at,
        organization_id=record.organization_id,
        project_id=record.project_id,
        sku=record.sku,
        quantity=quantity,
        resource_id=record.resource_id,
        api_key_id=None,
        user_id=None,
        corrects=record.event_id,
    )


@pytest.mark.django_db
def test_sequence_of_deliveries():
    make_price("model.demo.input", 150_000_000, 1_000_000)
    project = make_project()
    cap = lock_cap(organization_id=project.organization_id, now=NOW)
    close_month_before(project.organization, datetime(2026, 11, 1, tzinfo=UTC))
    known: dict[str, UsageReport] = {}
    settled = 0

    for row in table("metering.md", "delivery"):
        name, quantity = row["delivery"], number(row["tokens"])
        at = datetime.fromisoformat(row["time"])
        if name.startswith("correction of "):
            original = known.setdefault(
                name.removeprefix("correction of "), make_report(project, -quantity, occurred_at=at)
            )
            report = make_report(project, quantity, occurred_at=at, corrects=original.event_id)
        else:
            first = known.setdefault(name, make_report(project, quantity, occurred_at=at))
            report = replace(first, quantity=quantity, occurred_at=at)
        with as_platform():
            [answer] = report_usage([report], now=NOW)
        before, settled = settled, SpendCap.objects.get(pk=cap.pk).settled_nano

        assert (answer.outcome.value, answer.reason) == (row["outcome"], row["reason"]), row
        assert settled - before == number(row["charged_nano"]), row
