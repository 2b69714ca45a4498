"""The manual queue: a person counts an event after all or leaves it, once, with a reason that its owners read."""

import json
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from accounts.models import AuditEvent, Project, User
from accounts.services.staff import StaffGroup
from billing.models import SpendCap, UsageByHour, UsageEvent, UsageFate
from billing.services.reported import UsageReport, correction_id_of
from billing.services.usage import record_usage
from billing.services.usage_decisions import UnableToDecide, accept_event, refuse_event
from billing.services.usage_reports import report_usage
from portal.lib.periods import month_of
from portal.lib.tenancy import as_platform
from tests.accounts.test_legal_holds import browser_of, make_staff
from tests.factories.accounts import make_project
from tests.factories.billing import NOW, close_month_before, make_record, make_report
from tests.factories.catalog import make_price

pytestmark = pytest.mark.django_db

PAGE = "/admin/billing/usagefate/"
REASON = "The gateway in Oslo was cut off for six weeks"
OLD = NOW - timedelta(days=40)
DECIDERS = {StaffGroup.FINANCE, StaffGroup.CAPACITY}
READERS = DECIDERS | {StaffGroup.SUPPORT, StaffGroup.AUDITOR}


@pytest.fixture
def project() -> Project:
    make_price("model.demo.input", 150_000_000, 1_000_000)
    return make_project()


@pytest.fixture
def old(project: Project) -> UsageReport:
    """An event of a month that was invoiced, which waits for a person."""
    close_month_before(project.organization, month_of(OLD).end)
    report = make_report(project, 1_000_000, occurred_at=OLD)
    assert outcome_of(report) == "rejected"
    return report


@pytest.fixture
def finance() -> User:
    return make_staff(StaffGroup.FINANCE)


def outcome_of(report: UsageReport) -> str:
    with as_platform():
        [answer] = report_usage([report], now=NOW)
    return answer.outcome.value


def accept(report: UsageReport, by: User, reason: str = REASON) -> UsageFate:
    with as_platform():
        return accept_event(event_id=report.event_id, reason=reason, by=by, now=NOW)


def refuse(report: UsageReport, by: User, reason: str = REASON) -> UsageFate:
    with as_platform():
        return refuse_event(event_id=report.event_id, reason=reason, by=by, now=NOW)


def test_an_accepted_event_is_counted_and_goes_to_the_next_invoice(old, project, finance):
    fate = accept(old, finance)

    assert (fate.outcome, fate.decided_by, fate.decision) == ("late", finance.public_id, REASON)
    assert UsageByHour.objects.get().amount_nano == SpendCap.objects.get().settled_nano == 150_000_000
    assert UsageEvent.objects.get().occurred_at == OLD
    assert outcome_of(old) == "duplicate"


def test_a_refused_event_stays_rejected_for_ever(old, finance):
    refuse(old, finance)

    assert outcome_of(old) == "rejected"
    assert not UsageEvent.objects.exists()
    with pytest.raises(UnableToDecide, match="Nobody has to decide"):
        accept(old, finance)


def test_nobody_decides_twice(old, finance):
    accept(old, finance)

    for decide in (accept, refuse):
        with pytest.raises(UnableToDecide, match="Nobody has to decide"):
            decide(old, finance)
    assert UsageEvent.objects.count() == 1


def test_the_decision_is_in_the_log_of_the_organization_and_of_the_admin(old, project, finance):
    accept(old, finance)

    event = AuditEvent.objects.owned_by(project.organization).get(action="usage.accepted")
    assert (event.actor_id, event.via, event.target_id) == (finance.public_id, "staff", str(old.event_id))
    assert json.loads(event.changes) == {"outcome": ["rejected", "late"], "reason": [None, REASON]}
    assert REASON in LogEntry.objects.get(user=finance).change_message


def test_what_kept_it_out_has_to_be_gone(project, finance):
    report = make_report(project, 10, sku="model.new.input")
    outcome_of(report)
    with pytest.raises(UnableToDecide, match="publish one first"):
        accept(report, finance)
    assert UsageFate.objects.get().decided_at is None

    make_price("model.new.input", 1, 1)

    assert accept(report, finance).outcome == "counted"


def test_an_event_ahead_of_its_time_is_counted_when_that_has_come(project, finance):
    report = make_report(project, 10, occurred_at=NOW + timedelta(minutes=6))
    outcome_of(report)
    with pytest.raises(UnableToDecide, match="future"):
        accept(report, finance)

    with as_platform():
        fate = accept_event(event_id=report.event_id, reason=REASON, by=finance, now=NOW + timedelta(minutes=1))
    assert fate.outcome == "counted"


def test_usage_of_a_time_that_is_forgotten_is_not_counted(project, finance):
    report = make_report(project, 10, occurred_at=NOW - timedelta(days=400))
    outcome_of(report)

    with pytest.raises(UnableToDecide, match="13 months"):
        accept(report, finance)


def test_what_is_wrong_for_ever_does_not_wait(project, finance):
    report = make_report(project, -10)
    outcome_of(report)

    with pytest.raises(UnableToDecide, match="Nobody has to decide"):
        accept(report, finance)


def test_a_correction_follows_what_it_corrects(old, project, finance):
    correction = make_report(project, -1_000_000, occurred_at=OLD, corrects=old.event_id)
    assert correction.event_id == correction_id_of(old.event_id)
    outcome_of(correction)
    with pytest.raises(UnableToDecide, match="first"):
        accept(correction, finance)

    accept(old, finance)
    accept(correction, finance)

    assert UsageByHour.objects.get().amount_nano == 0


def test_a_decision_takes_a_reason_and_the_right(old, finance):
    for reason in ("", "short", " " * 40, "x" * 501):
        with pytest.raises(UnableToDecide, match="Say why"):
            accept(old, finance, reason)
    for group in set(StaffGroup) - DECIDERS:
        with pytest.raises(UnableToDecide, match="may not"):
            accept(old, make_staff(group))
    assert not UsageEvent.objects.exists()


def form(report: UsageReport, verdict: str = "accept", reason: str = REASON) -> dict[str, str]:
    return {"event_id": str(report.event_id), "verdict": verdict, "reason": reason}


def test_the_page_shows_the_queue_and_takes_a_decision(old, finance):
    client = browser_of(finance)

    page = client.get(PAGE).content.decode()
    assert str(old.event_id) in page
    assert "1000000" in page
    answer = client.post(PAGE, form(old), follow=True)

    assert "Done." in answer.content.decode()
    assert "Nothing waits." in answer.content.decode()
    assert UsageFate.objects.get().outcome == "late"


def test_the_page_says_why_not(old, finance):
    client = browser_of(finance)

    for given, words in ((form(old, reason="short"), "Say why"), (form(old, verdict="both"), "valid choice")):
        answer = client.post(PAGE, given)
        assert (answer.status_code, words in answer.content.decode()) == (422, True)
    assert not UsageEvent.objects.exists()


def test_the_page_finds_an_event_by_its_id(old, project, finance):
    counted = make_record(project, 10)
    record_usage([counted], reservation_id=None, now=NOW)
    client = browser_of(finance)

    def page(**query: str) -> str:
        return client.get(PAGE, query).content.decode()

    assert "<strong>rejected</strong>" in page(event_id=str(old.event_id))
    assert "<strong>counted</strong>" in page(event_id=str(counted.event_id), day=f"{NOW:%Y-%m-%d}")
    assert "Nothing is known" in page(event_id=str(counted.event_id))
    assert "Enter a valid UUID" in page(event_id="x")
    assert client.get(PAGE, {"event_id": "\0"}).status_code == 200


def test_an_old_sign_in_is_asked_again(old, finance):
    answer = browser_of(finance, is_recent=False).post(PAGE, form(old))

    assert answer.status_code == 302
    assert not UsageEvent.objects.exists()


@pytest.mark.parametrize("group", StaffGroup)
def test_only_those_whose_work_it_is(old, group):
    client = browser_of(make_staff(group))

    assert client.get(PAGE).status_code == (200 if group in READERS else 403)
    assert client.post(PAGE, form(old)).status_code == (302 if group in DECIDERS else 403)
    assert UsageEvent.objects.exists() == (group in DECIDERS)


def test_visitors_and_customers_are_turned_away(old):
    assert Client().post(PAGE, form(old)).status_code == 302
    assert not UsageEvent.objects.exists()
