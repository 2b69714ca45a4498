"""Who does not pay is told, stopped and ended step by step, never hurried, and good again at once when they pay."""

from datetime import UTC, date, datetime, timedelta

import pytest
from django.core import mail
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import AuditEvent, Organization, Project, Scope
from accounts.services.api_keys import UnableToIssueKey, issue_key
from accounts.services.staff import StaffGroup
from billing.invoicing.dunning import SCHEDULE, Event, Letter, State, UnknownTransition, transition
from billing.models import AccountKind, Invoice, Reservation, SpendCap, Standing, StandingLetter
from billing.services.caps import CapTarget, UnableToSetCap, set_cap
from billing.services.invoice_settling import give_up_invoice, settle_invoice
from billing.services.limits import Payer
from billing.services.month_closing import close_months_of
from billing.services.reservations import BudgetExceeded, Suspended, extend, reserve
from billing.services.standing import (
    UnableToDispute,
    UnableToSuspend,
    approve_suspension,
    end_dispute,
    open_dispute,
    work_standings,
)
from billing.services.standing_mails import mail_letters, words_of
from billing.services.usage import record_usage
from portal.lib.money import NANO_PER_USD
from portal.lib.tenancy import as_platform
from tests.accounts.test_legal_holds import make_staff
from tests.billing.test_worked_numbers import number, table
from tests.factories.accounts import make_membership, make_organization, make_project
from tests.factories.billing import make_issued_note, make_record
from tests.factories.catalog import make_price
from tests.factories.terms import put_terms_in_force
from tests.support import undone

pytestmark = pytest.mark.django_db

OCTOBER = datetime(2026, 10, 20, 9, 15, tzinfo=UTC)
ISSUED = datetime(2026, 12, 2, tzinfo=UTC)
DUE = datetime(2027, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
QUARTER = timedelta(minutes=15)
SKU = "model.demo.input"


@pytest.fixture
def project() -> Project:
    """Of an organization without terms by now, with an invoice of $50.00 that is due at DUE."""
    make_price(SKU, NANO_PER_USD, 1_000_000, active_from=datetime(2026, 1, 1, tzinfo=UTC))
    project = make_project(make_organization())
    put_terms_in_force(project.organization, 100 * NANO_PER_USD, now=OCTOBER)
    record_usage([make_record(project, 55_000_000, sku=SKU, occurred_at=OCTOBER)], reservation_id=None, now=OCTOBER)
    close_months_of(organization=project.organization, now=DUE - 30 * DAY)
    put_terms_in_force(project.organization, 100 * NANO_PER_USD, now=OCTOBER, net_days=0)
    make_membership(project.organization)
    return project


def look(now: datetime, *, mails: bool = True) -> int:
    with as_platform():
        worked = work_standings(now=now)
        if mails:
            mail_letters(now=now)
    return worked


def look_every(step: timedelta, until: datetime, *, since: datetime = DUE) -> None:
    while since <= until:
        look(since)
        since += step


def state_of(project: Project) -> str:
    """How it stands; the copies say the same."""
    organization = Organization.objects.get(pk=project.organization_id)
    cap = SpendCap.objects.of_organization(project.organization_id).get()
    assert cap.is_suspended == organization.is_stopped
    standing = Standing.objects.filter(organization=organization).first()
    assert organization.payment_state == ("good" if standing is None else standing.state)
    return organization.payment_state


def letters(project: Project) -> list[str]:
    mine = StandingLetter.objects.filter(organization=project.organization_id)
    return list(mine.order_by("pk").values_list("letter", flat=True))


def invoice_of(project: Project) -> Invoice:
    return Invoice.objects.get(organization=project.organization_id)


def pay(project: Project, now: datetime) -> None:
    settle_invoice(invoice=invoice_of(project), paid_into=AccountKind.CASH, now=now)


def hold(project: Project, now: datetime) -> Reservation:
    return reserve(
        payer=Payer(project.organization_id, project.pk),
        purpose=Reservation.Purpose.GATEWAY_LEASE,
        holder="gateway-1",
        amount_nano=NANO_PER_USD,
        now=now,
        expires_at=now + timedelta(minutes=1),
    )


def come_to(project: Project, state: State) -> datetime:
    """Let nobody pay until it stands so; return when."""
    now = DUE
    while state_of(project) != state:
        look(now)
        now += DAY
    return now


def test_transitions_are_those_of_dunning_md():
    known = {(State(row["state"]), Event(row["event"])): row["next"] for row in table("dunning.md", "state | event")}

    assert len(known) == 13
    for state in State:
        for event in Event:
            if (state, event) not in known:
                with pytest.raises(UnknownTransition):
                    transition(state, event)
            elif known[state, event] == "where it was":
                assert transition(state, event, before=State.GRACE) is State.GRACE
            else:
                assert transition(state, event, before=State.GRACE) == known[state, event]


def test_the_worked_dates_of_dunning_md(project):
    rows = table("dunning.md", "day")
    said: list[str] = []
    for row in rows:
        day = DUE + number(row["day"]) * DAY
        assert day.date() == date.fromisoformat(row["at"])
        look(day - timedelta(seconds=1))
        assert letters(project) == said, row
        look(day)
        look(day + QUARTER)
        said.append(row["letter"])
        assert (state_of(project), letters(project)) == (row["state"], said), row
    look(DUE + 400 * DAY)
    assert letters(project) == said
    assert set(mail.outbox[0].to) == {project.organization.memberships.order_by("pk")[0].user.email}
    assert len(mail.outbox) == len(said) * project.organization.memberships.count()


@pytest.mark.parametrize("state", [State.PAST_DUE, State.GRACE, State.SUSPENDED, State.TERMINATED])
def test_who_pays_is_good_at_once_from_every_state(project, state):
    now = come_to(project, state)

    pay(project, now)

    assert (state_of(project), letters(project)[-1]) == ("good", "good")
    assert hold(project, now).amount_nano == NANO_PER_USD
    assert AuditEvent.objects.filter(action="standing.good").count() == 1
    look(now + 60 * DAY)
    assert state_of(project) == "good"


def test_a_credit_note_over_all_of_it_is_as_good_as_a_payment(project):
    now = come_to(project, State.GRACE)

    make_issued_note(invoice_of(project), now=now)

    assert state_of(project) == "good"


def test_a_debt_that_was_given_up_is_a_debt(project):
    now = come_to(project, State.SUSPENDED)

    give_up_invoice(invoice=invoice_of(project), now=now)
    look(now + DAY)

    assert state_of(project) == "suspended"


def test_past_due_changes_nothing_but_what_is_said(project):
    now = come_to(project, State.PAST_DUE)

    assert hold(project, now).state == "held"
    assert issue_key(project=project, name="new", scopes=[Scope.INFERENCE], created_by=None, now=now).secret


def test_in_grace_what_runs_goes_on_and_nothing_new_begins(project):
    target = CapTarget(project.organization, project=project)
    before = set_cap(target=target, period=SpendCap.Period.MONTH, limit_nano=NANO_PER_USD * 90, stops=True, now=DUE)
    now = come_to(project, State.GRACE)

    assert hold(project, now).state == "held"
    with pytest.raises(UnableToIssueKey, match="overdue"):
        issue_key(project=project, name="new", scopes=[Scope.INFERENCE], created_by=None, now=now)
    with pytest.raises(UnableToSetCap, match="overdue"):
        set_cap(target=target, period=SpendCap.Period.MONTH, limit_nano=NANO_PER_USD * 91, stops=True, now=now)
    lowered = set_cap(target=target, period=SpendCap.Period.MONTH, limit_nano=NANO_PER_USD * 80, stops=True, now=now)
    assert lowered.limit_nano < before.limit_nano


def test_who_is_suspended_holds_no_budget_and_renews_none(project):
    now = come_to(project, State.GRACE)
    lease = hold(project, now)
    come_to(project, State.SUSPENDED)

    with pytest.raises(Suspended, match="suspended for an unpaid bill") as refusal:
        reserve(
            payer=Payer(project.organization_id, project.pk),
            purpose=Reservation.Purpose.GATEWAY_LEASE,
            holder="gateway-2",
            amount_nano=1,
            now=now,
            expires_at=now + DAY,
        )
    with pytest.raises(BudgetExceeded, match="suspended for an unpaid bill"):
        extend(reservation_id=lease.pk, additional_nano=0, now=now, expires_at=now + DAY)
    assert (refusal.value.status, refusal.value.room_nano) == (402, 0)


def test_an_organization_with_days_to_pay_is_suspended_by_a_person(project):
    put_terms_in_force(project.organization, 100 * NANO_PER_USD, now=DUE, net_days=30)
    look_every(DAY, DUE + 60 * DAY)
    standing = Standing.objects.waiting().get()
    assert (state_of(project), standing.waits_since) == ("grace", DUE + 14 * DAY)
    finance = make_staff(StaffGroup.FINANCE)

    with pytest.raises(UnableToSuspend, match="may not"):
        approve_suspension(organization=project.organization, by=make_staff(StaffGroup.SALES), now=DUE + 60 * DAY)
    suspended = approve_suspension(organization=project.organization, by=finance, now=DUE + 60 * DAY)

    assert (state_of(project), suspended.approved_by) == ("suspended", finance.public_id)
    assert suspended.next_action_at == DUE + 70 * DAY
    with pytest.raises(UnableToSuspend, match="does not wait"):
        approve_suspension(organization=project.organization, by=finance, now=DUE + 60 * DAY)
    event = AuditEvent.objects.get(action="standing.suspended")
    assert event.actor_id == finance.public_id


def test_who_waits_for_a_person_and_pays_is_good(project):
    put_terms_in_force(project.organization, 100 * NANO_PER_USD, now=DUE, net_days=30)
    look_every(DAY, DUE + 20 * DAY)

    pay(project, DUE + 20 * DAY)

    assert state_of(project) == "good"
    assert not Standing.objects.waiting().exists()


def test_nothing_ends_before_its_mails_were_sent(project):
    now = come_to(project, State.SUSPENDED)
    for day in range(60):
        look(now + day * DAY, mails=False)
    assert state_of(project) == "suspended"

    later = now + 60 * DAY
    StandingLetter.objects.filter(mailed_at=None).update(noted_at=later)
    look(later)
    look(later + 2 * DAY)

    assert state_of(project) == "terminated"


def test_a_worker_that_was_away_for_months_hurries_nobody(project):
    came, states = DUE + 200 * DAY, []
    for day in range(45):
        look(came + day * DAY)
        states.append(state_of(project))

    assert [states.index(state) for state in ("past_due", "grace", "suspended", "terminated")] == [0, 7, 14, 44]


def test_a_dispute_is_like_grace_and_leads_back_or_to_past_due(project):
    now = come_to(project, State.PAST_DUE)

    for _twice in range(2):
        open_dispute(organization_id=project.organization_id, now=now)
    assert (state_of(project), letters(project)) == ("disputed", ["past_due", "disputed"])
    with pytest.raises(UnableToIssueKey, match="overdue"):
        issue_key(project=project, name="new", scopes=[Scope.INFERENCE], created_by=None, now=now)
    look(now + 30 * DAY)
    assert state_of(project) == "disputed"
    end_dispute(organization_id=project.organization_id, is_won=True, now=now)
    assert state_of(project) == "past_due"
    open_dispute(organization_id=project.organization_id, now=now)
    end_dispute(organization_id=project.organization_id, is_won=False, now=now)
    assert state_of(project) == "past_due"
    with pytest.raises(UnableToDispute, match="no dispute"):
        end_dispute(organization_id=project.organization_id, is_won=True, now=now)


def test_who_pays_while_a_payment_is_disputed_is_good_when_that_is_over(project):
    now = come_to(project, State.PAST_DUE)
    open_dispute(organization_id=project.organization_id, now=now)
    pay(project, now)
    assert state_of(project) == "disputed"

    end_dispute(organization_id=project.organization_id, is_won=True, now=now)

    assert state_of(project) == "good"


def test_a_dispute_gives_nothing_back_to_who_is_suspended(project):
    now = come_to(project, State.SUSPENDED)

    with pytest.raises(UnableToDispute, match="suspended already"):
        open_dispute(organization_id=project.organization_id, now=now)

    assert state_of(project) == "suspended"


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("good", None),
        ("past_due", "A bill is past due"),
        ("grace", "Nothing new can be started"),
        ("suspended", "Work is stopped"),
        ("terminated", "were deleted"),
        ("disputed", "A payment is disputed"),
    ],
)
def test_every_page_says_how_the_organization_stands(project, state, words, client):
    Organization.objects.filter(pk=project.organization_id).update(payment_state=state)
    client.force_login(project.organization.memberships.order_by("pk")[0].user)

    page = client.get(f"/o/{project.organization.slug}/invoices/").content.decode()

    ways = 'href="/o/{0}/invoices/">Invoices</a> · <a href="/o/{0}/credit/">Credit</a></p>'
    assert (ways.format(project.organization.slug) in page) == (words is not None)
    assert words is None or words in page


def test_every_letter_has_words():
    assert all(all(words_of(letter)) for letter in Letter)
    scheduled = {action.letter for actions in SCHEDULE.values() for action in actions if action.letter}
    assert scheduled | {Letter.GOOD} == set(Letter)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["look", "look", "look", "pay"]), st.integers(0, 40 * 24)), max_size=25))
def test_whatever_the_clock_does_each_state_has_its_days(project, steps):
    with undone():
        now, entered = DUE, {"past_due": DUE}
        before = "good"
        for step, hours in steps:
            now += timedelta(hours=hours)
            if step == "pay" and invoice_of(project).status == "open":
                pay(project, now)
            else:
                assert look(now) <= 1
                done = letters(project)
                look(now)
                # A second look at the same instant, as by a worker that took over, repeats nothing.
                assert len(letters(project)) <= len(done) + 1
            state = state_of(project)
            if state not in {before, "good"}:
                longest = {"grace": 7, "suspended": 7, "terminated": 30}.get(state)
                assert longest is None or now - entered[before] >= longest * DAY - timedelta(hours=1)
            if state != before:
                entered[state] = now
            assert (invoice_of(project).status == "open") or state == "good"
            before = state
        said = letters(project)
        assert len(said) == len(set(said))
