"""A day far above the ones before it is found while it runs, once, and told to those who may change caps."""

import json
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.core import mail
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import AuditEvent, Project, Role
from billing.invoicing.anomaly import DAYS, FLOOR_NANO, Series, findings, limit_nano, median
from billing.models import AnomalyMails, SpendAnomaly
from billing.services.anomalies import find_anomalies, mail_anomalies, set_anomaly_mails
from billing.services.usage import record_usage
from portal.lib.money import NANO_PER_USD, usd_to_nano
from portal.lib.tenancy import as_platform
from tests.billing.test_services_invoices import allow
from tests.billing.test_worked_numbers import table
from tests.factories.accounts import make_membership, make_organization, make_project
from tests.factories.billing import make_record
from tests.factories.catalog import make_price
from tests.visits import signed_in

DAY = timedelta(days=1)
TODAY = datetime(2026, 11, 20, tzinfo=UTC)
NOON = TODAY + timedelta(hours=12)
TOKENS, SECONDS = "model.demo.input", "instance.gpu_1x.surplus"
AMOUNTS = st.lists(st.integers(0, 10**15), min_size=7, max_size=DAYS)


def days_of(text: str) -> list[int]:
    """Return the days that `27 of 100.00, 1 of 300.00` says."""
    found = [re.fullmatch(r"(\d+) of ([\d.]+)", part) for part in text.split(", ")]
    return [usd_to_nano(Decimal(one[2])) for one in found if one for _ in range(int(one[1]))]


@pytest.mark.parametrize("row", table("anomalies.md", "history"), ids=lambda row: row["why"])
def test_the_limits_of_the_document(row):
    reported = [usd_to_nano(Decimal(row["reported"]))] if row["reported"] else []

    found = limit_nano(days_of(row["history"]), reported)

    assert found == (usd_to_nano(Decimal(row["limit"])) if row["limit"] else None)


@given(before=AMOUNTS, reported=st.lists(st.integers(0, 10**15), max_size=7))
def test_no_day_within_the_floor_is_unusual_and_the_order_of_days_says_nothing(before, reported):
    limit = limit_nano(before, reported)

    assert limit is not None
    assert limit >= median(before) + FLOOR_NANO
    assert limit == limit_nano(before[::-1], reported[::-1])
    assert all(limit * 2 >= amount * 3 - 1 for amount in reported)


@given(before=st.lists(st.integers(0, 10**12), min_size=DAYS, max_size=DAYS), wild=st.integers(0, 10**18))
def test_one_wild_day_moves_the_usual_no_further_than_the_day_beside_it(before, wild):
    ordered = sorted(before)

    assert ordered[DAYS // 2 - 2] <= median([*before[1:], wild]) <= ordered[DAYS // 2 + 1]


def test_products_are_looked_at_each_and_together():
    steady, jump = [100 * NANO_PER_USD] * 28, [0] * 28
    by_product = {
        "": Series(160 * NANO_PER_USD, steady),
        "models": Series(100 * NANO_PER_USD, steady),
        "instances": Series(60 * NANO_PER_USD, jump),
    }

    found = [(one.product, one.amount_nano // NANO_PER_USD, one.usual_nano) for one in findings(by_product)]

    assert found == [("", 160, 100 * NANO_PER_USD), ("instances", 60, 0)]


@pytest.fixture
def project(db: None) -> Project:
    """Of an organization that spent ten dollars on models on each of ten days."""
    make_price(TOKENS, NANO_PER_USD, 1_000_000, active_from=TODAY - 90 * DAY)
    make_price(SECONDS, 36 * NANO_PER_USD, 3_600, active_from=TODAY - 90 * DAY)
    project = make_project(make_organization("Acme"))
    allow(project, 10_000)
    for days in range(1, 11):
        spend(project, 10, TODAY - days * DAY)
    return project


def spend(project: Project, dollars: int, at: datetime, sku: str = TOKENS) -> None:
    quantity = dollars * (1_000_000 if sku == TOKENS else 100)
    record_usage([make_record(project, quantity, sku=sku, occurred_at=at)], reservation_id=None, now=at)


def look(now: datetime = NOON) -> int:
    with as_platform():
        return find_anomalies(now=now)


def send(now: datetime = NOON) -> int:
    with as_platform():
        return mail_anomalies(now=now)


def found_of(project: Project) -> list[tuple[datetime, list[tuple[str, int, int]]]]:
    rows = SpendAnomaly.objects.owned_by(project.organization).order_by("day")
    return [
        (
            row.day,
            [
                (one["product"], one["amount_nano"] // NANO_PER_USD, one["usual_nano"] // NANO_PER_USD)
                for one in row.findings
            ],
        )
        for row in rows
    ]


def test_a_day_is_found_while_it_runs_and_once(project):
    spend(project, 35, TODAY)
    assert look() == 0  # not more than the limit

    spend(project, 1, TODAY)
    assert [look(), look()] == [1, 0]
    spend(project, 500, TODAY)
    assert look(TODAY + DAY) == 0

    assert found_of(project) == [(TODAY, [("", 36, 10), ("models", 36, 10)])]


def test_a_day_that_is_over_is_looked_at_once_more(project):
    spend(project, 50, TODAY)

    assert look(TODAY + DAY) == 1
    assert look(TODAY + 3 * DAY) == 0

    assert [day for day, _ in found_of(project)] == [TODAY]


def test_a_product_may_be_unusual_alone(project):
    for days in range(1, 11):
        spend(project, 90, TODAY - days * DAY)
    spend(project, 100, TODAY)
    spend(project, 30, TODAY, SECONDS)

    assert look() == 1

    assert found_of(project) == [(TODAY, [("instances", 30, 0)])]


@pytest.mark.django_db
def test_who_has_just_begun_is_left_alone():
    make_price(TOKENS, NANO_PER_USD, 1_000_000, active_from=TODAY - 90 * DAY)
    project = make_project(make_organization())
    allow(project, 10_000)
    for days in range(1, 7):
        spend(project, 1, TODAY - days * DAY)
    spend(project, 500, TODAY)

    assert look() == 0
    spend(project, 501, TODAY + DAY)
    assert look(NOON + DAY) == 1


def test_a_level_that_was_reported_is_no_news_the_day_after(project):
    spend(project, 300, TODAY)
    spend(project, 440, TODAY + DAY)
    spend(project, 700, TODAY + 2 * DAY)

    assert [look(NOON), look(NOON + DAY), look(NOON + 2 * DAY)] == [1, 0, 1]


def test_of_two_organizations_each_is_held_against_itself(project):
    other = make_project(make_organization())
    allow(other, 10_000)
    for days in range(1, 11):
        spend(other, 100, TODAY - days * DAY)
    spend(project, 100, TODAY)
    spend(other, 100, TODAY)

    assert look() == 1

    assert (len(found_of(project)), len(found_of(other))) == (1, 0)


def test_those_who_may_change_caps_are_mailed_once(project):
    billing = make_membership(project.organization, role=Role.BILLING).user
    make_membership(project.organization, role=Role.DEVELOPER)
    spend(project, 50, TODAY)
    look()

    assert [send(), send()] == [1, 0]

    [letter] = [letter for letter in mail.outbox if letter.to == [billing.email]]
    assert "2026-11-20" in letter.subject
    assert "Model APIs: $50.00, usually $10.00" in letter.body
    assert "Everything: $50.00" in letter.body
    assert letter.body.count("/caps/") == 1


def test_an_organization_turns_the_mails_off_and_on(project):
    client = signed_in(make_membership(project.organization, role=Role.BILLING).user)
    address = reverse("billing:anomaly-mails", args=[project.organization.slug])
    spend(project, 50, TODAY)
    look()

    answer = client.post(address, {})
    assert answer.status_code == 302
    assert (send(), mail.outbox) == (0, [])
    page = client.get(answer["Location"]).content.decode()
    assert "2026-11-20" in page
    assert "usually $10.00" in page
    assert 'name="is_on"' in page

    client.post(address, {"is_on": "on"})
    assert send() == 1
    log = AuditEvent.objects.filter(organization=project.organization, action="anomaly_mails.changed")
    changes = [json.loads(event.changes) for event in log.order_by("pk")]
    assert changes == [{"is_on": [True, False]}, {"is_on": [False, True]}]
    assert AnomalyMails.objects.get().is_on


def test_turning_them_on_where_they_are_on_changes_nothing(project):
    set_anomaly_mails(organization=project.organization, is_on=True, now=NOON)

    assert not AnomalyMails.objects.exists()
    assert not AuditEvent.objects.filter(action="anomaly_mails.changed").exists()


def test_a_mail_that_no_server_takes_for_days_is_given_up(project):
    make_membership(project.organization, role=Role.BILLING)
    spend(project, 50, TODAY)
    look()

    assert send(NOON + 3 * DAY) == 0
    assert send(NOON + 3 * DAY - timedelta(seconds=1)) == 1


def test_whoever_may_only_look_sees_the_days_and_no_button(project):
    client = signed_in(make_membership(project.organization, role=Role.DEVELOPER).user)
    spend(project, 50, TODAY)
    look()
    address = reverse("billing:anomaly-mails", args=[project.organization.slug])

    page = client.get(reverse("billing:cap-list", args=[project.organization.slug])).content.decode()

    assert "usually $10.00" in page
    assert address not in page
    assert client.post(address, {}).status_code == 403
