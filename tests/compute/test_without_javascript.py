"""Launching and stopping where scripts are off or did not arrive (U9)."""

import re
from datetime import UTC, datetime

import asyncssh
import pytest
from playwright.sync_api import expect

from compute.models import Instance
from compute.reconcile import Want
from tests.compute.test_services_instances import reconcile
from tests.factories.accounts import make_organization, make_user
from tests.factories.catalog import make_image
from tests.factories.compute import make_pool

pytestmark = [pytest.mark.browser, pytest.mark.django_db]


def test_says_what_the_choice_costs_then_launches_and_stops(browser, double):
    organization = make_organization(owner=(owner := make_user()))
    pool, other = make_pool(), make_pool()
    make_image()
    page = browser.open(f"/o/{organization.slug}/instances/launch/", user=owner, javascript=False)
    line = asyncssh.generate_private_key("ssh-ed25519", comment="me@laptop").export_public_key().decode()

    page.locator(f"input[value={other.instance_type.name}]").check()
    page.locator("input[value=surplus]").check()
    page.get_by_label("SSH public key").fill(line)
    page.get_by_label("Name", exact=True).fill("train-1")
    page.get_by_role("button", name="Show what my choice costs").click()

    assert not Instance.objects.exists()
    expect(page.locator(f"input[value={other.instance_type.name}]")).to_be_checked()
    expect(page.get_by_label("SSH public key")).to_have_value(line)
    expect(page.get_by_label("Name", exact=True)).to_have_value("train-1")
    expect(page.locator("#launch-summary")).to_contain_text("surplus, may be reclaimed with 10 minutes")
    page.get_by_role("button", name=re.compile("^Launch for")).click()
    expect(page.get_by_role("heading", name="train-1")).to_be_visible()
    instance = Instance.objects.get()
    assert (instance.instance_type, instance.lease_class) == (other.instance_type, "surplus")
    assert instance.instance_type != pool.instance_type
    reconcile(instance, datetime.now(UTC))
    page.reload()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("train-1 is stopping. Billing has ended.")).to_be_visible()
    instance.refresh_from_db()
    assert instance.want == Want.STOPPED
