"""What the launch page proposes, and the command that it shows."""

import json
import shlex
from datetime import UTC, datetime

import pytest
from django.test import Client

from catalog.models import LeaseClass
from compute.forms import PROPOSED_HOURS, LaunchForm
from compute.models import Instance
from compute.selectors import launch_offers
from portal.lib.snippets import launch_snippet
from tests.factories.accounts import make_key, make_organization, make_project
from tests.factories.catalog import make_image, make_instance_type
from tests.factories.compute import HOURLY_NANO, make_pool, make_ssh_key

pytestmark = pytest.mark.django_db


def test_proposes_the_cheapest_accelerator_that_the_budget_lasts_for_and_else_the_cheapest_of_all():
    small = make_pool(instance_type=make_instance_type("cpu_8x_general", price_nano=HOURLY_NANO // 9))
    useful = make_pool()
    make_pool(instance_type=make_instance_type("gpu_8x_large", count=8, price_nano=8 * HOURLY_NANO))
    offers = launch_offers(make_organization(), datetime.now(UTC))

    def proposed(remaining_nano: int) -> object:
        return LaunchForm.starting_values(offers, [], remaining_nano)["instance_type"]

    assert proposed(PROPOSED_HOURS * HOURLY_NANO) == useful.instance_type.name
    assert proposed(PROPOSED_HOURS * HOURLY_NANO - 1) == small.instance_type.name
    assert LaunchForm.starting_values(offers, [], 0, "gpu_8x_large")["instance_type"] == "gpu_8x_large"


def test_says_in_words_how_much_is_left():
    make_pool(total_units=10)
    make_pool(total_units=1)
    make_pool(total_units=0)

    offers = launch_offers(make_organization(), datetime.now(UTC))

    # By name, and the tenth made comes before the ninth.
    assert sorted((offer.stock_status, offer.stock_words) for offer in offers) == [
        ("available", "Free in 1 region"),
        ("limited", "Few left in 1 region"),
        ("unavailable", "Sold out everywhere"),
    ]


def test_the_command_shown_launches_what_was_chosen():
    project, pool = make_project(), make_pool()
    make_image()
    ssh_key = make_ssh_key(project.organization, "mine' && \"yours")
    command = launch_snippet(
        "http://testserver/api/v1",
        instance_type=pool.instance_type.name,
        region=pool.region.name,
        lease_class="surplus",
        ssh_key=ssh_key.name,
    )
    words = shlex.split(command)

    answer = Client(headers={"Authorization": f"Bearer {make_key(project).secret}"}).post(
        words[1].removeprefix("http://testserver"), json.loads(words[-1]), content_type="application/json"
    )

    assert answer.status_code == 200, answer.content
    instance = Instance.objects.get()
    assert (instance.instance_type, instance.lease_class) == (pool.instance_type, LeaseClass.SURPLUS)
    assert instance.ssh_key_names == [ssh_key.name]
