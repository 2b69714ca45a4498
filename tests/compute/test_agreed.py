"""What terms let an organization run: so many instances of a kind at once, in these regions; else a sentence."""

from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Organization, Role
from accounts.services.staff import StaffGroup
from billing.services.terms import ProposedTerms, UnableToChangeTerms, propose_terms
from compute.models import Instance, Pool
from compute.reconcile import State, Want
from compute.services.agreed import BeyondTerms
from compute.services.instances import start_instance, stop_instance, terminate_instance
from compute.services.launching import launch_instances
from portal.lib.money import NANO_PER_USD
from tests.accounts.test_legal_holds import make_staff
from tests.compute.test_services_instances import reconcile, seconds
from tests.compute.test_views_instances import launch_values
from tests.factories.accounts import make_key, make_membership, make_organization, make_project
from tests.factories.catalog import make_region
from tests.factories.compute import make_instance, make_pool, make_request, make_ssh_key
from tests.factories.terms import put_terms_in_force
from tests.visits import signed_in

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def organization() -> Organization:
    return make_organization("Acme AI")


def agree(organization: Organization, **stated: object) -> None:
    put_terms_in_force(organization, 1_000 * NANO_PER_USD, now=NOW, **stated)


def test_so_many_instances_of_a_kind_hold_capacity_at_once(double, organization):
    agree(organization, gpu_quota=2)
    project, pool = organization.projects.get(), make_pool()
    first = reconcile(make_instance(NOW, project, pool=pool), NOW)
    sold = Pool.objects.get(pk=pool.pk).sold_units

    with pytest.raises(BeyondTerms) as refusal:
        launch_instances(request=make_request(project, pool=pool, quantity=2), now=NOW)
    sentence = str(refusal.value)
    assert "The terms of Acme AI allow 2 GPU instances at once, and 1 are there" in sentence
    assert "ask whoever you agreed on the terms with" in sentence
    assert (Instance.objects.count(), Pool.objects.get(pk=pool.pk).sold_units) == (1, sold)

    second = make_instance(NOW, project, pool=make_pool())
    with pytest.raises(BeyondTerms):
        make_instance(NOW, project, pool=pool)
    terminate_instance(instance=second, now=NOW + seconds(5))
    reconcile(second, NOW + seconds(6))
    make_instance(NOW + seconds(7), project, pool=pool)
    assert first.state == State.ACTIVE


def test_a_stopped_one_starts_again_only_within_the_quota(double, organization):
    agree(organization, gpu_quota=1)
    project, pool = organization.projects.get(), make_pool()
    first = reconcile(make_instance(NOW, project, pool=pool), NOW)
    stop_instance(instance=first, now=NOW + seconds(10))
    first = reconcile(first, NOW + seconds(11))
    assert (first.state, first.holds_unit) == (State.STOPPED, False)
    second = make_instance(NOW + seconds(20), project, pool=pool)

    with pytest.raises(BeyondTerms, match="1 are there"):
        start_instance(instance=first, now=NOW + seconds(30))
    terminate_instance(instance=second, now=NOW + seconds(40))
    reconcile(second, NOW + seconds(41))

    assert start_instance(instance=first, now=NOW + seconds(50)).want == Want.RUNNING


def test_other_kinds_and_other_organizations_are_not_counted(double, organization):
    agree(organization, cpu_quota=0)
    neighbour = make_project()
    agree(neighbour.organization, gpu_quota=1)

    make_instance(NOW, organization.projects.get())
    make_instance(NOW, neighbour)
    with pytest.raises(BeyondTerms, match="allow 1 GPU instances at once, and 1 are there"):
        make_instance(NOW, neighbour)


def test_only_the_agreed_regions_are_launched_in(double, organization):
    pool, elsewhere = make_pool(), make_pool(region=make_region("far-east-1"))
    agree(organization, regions=[pool.region.name])
    project = organization.projects.get()

    make_instance(NOW, project, pool=pool)
    with pytest.raises(BeyondTerms, match=f"are for {pool.region.name} only"):
        make_instance(NOW, project, pool=elsewhere)


def test_terms_that_ended_and_new_ones_count_from_their_instant(double, organization):
    agree(organization, gpu_quota=0)
    with pytest.raises(BeyondTerms):
        make_instance(NOW, organization.projects.get())

    put_terms_in_force(organization, 1_000 * NANO_PER_USD, now=NOW + timedelta(hours=1), gpu_quota=1)

    make_instance(NOW + timedelta(hours=1), organization.projects.get())


def test_pages_and_programs_say_the_limit(organization):
    agree(organization, gpu_quota=0)
    pool, project = make_pool(), organization.projects.get()
    client = signed_in(make_membership(organization).user)

    page = client.post(reverse("compute:instance-launch", args=[organization.slug]), launch_values(organization, pool))
    assert page.status_code == 422
    assert "The terms of Acme AI allow 0 GPU instances at once" in page.content.decode()

    body = {
        "region_name": pool.region.name,
        "instance_type_name": pool.instance_type.name,
        "ssh_key_names": [make_ssh_key(organization).name],
    }
    answer = Client(headers={"Authorization": f"Bearer {make_key(project).secret}"}).post(
        reverse("compute:api-launch"), body, content_type="application/json"
    )
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "global/quota-exceeded"
    assert "allow 0 GPU instances" in answer.json()["error"]["message"]


def test_the_page_of_limits_shows_the_terms(organization):
    pool = make_pool()
    client = signed_in(make_membership(organization, role=Role.BILLING).user)
    address = reverse("billing:cap-list", args=[organization.slug])
    assert "Your terms" not in client.get(address).content.decode()

    agree(organization, gpu_quota=8, regions=[pool.region.name])

    page = client.get(address).content.decode()
    for shown in ("Your terms", "$1,000.00", "GPU instances at once", "<dd>8</dd>", pool.region.description):
        assert shown in page, shown


@pytest.mark.parametrize(
    ("stated", "sentence"),
    [
        ({"quotas": {"gpu": -1}}, "A quota is a number"),
        ({"quotas": {"npu": 1}}, "no instances of the kind npu"),
        ({"regions": ["mars-1"]}, "There is no region mars-1"),
    ],
)
def test_terms_name_what_there_is(organization, stated, sentence):
    with pytest.raises(UnableToChangeTerms, match=sentence):
        propose_terms(
            organization=organization,
            proposed=ProposedTerms(0, 30, NOW, **stated),
            by=make_staff(StaffGroup.SALES),
            now=NOW,
        )
