"""The spend page: its numbers are the rating of the events, its cost does not grow with rows."""

import csv
import io
import json
import re
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
import time_machine
from django.db import DataError, connection
from django.test.utils import CaptureQueriesContext

from accounts.models import Role
from billing.models import UsageByHour
from billing.services.usage import record_usage
from catalog.selectors import unit_prices
from portal.lib.money import decimal_string, round_bucket
from portal.lib.periods import hour_of
from tests.factories.accounts import (
    make_key,
    make_membership,
    make_organization,
    make_project,
    make_service_account,
    make_user,
)
from tests.factories.billing import NOW, make_cost_tags, make_record, make_reservation
from tests.factories.catalog import make_price

pytestmark = pytest.mark.django_db
INPUT, SECONDS = "model.demo.input", "instance.gpu_1x.surplus"


@pytest.fixture(autouse=True)
def now():
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def project():
    make_price(INPUT, 150_000_003, 1_000_000)
    make_price(SECONDS, 2_490_000_000, 3_600)
    return make_project()


def signed_in(client, organization, role=Role.OWNER):
    client.force_login(make_membership(organization, make_user(), role).user)
    return f"/o/{organization.slug}/spend/"


def use(project, count=30, **more):
    records = [
        make_record(
            project,
            1 + 37 * number,
            sku=(INPUT, SECONDS)[number % 2],
            occurred_at=NOW - timedelta(hours=5 * number),
            **more,
        )
        for number in range(count)
    ]
    record_usage(records, reservation_id=None, now=NOW)
    return records


def rated(records):
    """Rate raw events from scratch, bucket by bucket."""
    prices = unit_prices([INPUT, SECONDS], NOW)
    buckets: dict[tuple[datetime, int, str], int] = {}
    for record in records:
        bucket = (hour_of(record.occurred_at), record.project_id, record.sku)
        buckets[bucket] = buckets.get(bucket, 0) + record.quantity
    return sum(
        round_bucket(quantity, prices[sku].price_nano, prices[sku].unit_size)
        for (_, _, sku), quantity in buckets.items()
    )


@pytest.mark.parametrize("by", ["product", "project", "key", "resource", "member", "cost_center"])
def test_the_total_is_the_rating_of_the_events_to_the_nano_dollar(client, project, by):
    address = signed_in(client, project.organization)
    records = use(project)

    page = client.get(address, {"range": "7d", "by": by})

    total = rated([record for record in records if record.occurred_at >= NOW.replace(hour=0, minute=0) - timedelta(6)])
    assert total
    assert f"Exactly ${decimal_string(total)}" in page.content.decode()
    view = page.context["view"]
    lines = page.context["lines"]
    assert lines.exact_total == f"${decimal_string(total)}"
    assert sum(Decimal(line.exact_amount[1:]) for line in lines.lines) == Decimal(total).scaleb(-9)
    assert sum(Decimal(group.exact_amount[1:]) for group in view.groups) == Decimal(total).scaleb(-9)


def test_a_breakdown_names_the_dearest_and_adds_up_the_rest(client, project):
    address = signed_in(client, project.organization)
    records = [make_record(project, 1_000 * n, resource_id=f"inst_{n:03}") for n in range(1, 61)]
    record_usage(records, reservation_id=None, now=NOW)

    view = client.get(address, {"range": "7d", "by": "resource"}).context["view"]

    assert [group.name for group in view.groups] == [*(f"inst_{n:03}" for n in range(60, 10, -1)), "Everything else"]
    assert sum(Decimal(group.exact_amount[1:]) for group in view.groups) == Decimal(view.exact_total[1:])
    assert [series.name for series in view.chart.series] == [
        "Everything else",
        *(f"inst_{n:03}" for n in range(60, 55, -1)),
    ]
    [*_, today] = view.chart.rows
    assert today.total == view.total


def test_a_sum_of_nano_dollars_is_exact_and_never_wraps():
    with connection.cursor() as cursor:
        cursor.execute("SELECT billing_sum_nano(n) FROM unnest(ARRAY[9223372036854775806, 2, -1]) AS n WHERE n < 9")
        assert cursor.fetchone()[0] == 1
        cursor.execute("SELECT billing_sum_nano(n) FROM unnest(ARRAY[9223372036854775806, 1]) AS n")
        assert cursor.fetchone()[0] == 2**63 - 1
        with pytest.raises(DataError):
            cursor.execute("SELECT billing_sum_nano(n) FROM unnest(ARRAY[9223372036854775806, 2]) AS n")


def test_a_breakdown_tells_projects_of_one_name_apart(client, project):
    address = signed_in(client, project.organization)
    twin = make_project(project.organization, name=project.name)
    record_usage([make_record(project), make_record(twin, 500)], reservation_id=None, now=NOW)

    view = client.get(address, {"range": "7d", "by": "project"}).context["view"]

    assert [group.name for group in view.groups] == [f"{p.name} ({p.public_id})" for p in (project, twin)]
    assert len(view.chart.series) == 2


def test_shows_quantity_unit_price_and_version(client, project):
    address = signed_in(client, project.organization)
    record_usage([make_record(project, 90, sku=SECONDS)], reservation_id=None, now=NOW)
    make_reservation(project, 1_000_000_000)

    text = client.get(address).content.decode()

    assert "90 seconds" in text
    assert "$2.49 per hour" in text
    assert unit_prices([SECONDS], NOW)[SECONDS].price_id in text
    assert "$3.93" in text  # left: 5 - 0.06225 - 1, rounded down
    assert "$0.06 settled and $1.00 held" in text


def test_says_so_when_nothing_was_spent(client):
    organization = make_organization()

    page = client.get(signed_in(client, organization))

    assert page.status_code == 200
    assert "Nothing spent in these days" in page.content.decode()
    assert "$5.00" in page.content.decode()


def test_names_keys_and_members(client, project):
    address = signed_in(client, project.organization)
    key = make_key(project).api_key
    owned = make_key(project, service_account=make_service_account(project, "nightly")).api_key
    user = make_user("grace@example.com")
    used = [make_record(project, api_key_id=key.pk), make_record(project, api_key_id=owned.pk)]
    record_usage([*used, make_record(project, user_id=user.pk)], reservation_id=None, now=NOW)

    by_key = [row.name for row in client.get(address, {"by": "key"}).context["view"].groups]
    by_member = [row.name for row in client.get(address, {"by": "member"}).context["view"].groups]

    assert sorted(by_key) == sorted(["Without a key", str(key), f"nightly / {owned}"])
    assert sorted(by_member) == sorted(["By a program", "grace@example.com"])


def test_answers_htmx_with_the_part_that_changed(client, project):
    address = signed_in(client, project.organization)
    use(project)

    part = client.get(address, {"range": "month"}, headers={"HX-Request": "true"}).content.decode()

    assert part.strip().startswith('<div class="stack" id="spend">')
    assert "spend-lines" not in part
    assert "<html" not in part


def test_answers_htmx_with_the_lines_of_skus_alone(client, project):
    address = signed_in(client, project.organization)
    use(project)
    asked = {"HX-Request": "true", "HX-Target": "spend-lines"}

    part = client.get(address, {"range": "month"}, headers=asked).content.decode()

    assert part.strip().startswith('<div id="spend-lines"')
    assert INPUT in part
    assert 'id="spend"' not in part


def test_a_breakdown_of_any_range_on_any_day_of_the_week_is_the_sum_of_its_days(client, project):
    """Whole weeks are read as sums of their own: wherever the range begins and ends."""
    address = signed_in(client, project.organization)
    for days in range(35):
        record_usage(
            [make_record(project, 10**6 << days, occurred_at=NOW - timedelta(days))], reservation_id=None, now=NOW
        )

    for later in range(7):
        with time_machine.travel(NOW + timedelta(later), tick=False):
            for span in ("7d", "30d", "month"):
                view = client.get(address, {"range": span, "by": "project"}).context["view"]
                [group] = view.groups
                assert group.exact_amount == view.exact_total


@pytest.mark.parametrize("query", [{"range": "forever"}, {"by": "mood"}])
def test_refuses_an_unknown_range_or_grouping(client, project, query):
    page = client.get(signed_in(client, project.organization), query)

    assert page.status_code == 422
    assert "Select a valid choice" in page.content.decode()


@pytest.mark.parametrize("path", ["", "usage.csv", "usage.jsonl"])
def test_a_stranger_finds_nothing_and_a_viewer_is_refused(client, project, path):
    address = signed_in(client, project.organization, Role.VIEWER)
    assert client.get(address + path).status_code == 403

    client.force_login(make_user())
    assert client.get(address + path).status_code == 404


def test_asks_few_queries_whatever_the_number_of_rows(client, project):
    address = signed_in(client, project.organization)
    use(project, 100)
    for number in range(20):
        record_usage(
            [make_record(make_project(project.organization), api_key_id=number + 1)], reservation_id=None, now=NOW
        )
        make_cost_tags(make_project(project.organization), f"c{number}")

    pages = [{"by": by} for by in ("product", "project", "key", "resource", "member", "cost_center")]
    for query in (*pages, {"by": "project", "center": "is:c1"}, {"by": "product", "center": "none"}):
        with CaptureQueriesContext(connection) as captured:
            assert client.get(address, query).status_code == 200
        # What opens transactions, sets roles and notes a session's activity is not the page's.
        others = r"SAVEPOINT|RELEASE|SET |SELECT (current|set_)|UPDATE .usersessions"
        work = [query["sql"] for query in captured if not re.match(others, query["sql"])]
        assert len(work) <= 13, work  # one of them asks whether any price has tiers


def test_the_export_has_every_event_with_price_version_and_exact_amount(client, project):
    address = signed_in(client, project.organization)
    stranger = make_project()
    record_usage([make_record(stranger)], reservation_id=None, now=NOW)
    key = make_key(project).api_key
    records = use(project, 12, api_key_id=key.pk)

    answer = client.get(address + "usage.csv", {"range": "30d"})
    rows = list(csv.DictReader(io.StringIO(b"".join(answer.streaming_content).decode())))
    lines = [
        json.loads(line)
        for line in b"".join(client.get(address + "usage.jsonl").streaming_content).decode().splitlines()
    ]

    assert "attachment" in answer["Content-Disposition"]
    assert {row["id"] for row in rows} == {str(record.event_id) for record in records}
    assert [row["id"] for row in rows] == [line["id"] for line in lines]
    assert [row["occurred_at"] for row in rows] == sorted(row["occurred_at"] for row in rows)
    first = next(row for row in rows if row["id"] == str(records[0].event_id))
    assert (first["quantity"], first["unit"], first["unit_price"]) == ("1", "token", "0.150000003")
    assert (first["unit_size"], first["amount"]) == ("1000000", "0.000000150000003")
    assert (first["project"], first["key"]) == (project.public_id, key.public_id)
    assert first["price_version"] == UsageByHour.objects.filter(sku=INPUT, project=project)[0].price_id


def test_the_export_cannot_run_a_formula(client, project):
    address = signed_in(client, project.organization)
    record_usage([make_record(project, resource_id="=cmd|' /C calc'!A0")], reservation_id=None, now=NOW)

    text = b"".join(client.get(address + "usage.csv").streaming_content).decode()

    assert "'=cmd|' /C calc'!A0" in text
    assert ",=cmd" not in text


def test_the_export_refuses_an_unknown_range(client, project):
    assert client.get(signed_in(client, project.organization) + "usage.csv", {"range": "x"}).status_code == 404
