from datetime import timedelta

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from accounts.models import Organization, Role, User
from billing.services.usage import record_usage
from compute.models import Instance
from tests.factories.accounts import make_key, make_membership, make_organization, make_user
from tests.factories.billing import NOW, make_record
from tests.factories.catalog import make_served_model
from tests.factories.compute import make_instance

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner() -> User:
    return make_user("ada@example.com")


@pytest.fixture
def organization(owner: User) -> Organization:
    return make_organization(owner=owner)


def look(user: User, organization: Organization):
    client = Client()
    client.force_login(user)
    return client.get(f"/o/{organization.slug}/")


def test_a_new_organization_sees_what_to_do_first(owner, organization):
    answer = look(owner, organization)

    page = answer.content.decode()
    assert answer.status_code == 200
    assert "Nothing spent yet" in page
    assert "No instance is running" in page
    assert [step.is_done for step in answer.context["view"].steps] == [False, False, False, False]


@time_machine.travel(NOW, tick=False)
def test_spend_and_tokens_are_those_of_the_buckets(owner, organization):
    model = make_served_model("demo", price_nano=2_000_000_000)
    project = organization.projects.get()
    yesterday = NOW - timedelta(days=1)
    for occurred_at, quantity in ((NOW, 1_000), (NOW - timedelta(hours=1), 500), (yesterday, 3_000)):
        record = make_record(project, quantity, sku=f"model.{model.name}.input", occurred_at=occurred_at)
        record_usage([record], reservation_id=None, now=NOW)

    view = look(owner, organization).context["view"]

    assert view.month_nano == 4_500 * 2_000
    assert view.tokens_today == "1,500"
    assert view.models_nano == 500 * 2_000
    assert view.budget.settled_nano == 4_500 * 2_000
    assert view.chart.total == "$0.009"
    assert [step.is_done for step in view.steps] == [False, True, False, False]


@time_machine.travel(NOW, tick=False)
def test_only_instances_that_are_billed_burn(owner, organization):
    project = organization.projects.get()
    running = make_instance(NOW, project)
    Instance.objects.filter(pk=running.pk).update(state="active", price_nano=3_600_000_000, unit_size=3_600)
    make_instance(NOW, project)

    view = look(owner, organization).context["view"]

    assert view.instances_nano == view.burn_nano == 3_600_000_000
    assert view.instance_count == 2
    assert {row.state for row in view.instances} == {"active", "queued"}
    assert view.runway.startswith("about ")


def test_steps_are_done_when_they_are_done(owner, organization):
    make_key(organization.projects.get())

    view = look(owner, organization).context["view"]

    assert [step.is_done for step in view.steps] == [True, False, False, False]
    assert view.open_step_count == 3


@time_machine.travel(NOW, tick=False)
def test_who_may_not_see_spend_sees_none(organization):
    make_served_model("demo")
    record = make_record(organization.projects.get(), 1_000, sku="model.demo.input")
    record_usage([record], reservation_id=None, now=NOW)
    viewer = make_membership(organization, role=Role.VIEWER).user

    page = look(viewer, organization).content.decode()

    assert "Spent this month" not in page
    assert "Burning per hour" not in page
    assert "$" not in page.split("<main", 1)[1].split("</main>", 1)[0]


def test_another_organization_adds_nothing(owner, organization):
    make_instance(timezone.now(), make_organization().projects.get())

    view = look(owner, organization).context["view"]

    assert view.instance_count == 0


@time_machine.travel(NOW, tick=False)
def test_the_number_of_queries_does_not_grow(owner, organization, django_assert_max_num_queries):
    make_served_model("demo")
    project = organization.projects.get()
    for hours in range(40):
        record = make_record(project, 1_000, sku="model.demo.input", occurred_at=NOW - timedelta(hours=hours * 7))
        record_usage([record], reservation_id=None, now=NOW)
    for _ in range(3):
        make_instance(NOW, project)
    client = Client()
    client.force_login(owner)
    client.get(f"/o/{organization.slug}/")

    # Eight of them are the suite's own, three note that the session is in use.
    with django_assert_max_num_queries(24):
        client.get(f"/o/{organization.slug}/")
