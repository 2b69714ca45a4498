"""Usage from outside: every id one fate, every delivery an answer, whatever else is in the batch."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import Error, connection, transaction

from accounts.models import Project
from billing.models import SpendCap, UsageByHour, UsageEvent, UsageFate
from billing.selectors import budget_of, closed_until, fate_of
from billing.services.reported import UsageReport, correction_id_of, event_id_of
from billing.services.usage import record_usage
from billing.services.usage_reports import report_usage
from portal.lib.tenancy import as_platform
from tests.factories.accounts import make_key, make_project
from tests.factories.billing import NOW, close_month_before, make_record, make_report
from tests.factories.catalog import make_price

pytestmark = pytest.mark.django_db

SKU = "model.demo.input"


@pytest.fixture
def project() -> Project:
    make_price(SKU, 150_000_000, 1_000_000)
    return make_project()


def told(*reports: UsageReport, now: datetime = NOW) -> list[tuple[str, str]]:
    with as_platform():
        answers = report_usage(reports, now=now)
    assert [answer.event_id for answer in answers] == [report.event_id for report in reports]
    return [(answer.outcome.value, answer.reason) for answer in answers]


def facts() -> tuple[object, ...]:
    models = (UsageFate, UsageEvent, UsageByHour)
    caps = list(SpendCap.objects.values_list("settled_nano", "reserved_nano"))
    return [sorted(model.objects.values_list(), key=repr) for model in models], caps


def correction_of(report: UsageReport, **changes: object) -> UsageReport:
    opposite = replace(
        report, event_id=correction_id_of(report.event_id), quantity=-report.quantity, corrects=report.event_id
    )
    return replace(opposite, **changes)  # type: ignore[arg-type]


def test_an_event_is_counted_and_a_repetition_hears_that_it_was(project):
    report = make_report(project, 1_000_000)

    assert told(report) == [("counted", "")]
    before = facts()
    assert told(report, report, now=NOW + timedelta(days=1)) == [("duplicate", ""), ("duplicate", "")]

    assert facts() == before
    assert budget_of(project.organization).settled_nano == 150_000_000
    event = UsageEvent.objects.get()
    assert (event.event_id, event.quantity, event.project_id) == (report.event_id, 1_000_000, project.pk)


def test_an_id_is_made_of_the_source_the_name_and_the_sku():
    first = event_id_of("https://eu.example/gateway", "1", SKU)

    assert first == event_id_of("https://eu.example/gateway", "1", SKU)
    others = [("https://us.example/gateway", "1", SKU), ("https://eu.example/gateway", "2", SKU)]
    assert first not in [event_id_of(*other) for other in [*others, ("https://eu.example/gateway", "1", "other")]]


@pytest.mark.parametrize(
    "change",
    [
        {"quantity": 11},
        {"occurred_at": NOW - timedelta(hours=3)},
        {"resource_id": "other"},
        {"request_id": "other"},
    ],
)
def test_another_content_is_a_conflict_and_what_is_known_stays(project, change, caplog):
    report = make_report(project, 10)
    told(report)
    before = facts()

    assert told(replace(report, **change)) == [("rejected", "conflict")]

    assert facts() == before
    assert "billing.usage.conflict" in caplog.text


def test_an_id_that_comes_for_another_organization_is_a_conflict(project):
    report, other = make_report(project, 10), make_project()
    elsewhere = replace(report, organization=other.organization.public_id, project=other.public_id)

    outcomes = told(report, elsewhere)

    assert sorted(outcomes) == [("counted", ""), ("rejected", "conflict")]
    assert UsageEvent.objects.count() == 1


def test_of_two_contents_in_one_batch_the_first_is_the_event(project):
    report = make_report(project, 10)

    assert told(report, replace(report, quantity=11), report) == [
        ("counted", ""),
        ("rejected", "conflict"),
        ("duplicate", ""),
    ]
    assert UsageEvent.objects.get().quantity == 10


REJECTED: dict[str, dict[str, Any]] = {
    "unknown_organization": {"organization": "org_nobody"},
    "unknown_project": {"project": "proj_nobody"},
    "unknown_key": {"api_key": "key_nobody"},
    "negative": {"quantity": -1},
    "future": {"occurred_at": NOW + timedelta(minutes=5, seconds=1)},
    "too_old": {"occurred_at": NOW - timedelta(days=35, seconds=1)},
    "unpriced": {"sku": "model.free.input"},
}


@pytest.mark.parametrize("reason", REJECTED)
def test_what_cannot_be_counted_is_rejected_for_ever_and_keeps_nobody_else_out(project, reason):
    good, bad = make_report(project, 1), replace(make_report(project), **REJECTED[reason])

    assert told(bad, good) == [("rejected", reason), ("counted", "")]
    assert told(bad, now=NOW + timedelta(hours=1)) == [("rejected", reason)]

    assert UsageEvent.objects.get().event_id == good.event_id
    fate = UsageFate.objects.get(pk=bad.event_id)
    assert (fate.outcome, fate.reason, (fate.content or {})["sku"]) == ("rejected", reason, bad.sku)


def test_a_rejected_id_hears_the_same_when_its_price_has_come(project):
    report = replace(make_report(project), sku="model.new.input")
    assert told(report) == [("rejected", "unpriced")]

    make_price("model.new.input", 1, 1)

    assert told(report) == [("rejected", "unpriced")]


def test_a_key_or_project_of_somebody_else_is_unknown(project):
    other = make_project()
    key = make_key(other).api_key.public_id

    assert told(make_report(project, api_key=key)) == [("rejected", "unknown_key")]
    assert told(replace(make_report(project), project=other.public_id)) == [("rejected", "unknown_project")]


def test_a_key_of_the_project_is_charged(project):
    key = make_key(project).api_key

    told(make_report(project, 10, api_key=key.public_id))

    assert UsageEvent.objects.get().api_key_id == key.pk


LATE = NOW.replace(day=1, hour=0, minute=0) - timedelta(hours=1)


def test_usage_of_a_month_that_is_invoiced_is_late(project):
    close_month_before(project.organization, NOW.replace(day=1, hour=0, minute=0))
    assert closed_until(organization_id=project.organization_id) == NOW.replace(day=1, hour=0, minute=0)
    late, now = make_report(project, 10, occurred_at=LATE), make_report(project, 10)

    assert told(late, now) == [("late", ""), ("counted", "")]
    assert told(late) == [("duplicate", "")]

    assert UsageEvent.objects.count() == 2
    fate = fate_of(late.event_id)
    assert fate is not None
    assert (fate.outcome, fate.organization) == ("late", project.organization.public_id)


def test_until_its_invoice_is_issued_a_month_takes_its_usage(project):
    end = NOW.replace(day=1, hour=0, minute=0)

    assert told(make_report(project, 1, occurred_at=end - timedelta(seconds=1))) == [("counted", "")]
    close_month_before(project.organization, end)
    assert told(make_report(project, 1, occurred_at=end - timedelta(seconds=1))) == [("late", "")]
    assert told(make_report(project, 1, occurred_at=end)) == [("counted", "")]


def test_what_the_portal_measures_itself_is_late_once_and_has_no_row_otherwise(project):
    close_month_before(project.organization, NOW.replace(day=1, hour=0, minute=0))
    late, counted = make_record(project, 10, occurred_at=LATE), make_record(project, 10)
    record_usage([late, counted], reservation_id=None, now=NOW)
    record_usage([late, counted], reservation_id=None, now=NOW + timedelta(hours=1))

    fate = UsageFate.objects.get()
    assert (fate.event_id, fate.outcome, fate.recorded_at) == (late.event_id, "late", NOW)
    found = fate_of(counted.event_id, NOW.date())
    assert found is not None
    assert (found.outcome, found.occurred_at) == ("counted", NOW)
    assert fate_of(counted.event_id) is None
    assert fate_of(uuid4(), NOW.date()) is None


def test_an_event_that_was_counted_in_time_is_not_late_when_it_comes_again(project):
    record = make_record(project, 10, occurred_at=LATE)
    record_usage([record], reservation_id=None, now=LATE)

    record_usage([record], reservation_id=None, now=NOW)

    assert not UsageFate.objects.exists()


def test_a_correction_takes_its_event_back_once(project):
    report = make_report(project, 1_000_000)

    assert told(correction_of(report), report) == [("counted", ""), ("counted", "")]
    assert told(correction_of(report)) == [("duplicate", "")]

    assert budget_of(project.organization).settled_nano == UsageByHour.objects.get().amount_nano == 0


def test_a_correction_waits_for_its_event(project):
    report = make_report(project, 10)

    assert told(correction_of(report)) == [("deferred", "corrects_unknown")]
    assert not UsageFate.objects.exists()
    told(report)

    assert told(correction_of(report)) == [("counted", "")]


@pytest.mark.parametrize(
    "change", [{"quantity": -9}, {"quantity": 10}, {"resource_id": "other"}, {"occurred_at": NOW - timedelta(hours=1)}]
)
def test_a_correction_is_the_exact_opposite_or_rejected(project, change):
    report = make_report(project, 10)
    told(report)

    assert told(correction_of(report, **change)) == [("rejected", "corrects_otherwise")]
    assert UsageEvent.objects.count() == 1


def test_what_was_rejected_cannot_be_taken_back(project):
    report = make_report(project, -10)
    told(report)

    correction = replace(correction_of(report), quantity=-10)
    assert told(correction) == [("rejected", "corrects_nothing")]


def test_what_the_database_refuses_keeps_no_other_event_out(project):
    # A bucket has no room for this price of this much.
    make_price("model.dear.input", 10**15, 1)
    bad = replace(make_report(project, 10**6), sku="model.dear.input")
    good = [make_report(project, 1) for _ in range(5)]

    assert (
        told(*good[:3], bad, *good[3:]) == [("counted", "")] * 3 + [("failed", "not_recorded")] + [("counted", "")] * 2
    )
    assert UsageEvent.objects.count() == 5
    assert fate_of(bad.event_id) is None


def test_each_organization_is_charged_for_its_own(project):
    other = make_project()
    mine, theirs = make_report(project, 1_000_000), make_report(other, 2_000_000)

    assert told(theirs, mine) == [("counted", ""), ("counted", "")]

    assert budget_of(project.organization).settled_nano == 150_000_000
    assert budget_of(other.organization).settled_nano == 300_000_000


@pytest.mark.parametrize(
    "change",
    [
        "outcome = 'rejected', reason = 'negative', decided_at = now(), decision = 'because of it'",
        "organization_id = NULL",
        "occurred_at = now()",
        "decided_at = NULL, outcome = 'counted'",
    ],
)
def test_nobody_changes_a_fate(project, change):
    told(make_report(project))

    with pytest.raises(Error, match="one fate"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"UPDATE billing_usagefate SET {change}")
