"""Tags divide costs by day: what was counted never changes its cost center, and cost centers sum to the spend."""

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid5

import msgspec
import pytest
import time_machine
from django.db import DatabaseError, transaction
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEvent, Project, Role
from billing.forms.cost_tags import CostTagsForm
from billing.models import CostTags
from billing.selectors.breakdown import Grouping, amounts_by_day
from billing.selectors.center_spend import GROUPINGS, center_spend, center_sums
from billing.selectors.cost_tags import newest_tags, tag_history
from billing.selectors.events import event_batches
from billing.selectors.focus import focus_of_days
from billing.selectors.invoice_export import export_records
from billing.selectors.spend import SkuTotal, day_totals, sku_totals, spend_lines
from billing.services.cost_tags import MOST_TAGS, UnableToTag, set_cost_tags
from billing.services.usage import record_usage
from portal.lib.money import NANO_PER_USD, decimal_string
from portal.lib.periods import Period
from tests.billing.test_services_invoices import DOLLAR, DUE, OCTOBER, SKU, allow, close
from tests.factories.accounts import make_key, make_membership, make_organization, make_project
from tests.factories.billing import make_record
from tests.factories.catalog import make_price
from tests.visits import signed_in

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
MONDAY = datetime(2026, 11, 16, 9, tzinfo=UTC)
MIDNIGHT = MONDAY.replace(hour=0)
WEEK = Period(MIDNIGHT, MIDNIGHT + 7 * DAY)
SECONDS = "instance.gpu_1x.surplus"


@pytest.fixture
def project() -> Project:
    make_price(SKU, NANO_PER_USD, DOLLAR, active_from=datetime(2026, 1, 1, tzinfo=UTC))
    make_price(SECONDS, 2_490_000_001, 3_600, active_from=datetime(2026, 1, 1, tzinfo=UTC))
    project = make_project(make_organization("Acme"), "Search")
    allow(project, 1_000)
    return project


def use(project: Project, dollars: int, at: datetime, *, now: datetime | None = None, key: int | None = None) -> None:
    record = make_record(project, dollars * DOLLAR, sku=SKU, occurred_at=at, api_key_id=key)
    record_usage([record], reservation_id=None, now=now or at)


def tag(project: Project, at: datetime, center: str = "", **tags: str) -> datetime | None:
    return set_cost_tags(project=project, tags=tags | ({CostTags.COST_CENTER: center} if center else {}), now=at)


def amounts(project: Project) -> dict[tuple[int, str], int]:
    """Return what each cost center cost on each day of the week in nano-dollars; every day sums to the spend."""
    lines = spend_lines(project.organization, WEEK)
    rows = amounts_by_day(project.organization, WEEK, Grouping.COST_CENTER, lines)
    for total in day_totals(project.organization, WEEK):
        assert sum(nano for day, _named, nano in rows if day == total.day) == total.amount_nano
    return {((day - MIDNIGHT).days, named.public_id): nano for day, named, nano in rows}


def centers(project: Project) -> dict[tuple[int, str], int]:
    return {key: nano // NANO_PER_USD for key, nano in amounts(project).items()}


def test_a_day_keeps_the_cost_center_that_it_had_and_late_usage_gets_that_of_its_day(project):
    use(project, 1, MONDAY)
    tag(project, MONDAY + DAY, "a")
    use(project, 2, MONDAY + DAY)
    tag(project, MONDAY + 3 * DAY, "b")
    use(project, 4, MONDAY + 3 * DAY)
    use(project, 8, MONDAY + 2 * DAY, now=MONDAY + 4 * DAY)

    assert centers(project) == {(0, ""): 1, (1, "a"): 2, (2, "a"): 8, (3, "b"): 4}


def test_what_was_counted_today_keeps_its_cost_center_and_new_tags_hold_from_tomorrow(project):
    assert tag(project, MONDAY, "a") == MIDNIGHT
    use(project, 1, MONDAY)
    counted = amounts(project)

    assert tag(project, MONDAY, "b") == MIDNIGHT + DAY
    assert tag(project, MONDAY + timedelta(hours=1), "c") == MIDNIGHT + DAY

    use(project, 2, MONDAY + timedelta(hours=2))
    use(project, 4, MONDAY + DAY)
    assert counted == {(0, "a"): NANO_PER_USD}
    assert centers(project) == {(0, "a"): 3, (1, "c"): 4}
    assert CostTags.objects.count() == 2


def test_usage_that_is_minutes_ahead_keeps_its_cost_center_too(project):
    late = MIDNIGHT - timedelta(minutes=2)
    tag(project, late - DAY, "a")
    use(project, 1, MIDNIGHT + timedelta(minutes=1), now=late)

    assert tag(project, late, "b") == MIDNIGHT + DAY
    assert centers(project) == {(0, "a"): 1}


def test_a_correction_goes_to_the_cost_center_of_the_day_that_it_corrects(project):
    tag(project, MONDAY, "a")
    record = make_record(project, 3 * DOLLAR, sku=SKU, occurred_at=MONDAY)
    record_usage([record], reservation_id=None, now=MONDAY)
    tag(project, MONDAY, "b")
    undone = replace(record, event_id=uuid5(record.event_id, "correct"), quantity=-DOLLAR, corrects=record.event_id)
    record_usage([undone], reservation_id=None, now=MONDAY + 2 * DAY)

    assert centers(project) == {(0, "a"): 2}


def test_tags_that_are_there_already_leave_no_row_and_no_entry(project):
    tag(project, MONDAY, "a")

    assert tag(project, MONDAY + DAY, "a") is None

    assert [row.tags for row in CostTags.objects.all()] == [{"cost-center": "a"}]
    assert AuditEvent.objects.filter(action="cost_tags.changed").count() == 1


def test_the_log_says_which_tags_changed_and_not_what_they_say(project):
    tag(project, MONDAY, "a", team="secret-team")
    tag(project, MONDAY + DAY, "a", team="other", place="x")

    first, second = AuditEvent.objects.filter(action="cost_tags.changed").order_by("sequence")
    assert (json.loads(first.changes), json.loads(second.changes)) == (
        {"tags": [None, ["cost-center", "team"]], "from_day": [None, "2026-11-16"]},
        {"tags": [None, ["place", "team"]], "from_day": [None, "2026-11-17"]},
    )
    assert first.target_id == project.public_id


@pytest.mark.parametrize(
    "tags",
    [
        {"Team": "x"},
        {"": "x"},
        {"1a": "x"},
        {"a" * 41: "x"},
        {"team": ""},
        {"team": " x"},
        {"team": "x" * 81},
        {"team": "x\ny"},
        {f"t{number}": "x" for number in range(MOST_TAGS + 1)},
    ],
)
def test_what_is_no_tag_is_refused_and_changes_nothing(project, tags):
    with pytest.raises(UnableToTag):
        set_cost_tags(project=project, tags=tags, now=MONDAY)

    assert not CostTags.objects.exists()


@pytest.mark.parametrize("text", ["team", "a=1\na=2", "cost-center=1"])
def test_lines_that_say_nothing_or_two_things_are_refused(text):
    assert not CostTagsForm({"tags": text}).is_valid()


def test_the_form_brings_back_what_it_was_given():
    tags = {"cost-center": "=4711", "team": "a=b", "place": "Köln"}
    initial = CostTagsForm(None, tags=tags).initial
    form = CostTagsForm(initial)

    assert form.is_valid()
    assert form.chosen() == tags


def test_tags_begin_with_a_day(project):
    with pytest.raises(DatabaseError), transaction.atomic():
        CostTags.objects.create(organization=project.organization, project=project, from_day=MONDAY, changed_at=MONDAY)


def test_cost_centers_are_known_by_when_they_held(project):
    other = make_project(project.organization, "Other")
    tag(project, MONDAY, "a")
    tag(project, MONDAY + 2 * DAY, "b")
    tag(project, MONDAY + 4 * DAY, "a")
    history = tag_history(project.organization_id)
    period = Period(MIDNIGHT - DAY, MIDNIGHT + 6 * DAY)

    def spans(center: str) -> list[tuple[int, int, int]]:
        found = history.spans([project.pk, other.pk], center, period)
        return sorted((span.project_id, (span.start - MIDNIGHT).days, (span.end - MIDNIGHT).days) for span in found)

    assert spans("a") == [(project.pk, 0, 2), (project.pk, 4, 6)]
    assert spans("b") == [(project.pk, 2, 4)]
    assert spans("") == [(project.pk, -1, 0), (other.pk, -1, 6)]
    assert spans("c") == []
    assert history.centers() == ["a", "b"]


def _busy(project: Project) -> list[Project]:
    """Use two SKUs in three projects on five days, whose cost centers change meanwhile."""
    projects = [project, *(make_project(project.organization, name) for name in ("Ads", "Maps"))]
    number = 0
    for day in range(5):
        now = MONDAY + day * DAY
        for place, one in enumerate(projects):
            if place < 2 and day % (place + 2) == 0:
                tag(one, now, "abc"[(day + place) % 3])
            records = []
            for sku in (SKU, SECONDS):
                number += 1
                at = now + timedelta(hours=number % 3)
                records.append(make_record(one, 12_347 * number, sku=sku, occurred_at=at))
            record_usage(records, reservation_id=None, now=now + timedelta(hours=4))
    return projects


def _add_up(totals: Iterable[SkuTotal]) -> dict[tuple[str, str], tuple[int, int, int]]:
    found: dict[tuple[str, str], tuple[int, int, int]] = {}
    for one in totals:
        quantity, events, nano = found.get((one.sku, one.price_id), (0, 0, 0))
        sums = quantity + one.quantity, events + one.event_count, nano + one.amount_nano
        found[one.sku, one.price_id] = sums
    return found


def test_cost_centers_add_up_to_the_spend_of_every_day_sku_product_and_project(project):
    organization = project.organization
    _busy(project)
    parts = {name: center_spend(organization, name, WEEK) for name in ("", "a", "b", "c")}
    lines = spend_lines(organization, WEEK)

    assert all(part.rows for part in parts.values())
    assert _add_up(one for part in parts.values() for one in part.sku_totals()) == _add_up(
        sku_totals(organization, WEEK)
    )
    for grouping in GROUPINGS:
        expected = {(day, named): nano for day, named, nano in amounts_by_day(organization, WEEK, grouping, lines)}
        found: dict[Any, int] = {}
        for part in parts.values():
            for group in part.groups(grouping):
                for day, nano in group.by_day.items():
                    found[day, group.named] = found.get((day, group.named), 0) + nano
        assert found == expected
    by_center = amounts(project)
    for name, part in parts.items():
        assert {((one.day - MIDNIGHT).days, name): one.amount_nano for one in part.day_totals()} == {
            key: nano for key, nano in by_center.items() if key[1] == name
        }
        assert sum(line.amount_nano for line in part.lines()) == sum(row.amount_nano for row in part.rows)


def test_exports_name_the_cost_center_of_every_event_and_can_be_of_one(project):
    tag(project, MONDAY + DAY, "a")
    for day in range(3):
        use(project, 1 + day, MONDAY + day * DAY)
    tag(project, MONDAY + 2 * DAY, "b")
    use(project, 8, MONDAY + 3 * DAY)

    def exported(center: str | None) -> list[tuple[int, str | None]]:
        history = tag_history(project.organization_id)
        spans = None if center is None else list(history.spans([project.pk], center, WEEK))
        rows = [row for batch in event_batches(project.organization, WEEK, spans) for row in batch]
        return [(row.quantity // DOLLAR, row.cost_center) for row in rows]

    assert exported(None) == [(1, None), (2, "a"), (3, "a"), (8, "b")]
    assert exported("a") == [(2, "a"), (3, "a")]
    assert exported("") == [(1, None)]


def test_costs_as_focus_have_the_tags_of_the_day(project):
    use(project, 1, MONDAY)
    tag(project, MONDAY + DAY, "4711", team="näch")
    use(project, 2, MONDAY + DAY)

    rows = list(focus_of_days(project.organization, WEEK))

    assert [row.Tags and json.loads(row.Tags) for row in rows] == [None, {"cost-center": "4711", "team": "näch"}]


def test_an_invoice_divides_its_usage_and_its_file_says_of_each_bucket_whose_it_is(project):
    use(project, 1, OCTOBER)
    tag(project, OCTOBER + DAY, "a")
    use(project, 2, OCTOBER + DAY)
    tag(project, OCTOBER + 2 * DAY, "b")
    record = make_record(project, 4_004_999, sku=SKU, occurred_at=OCTOBER + 2 * DAY)
    record_usage([record], reservation_id=None, now=OCTOBER + 2 * DAY)
    invoice = close(project)

    sums = center_sums(invoice)
    tag(project, DUE + DAY, "c")

    assert sums == [
        ("b", "$4.004999"),
        ("a", "$2.00"),
        ("Without a cost center", "$1.00"),
        ("Of no day: tiers, commitments, rounding", "-$0.004999"),
    ]
    assert center_sums(invoice) == sums
    records = list(export_records(project.organization, invoice))
    assert [one["cost_center"] for one in records if one["record"] == "bucket"] == [None, "a", "b"]


def test_an_invoice_of_who_has_no_tags_says_nothing_of_cost_centers(project):
    use(project, 1, OCTOBER)

    assert center_sums(close(project)) == []


def _post(client: Client, project: Project, **typed: str) -> Any:
    address = reverse("billing:project-tags", args=[project.organization.slug, project.public_id])
    return client.post(address, typed)


def test_people_name_a_cost_center_on_a_page_and_see_what_it_spends(project):
    client = signed_in(make_membership(project.organization, role=Role.BILLING).user)
    slug, other = project.organization.slug, make_project(project.organization, "Other")
    listing, spend = reverse("billing:tag-list", args=[slug]), reverse("billing:spend", args=[slug])
    with time_machine.travel(MONDAY, tick=False):
        assert _post(client, project, cost_center="4711", tags="Team=x").status_code == 422
        assert _post(client, project, cost_center="4711", tags="team").status_code == 422
        assert not CostTags.objects.exists()
        assert _post(client, project, cost_center=" 4711 ", tags="team = search\n\n").status_code == 302
        newest = newest_tags(project)
        assert newest
        assert newest.tags == {"cost-center": "4711", "team": "search"}
        use(project, 3, MONDAY)
        use(other, 2, MONDAY)
        answer = client.post(
            reverse("billing:project-tags", args=[slug, project.public_id]), {"cost_center": "4712"}, follow=True
        )
        assert "from 2026-11-17 on" in answer.content.decode()

        page = client.get(listing).context["page"]
        [first, second] = [row for row in page.rows if row.name in ("Search", "Other")]
        grouped = client.get(spend, {"range": "7d", "by": "cost_center"}).context["view"]
        one = client.get(spend, {"range": "7d", "by": "project", "center": "is:4711"})
        rest = client.get(spend, {"range": "7d", "by": "product", "center": "none"})

    assert (first.cost_center, first.tags, first.coming, first.coming_from) == (
        "4711", "team=search", "cost-center=4712", "2026-11-17",
    )  # fmt: skip
    assert (second.cost_center, second.coming) == ("", "")
    assert [(row.name, row.amount) for row in grouped.groups] == [("4711", "$3.00"), ("Without a cost center", "$2.00")]
    assert (one.context["view"].total, [row.name for row in one.context["view"].groups]) == ("$3.00", ["Search"])
    assert (one.context["lines"].total, rest.context["view"].total, rest.context["lines"].total) == (
        "$3.00", "$2.00", "$2.00",
    )  # fmt: skip
    assert "usage.csv?range=7d&amp;center=is%3A4711" in one.content.decode()


@pytest.mark.parametrize("query", [{"center": "is:no-such"}, {"center": "4711"}, {"center": "is:4711", "by": "key"}])
def test_a_filter_that_means_nothing_is_refused_with_a_sentence(project, query):
    tag(project, MONDAY, "4711")
    client = signed_in(make_membership(project.organization).user)

    answer = client.get(reverse("billing:spend", args=[project.organization.slug]), query)

    assert answer.status_code == 422
    assert 'role="alert"' in answer.content.decode()


def test_a_neighbours_cost_center_is_refused_like_one_that_nobody_has(project):
    neighbour = make_project(make_organization())
    tag(neighbour, MONDAY, "theirs")
    use(neighbour, 1, MONDAY)
    use(project, 2, MONDAY)
    client = signed_in(make_membership(project.organization).user)
    issued = make_key(project)

    def asked(center: str) -> tuple[int, str, Any]:
        span = {"start": "2026-11-16T00:00:00Z", "end": "2026-11-18T00:00:00Z", "cost_center": center}
        page = client.get(reverse("billing:spend", args=[project.organization.slug]), {"center": f"is:{center}"})
        api = client.get("/api/v1/spend", span, headers={"Authorization": f"Bearer {issued.secret}"})
        return page.status_code, page.context["form"].errors["center"][0].replace(center, ""), api.json()["total"]

    assert asked("theirs") == asked("missing")
    assert asked("theirs")[::2] == (422, "0.00")


def test_files_of_one_cost_center_are_downloaded_and_those_of_none_that_is_known_are_not(project):
    client = signed_in(make_membership(project.organization).user)
    slug = project.organization.slug
    with time_machine.travel(MONDAY + DAY, tick=False):
        use(project, 1, MONDAY)
        tag(project, MONDAY + DAY, "a&b")
        use(project, 2, MONDAY + DAY)

        def rows(name: str, center: str) -> list[dict[str, Any]]:
            answer: Any = client.get(reverse(f"billing:{name}", args=[slug]), {"center": center})
            text = b"".join(answer.streaming_content).decode()
            return (
                list(csv.DictReader(io.StringIO(text)))
                if name.endswith("csv")
                else [json.loads(line) for line in text.splitlines()]
            )

        assert [row["cost_center"] for row in rows("usage-csv", "is:a&b")] == ["a&b"]
        assert [row["cost_center"] for row in rows("usage-csv", "none")] == [""]
        assert [row["cost_center"] for row in rows("usage-jsonl", "")] == [None, "a&b"]
        for name, center in (("usage-csv", "is:x"), ("spend-focus", "is:a&b"), ("spend-focus", "none")):
            assert client.get(reverse(f"billing:{name}", args=[slug]), {"center": center}).status_code == 404


def test_programs_read_tags_and_group_and_narrow_what_was_spent(client, project):
    issued = make_key(project)
    use(project, 1, MONDAY)
    tag(project, MONDAY, "a", team="x")
    use(project, 2, MONDAY + DAY)

    def get(address: str, **query: str) -> tuple[int, Any]:
        with time_machine.travel(MONDAY + DAY, tick=False):
            answer = client.get(address, query, headers={"Authorization": f"Bearer {issued.secret}"})
        return answer.status_code, msgspec.json.decode(answer.content)

    def amounts_of(report: Any) -> list[tuple[str, str]]:
        return [(group["id"], group["amount"]) for group in report["groups"]]

    span = {"start": "2026-11-16T00:00:00Z", "end": "2026-11-18T00:00:00Z"}
    _status, tags = get("/api/v1/project-tags")
    [mine] = [one for one in tags["data"] if one["project"] == project.public_id]
    assert (mine["cost_center"], mine["tags"]) == ("a", {"team": "x"})
    assert [one["from_day"] for one in mine["versions"]] == ["2026-11-17T00:00:00Z"]
    assert amounts_of(get("/api/v1/spend", **span, group_by="cost_center")[1]) == [("", "1.00"), ("a", "2.00")]
    narrowed = get("/api/v1/spend", **span, cost_center="a", group_by="project")[1]
    assert (narrowed["total"], amounts_of(narrowed)) == ("2.00", [(project.public_id, "2.00")])
    assert get("/api/v1/spend", **span, cost_center="")[1]["total"] == "1.00"
    assert get("/api/v1/spend", **span, cost_center="a", group_by="key")[0] == 422
    assert [one["cost_center"] for one in get("/api/v1/usage", **span)[1]["data"]] == [None, "a"]


def test_the_exact_amounts_of_cost_centers_are_those_of_the_page(project):
    client = signed_in(make_membership(project.organization).user)
    _busy(project)
    with time_machine.travel(MONDAY + 5 * DAY, tick=False):
        view = client.get(
            reverse("billing:spend", args=[project.organization.slug]), {"range": "7d", "by": "cost_center"}
        ).context["view"]
    total = sum(one.amount_nano for one in day_totals(project.organization, WEEK))

    assert sum(Decimal(row.exact_amount[1:]) for row in view.groups) == Decimal(decimal_string(total))
