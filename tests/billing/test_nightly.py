"""Every night the books are held against their sources: each seeded mistake is found by one job, and named."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta

import pytest
from django.db import connection, transaction
from structlog.testing import capture_logs

from accounts.models import Project
from accounts.services.staff import StaffGroup
from billing.models import Difference, Invoice, Reconciliation, ReconciliationJob
from billing.reconcile import Findings, Found, Thing, compare_amounts, leave_out
from billing.selectors.nightly import MOST_DAYS, due_days
from billing.selectors.nightly_usage import RANDOM_DAYS, day_period, days_to_sum
from billing.services.nightly import reconcile
from billing.services.reconciling import MOST_WRITTEN, UnableToExplain, explain_difference, record_result
from billing.services.usage import record_usage
from compute.models import HealthInterval
from compute.services.agreement import reconcile_hours
from tests.accounts.test_legal_holds import make_staff
from tests.factories.accounts import make_project
from tests.factories.billing import NOW, make_cap, make_invoice, make_record, make_reservation
from tests.factories.catalog import make_price
from tests.factories.compute import make_instance

pytestmark = pytest.mark.django_db
Job = ReconciliationJob
TODAY = NOW.date()
NIGHT = (NOW + timedelta(days=1)).replace(hour=4)


@pytest.fixture(autouse=True)
def without_provider(settings):
    settings.STRIPE_SECRET_KEY = ""


@pytest.fixture
def project() -> Project:
    """A project with usage of today, an invoice of last month, a hold and an instance that ran for ten minutes."""
    project = make_project()
    make_invoice(project, now=NOW)
    make_price("model.demo.input", 150_000_000, 1_000_000)
    records = [make_record(project, quantity, user_id=7) for quantity in (1_000_000, 3, 777)]
    record_usage(records, reservation_id=None, now=NOW)
    make_reservation(project, now=NOW)
    run_instance(project)
    return project


def run_instance(project: Project) -> None:
    instance = make_instance(NOW - timedelta(minutes=30), project)
    begin, end = NOW - timedelta(minutes=20), NOW - timedelta(minutes=10)
    HealthInterval.objects.create(
        organization=project.organization,
        instance=instance,
        started_at=begin,
        confirmed_to=end,
        metered_to=end,
        ended_at=end,
    )
    record = make_record(project, 600, sku=instance.sku, occurred_at=begin, resource_id=instance.public_id)
    record_usage([record], reservation_id=None, now=NOW)


@contextmanager
def past_every_guard() -> Iterator[None]:
    """Work as a superuser on whom no trigger acts, as nobody of the portal can."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        yield
        cursor.execute("SET LOCAL session_replication_role = origin")


def change(statement: str) -> None:
    with past_every_guard(), connection.cursor() as cursor:
        cursor.execute(statement)
        assert cursor.rowcount == 1, statement


def night() -> None:
    reconcile(now=NIGHT)
    reconcile_hours(now=NIGHT)


def found() -> list[tuple[str, str]]:
    return [(row.reconciliation.job, row.what) for row in Difference.objects.order_by("pk")]


def test_where_nothing_is_wrong_every_job_says_so(project):
    with capture_logs() as lines:
        night()

    assert found() == []
    counts = dict(Reconciliation.objects.values_list("job", "checked_count"))
    assert counts.keys() == set(Job) - {Job.PAYMENTS}  # no provider is configured
    assert all(counts.values()), counts
    assert {line["event"] for line in lines} == {"billing.reconciliation.agrees"}


DEMO = "sku = 'model.demo.input'"
SEEDS = {
    "a bucket's amount": (
        f"UPDATE billing_usagebyhour SET amount_nano = amount_nano + 1 WHERE {DEMO}",
        Job.USAGE,
        "bucket 2026-11-22: 2026-11-22T12Z",
    ),
    "a bucket's events": (
        f"UPDATE billing_usagebyhour SET event_count = event_count + 1 WHERE {DEMO}",
        Job.USAGE,
        "bucket 2026-11-22: 2026-11-22T12Z",
    ),
    "a bucket's quantity": (
        f"UPDATE billing_usagebyhour SET quantity = quantity - 777 WHERE {DEMO}",
        Job.USAGE,
        "bucket 2026-11-22: 2026-11-22T12Z",
    ),
    "a lost bucket": (
        f"DELETE FROM billing_spendbyday WHERE {DEMO}",
        Job.USAGE,
        "day 2026-11-22: model.demo.input",
    ),
    "a day's amount": (
        f"UPDATE billing_spendbyday SET amount_nano = amount_nano - 1 WHERE {DEMO}",
        Job.USAGE,
        "day 2026-11-22: model.demo.input",
    ),
    "an explained quantity": (
        f"UPDATE billing_usagebyresource SET quantity = quantity + 5 WHERE {DEMO}",
        Job.USAGE,
        "explained quantity 2026-11-22",
    ),
    "a week": (
        "UPDATE billing_spendbycause SET amount_nano = amount_nano + 1 WHERE span_days = 7 AND cause = 'member'"
        " AND cause_id = '7'",
        Job.USAGE,
        "week 2026-11-22: member 7",
    ),
    "an account's sum": (
        "UPDATE billing_ledgeraccount SET debits_nano = debits_nano + 1 WHERE kind = 'promotions'",
        Job.LEDGER,
        "acct_",
    ),
    "a hold": (
        "UPDATE billing_spendcap SET reserved_nano = reserved_nano + 10 WHERE scope = 'organization'",
        Job.CAPS,
        "held of cap_",
    ),
    "what was settled": (
        "UPDATE billing_spendcap SET settled_nano = settled_nano - 10 WHERE scope = 'organization'",
        Job.CAPS,
        "settled of cap_",
    ),
    "an invoice's line": (
        "UPDATE billing_invoiceline SET quantity = quantity + 1",
        Job.INVOICES,
        "invoice HR-",
    ),
    "who pays a line": (
        """UPDATE billing_invoiceline SET parts = '[{"payer": "owed", "grant": "", "cents": 100}]'""",
        Job.INVOICES,
        "invoice HR-",
    ),
    "an invoice's postings": (
        "UPDATE billing_ledgerentry SET source = 'invoice:inv_nobody' WHERE source LIKE 'invoice:%'",
        Job.INVOICES,
        "invoice HR-",
    ),
    "an interval": (
        "UPDATE compute_healthinterval SET started_at = started_at - interval '1 minute'",
        Job.INSTANCES,
        "inst_",
    ),
}


def test_each_seeded_mistake_is_found_by_one_job_and_named(project):
    for title, (statement, job, name) in SEEDS.items():
        mistake = transaction.savepoint_create()
        change(statement)
        with capture_logs() as lines:
            night()

        assert {which for which, _ in found()} == {job}, title
        assert all(what.startswith(name) for _, what in found()), found()
        alarms = [line for line in lines if line["event"] == "billing.reconciliation.differs"]
        assert [(line["job"], line["log_level"]) for line in alarms] == [(job.value, "error")], title
        assert {row.organization_public_id for row in Difference.objects.all()} == {project.organization.public_id}
        transaction.savepoint_rollback(mistake)
    assert found() == []


def test_an_event_that_is_gone_is_found(project):
    change(f"DELETE FROM billing_usageevent WHERE {DEMO} AND quantity = 777")

    night()

    assert {job for job, _ in found()} == {Job.USAGE}
    bucket = Difference.objects.get(what__startswith="bucket")
    assert (bucket.ours, bucket.theirs) == (
        "1000780 units, 3 events, 0.150117 USD",
        "1000003 units, 2 events, 0.15000045 USD",
    )
    assert bucket.amount_nano == 777 * 150


def test_an_id_that_counts_at_two_instants_is_found(project):
    record = make_record(project, 5)
    again = record.__class__(**{**_values(record), "occurred_at": NOW - timedelta(minutes=1)})
    record_usage([record], reservation_id=None, now=NOW)
    record_usage([again], reservation_id=None, now=NOW)

    night()

    assert found() == [(Job.USAGE, f"event {record.event_id} on 2026-11-22")]


def _values(record):
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def test_hours_that_nobody_counted_are_found(project):
    instance = HealthInterval.objects.get().instance
    at = NOW - timedelta(days=1)
    HealthInterval.objects.create(
        organization=project.organization,
        instance=instance,
        started_at=at,
        confirmed_to=at + timedelta(hours=1),
        metered_to=at + timedelta(hours=1),
        ended_at=at + timedelta(hours=1),
    )
    record_result(job=Job.USAGE, day=TODAY - timedelta(days=1), findings=Findings(0), now=NOW)

    reconcile_hours(now=NIGHT)

    assert found() == [(Job.INSTANCES, f"{instance.public_id} on 2026-11-21")]
    assert Difference.objects.get().theirs == "3600 seconds (1:00:00)"


def test_usage_of_an_instance_that_there_is_not_is_found(project):
    record_usage([make_record(project, 60, resource_id="inst_nobody")], reservation_id=None, now=NOW)

    night()

    assert found() == [(Job.INSTANCES, "inst_nobody on 2026-11-22")]


def test_one_mistake_has_one_name_also_where_others_build_on_it(project):
    # The amount of a bucket, which a cap is held against, through its price.
    change(f"UPDATE billing_usagebyhour SET price_nano = price_nano * 2 WHERE {DEMO}")

    night()

    assert {job for job, _ in found()} == {Job.USAGE}


def test_what_agrees_again_is_gone_and_its_explanation_with_it(project):
    change("UPDATE billing_spendcap SET reserved_nano = reserved_nano + 10 WHERE scope = 'organization'")
    reconcile(now=NIGHT)
    difference = Difference.objects.get()
    finance = make_staff(StaffGroup.FINANCE)
    explain_difference(public_id=difference.public_id, explanation="A hold was lost", by=finance, now=NIGHT)
    assert not Difference.objects.open().exists()

    caps = Reconciliation.objects.get(job=Job.CAPS)
    record_result(job=Job.CAPS, day=caps.day, findings=Findings(3), now=NIGHT)
    difference.refresh_from_db()
    assert (difference.gone_at, difference.explanation) == (NIGHT, "A hold was lost")

    again = Found(Thing(difference.what), "1.00 USD", "2.00 USD", 1_000_000_000)
    record_result(job=Job.CAPS, day=caps.day, findings=Findings(3, (again,)), now=NIGHT)
    difference.refresh_from_db()
    assert (difference.gone_at, difference.explanation, difference.ours) == (None, "", "1.00 USD")
    caps.refresh_from_db()
    assert (caps.run_count, caps.difference_count, caps.amount_nano) == (3, 1, 1_000_000_000)
    assert Difference.objects.count() == 1


def test_a_flood_of_differences_is_counted_and_not_written_whole():
    many = tuple(Found(Thing(f"thing {number}"), "1", "2", 1) for number in range(MOST_WRITTEN + 7))

    run = record_result(job=Job.CAPS, day=TODAY, findings=Findings(len(many), many), now=NOW)

    assert (run.difference_count, run.amount_nano) == (MOST_WRITTEN + 7, MOST_WRITTEN + 7)
    assert Difference.objects.count() == MOST_WRITTEN


@pytest.mark.parametrize(
    ("group", "words", "sentence"),
    [
        (StaffGroup.AUDITOR, "A hold was lost", "You may not explain differences."),
        (StaffGroup.FINANCE, " short \n ", "in 10 to 500 characters"),
        (StaffGroup.FINANCE, "x" * 501, "in 10 to 500 characters"),
    ],
)
def test_who_may_not_explain_or_says_nothing_is_told(group, words, sentence):
    differs = Findings(1, (Found(Thing("thing"), "1", "2"),))
    record_result(job=Job.CAPS, day=TODAY, findings=differs, now=NOW)
    public_id = Difference.objects.get().public_id

    with pytest.raises(UnableToExplain, match=sentence):
        explain_difference(public_id=public_id, explanation=words, by=make_staff(group), now=NOW)

    assert Difference.objects.open().count() == 1


@pytest.mark.parametrize("public_id", ["diff_nobody", "diff_\0"])
def test_there_is_nothing_to_explain_where_there_is_no_difference(public_id):
    with pytest.raises(UnableToExplain, match="no such difference"):
        explain_difference(
            public_id=public_id, explanation="A hold was lost", by=make_staff(StaffGroup.FINANCE), now=NOW
        )


def test_a_night_is_compared_once_and_missed_ones_are_made_up_for():
    yesterday = TODAY - timedelta(days=1)
    night_before = NOW.replace(hour=2, minute=59)
    assert due_days(Job.USAGE, night_before) == [TODAY - timedelta(days=2)]
    assert due_days(Job.USAGE, NOW) == [yesterday]

    record_result(job=Job.LEDGER, day=TODAY - timedelta(days=4), findings=Findings(1), now=NOW)
    record_result(job=Job.USAGE, day=TODAY - timedelta(days=2), findings=Findings(1), now=NOW)

    assert due_days(Job.USAGE, NOW) == [TODAY - timedelta(days=days) for days in (4, 3, 1)]
    assert due_days(Job.LEDGER, NOW) == [yesterday]  # how things stand now says nothing of days before
    assert len(due_days(Job.USAGE, NOW + timedelta(days=400))) == 1
    record_result(job=Job.LEDGER, day=date(2026, 1, 1), findings=Findings(1), now=NOW)
    assert len(due_days(Job.INVOICES, NOW)) <= MOST_DAYS


def test_days_that_changed_are_summed_again_and_two_others(project):
    days = days_to_sum(day_period(TODAY))
    assert day_period(TODAY).start in days
    assert days == days_to_sum(day_period(TODAY))
    assert 1 <= len(days) - 1 - len({"last month's, for its invoice"}) <= RANDOM_DAYS + 1

    quiet = days_to_sum(day_period(TODAY + timedelta(days=9)))
    assert len(quiet) == RANDOM_DAYS


def test_an_invoice_of_the_night_is_computed_again(project):
    assert Invoice.objects.issued().count() == 1
    night()
    assert Reconciliation.objects.get(job=Job.INVOICES).checked_count == 1 + 2  # its file, and two postings


def test_comparing_is_exact_and_says_what_one_side_does_not_have():
    ours = {Thing("a"): 1, Thing("b"): 2, Thing("c", "org_1"): 0}
    theirs = {Thing("a"): 1, Thing("b"): 3, Thing("d"): 5}

    findings = compare_amounts(ours, theirs)

    assert findings.checked_count == 4
    assert findings.differences == (
        Found(Thing("b"), "0.000000002 USD", "0.000000003 USD", 1),
        Found(Thing("d"), "nothing", "0.000000005 USD", 5),
        Found(Thing("c", "org_1"), "0.00 USD", "nothing", 0),
    )
    assert leave_out(findings, {"org_1"}).differences == findings.differences[:2]
    assert findings.amount_nano == 6


def test_holds_of_several_caps_are_counted_for_each(project):
    make_cap(project)
    hold = make_reservation(project, now=NOW)
    assert len(hold.limit_ids) == 1

    night()

    assert found() == []
