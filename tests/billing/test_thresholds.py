"""Who has used more than their terms let wait is invoiced in the middle of the month, and every hour once."""

from datetime import UTC, datetime, timedelta

import pytest

from accounts.models import Project
from billing.models import Invoice, InvoicedBucket, InvoiceLine
from billing.selectors import prove_ledger
from billing.selectors.invoice_export import export_records
from billing.selectors.unbilled import unbilled_buckets
from billing.services.month_closing import close_due_months, close_months_of, invoice_above_thresholds
from billing.services.usage import record_usage
from billing.verify_invoice import main
from catalog.services.prices import publish_price
from portal.lib.exports import json_lines
from portal.lib.money import NANO_PER_USD
from portal.lib.tenancy import as_platform
from portal.lib.tiers import Tier, TierMode, Tiers
from tests.factories.accounts import make_organization, make_project
from tests.factories.billing import make_record
from tests.factories.catalog import make_price, make_sku
from tests.factories.terms import put_terms_in_force

pytestmark = pytest.mark.django_db

USD = NANO_PER_USD
SKU = "model.demo.input"
OCTOBER = datetime(2026, 10, 1, tzinfo=UTC)
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def project() -> Project:
    """Of an organization that is invoiced above $50.00, with its starter credit used up in September."""
    make_price(SKU, USD, 1_000_000, active_from=datetime(2026, 1, 1, tzinfo=UTC))
    project = make_project(make_organization())
    use(project, 5, OCTOBER - 20 * DAY)
    close_months_of(organization=project.organization, now=OCTOBER + DAY)
    put_terms_in_force(project.organization, 1_000 * USD, now=OCTOBER, invoice_above_nano=50 * USD)
    return project


def use(project: Project, dollars: int, at: datetime, *, now: datetime | None = None) -> None:
    usage = make_record(project, dollars * 1_000_000, sku=SKU, occurred_at=at)
    record_usage([usage], reservation_id=None, now=now or at)


def look(now: datetime) -> int:
    with as_platform():
        return invoice_above_thresholds(now=now)


def invoices(project: Project) -> list[Invoice]:
    mine = Invoice.objects.owned_by(project.organization).filter(period_start__gte=OCTOBER)
    return list(mine.order_by("period_start"))


def test_a_month_is_invoiced_in_parts_that_meet(project):
    use(project, 50, OCTOBER + 10 * DAY)
    assert look(OCTOBER + 11 * DAY) == 0  # not more than the threshold
    use(project, 1, OCTOBER + 11 * DAY)
    assert look(OCTOBER + 11 * DAY + 2 * HOUR) == 0  # that hour may still be reported
    assert [look(OCTOBER + 11 * DAY + 3 * HOUR), look(OCTOBER + 11 * DAY + 4 * HOUR)] == [1, 0]
    use(project, 60, OCTOBER + 20 * DAY)
    assert look(OCTOBER + 21 * DAY) == 1
    use(project, 7, OCTOBER + 25 * DAY)
    with as_platform():
        assert close_due_months(now=OCTOBER + 32 * DAY) == 1

    found = invoices(project)
    assert [one.owed_cents for one in found] == [5_100, 6_000, 700]
    assert found[0].period_start == OCTOBER
    assert found[0].period_end == found[1].period_start == OCTOBER + 11 * DAY + HOUR
    assert found[1].period_end == found[2].period_start == OCTOBER + 20 * DAY + 22 * HOUR
    assert found[2].period_end == OCTOBER + 31 * DAY
    assert found[0].due_at == OCTOBER + 11 * DAY + 3 * HOUR + 30 * DAY
    assert InvoicedBucket.objects.filter(invoice__in=found).count() == 4
    assert unbilled_buckets(project.organization_id, before=OCTOBER + 31 * DAY) == []
    assert prove_ledger().is_whole


def test_what_comes_late_for_a_part_is_on_the_next_and_says_so(project):
    use(project, 60, OCTOBER + 10 * DAY)
    look(OCTOBER + 11 * DAY)
    use(project, 3, OCTOBER + 10 * DAY, now=OCTOBER + 12 * DAY)
    use(project, 4, OCTOBER + 12 * DAY)
    close_months_of(organization=project.organization, now=OCTOBER + 32 * DAY)

    last = invoices(project)[-1]
    lines = InvoiceLine.objects.of_invoice(last).values_list("is_adjustment", "month__month", "amount_cents")
    assert list(lines) == [(False, 10, 400), (True, 10, 300)]


def test_a_part_can_be_computed_again_with_what_came_late_for_it(project, tmp_path, capsys):
    use(project, 60, OCTOBER + 10 * DAY)
    look(OCTOBER + 11 * DAY)
    use(project, 3, OCTOBER + 10 * DAY, now=OCTOBER + 12 * DAY)
    use(project, 70, OCTOBER + 12 * DAY)
    look(OCTOBER + 13 * DAY)

    for part in invoices(project):
        export = tmp_path / f"{part.number}.jsonl"
        export.write_bytes(b"".join(json_lines(export_records(project.organization, part))))
        assert main([str(export)]) == 0, capsys.readouterr().out
    assert [one.owed_cents for one in invoices(project)] == [6_000, 7_300]


def test_the_month_before_comes_first(project):
    use(project, 40, OCTOBER + 30 * DAY)
    use(project, 60, OCTOBER + 31 * DAY)

    assert look(OCTOBER + 32 * DAY - HOUR) == 0
    assert look(OCTOBER + 32 * DAY) == 1

    assert [(one.period_start.month, one.owed_cents) for one in invoices(project)] == [(10, 4_000), (11, 6_000)]


def test_without_a_threshold_months_are_whole(project):
    put_terms_in_force(project.organization, 1_000 * USD, now=OCTOBER)
    use(project, 900, OCTOBER + 10 * DAY)

    assert look(OCTOBER + 20 * DAY) == 0


def test_tiers_run_over_all_parts_of_a_month(project, tmp_path, capsys):
    tiers = Tiers(TierMode.GRADUATED, (Tier(30_000_000, USD // 2),))
    publish_price(
        sku=make_sku(SKU), price_nano=USD, unit_size=1_000_000, active_from=OCTOBER, tiers=tiers, now=OCTOBER - DAY
    )
    use(project, 60, OCTOBER + 10 * DAY)
    look(OCTOBER + 11 * DAY)
    use(project, 10, OCTOBER + 10 * DAY, now=OCTOBER + 12 * DAY)
    use(project, 60, OCTOBER + 12 * DAY)
    look(OCTOBER + 13 * DAY)
    use(project, 1, OCTOBER + 20 * DAY)
    close_months_of(organization=project.organization, now=OCTOBER + 32 * DAY)

    # 30 at a dollar, and a hundred and one at half of it, whatever part they are in.
    assert [one.owed_cents for one in invoices(project)] == [4_500, 3_500, 50]
    for part in invoices(project):
        export = tmp_path / f"{part.number}.jsonl"
        export.write_bytes(b"".join(json_lines(export_records(project.organization, part))))
        assert main([str(export)]) == 0, capsys.readouterr().out
    assert not prove_ledger().differences
