"""What an organization runs that does not pay: nothing new in grace, stopped when suspended, ended when terminated."""

from datetime import UTC, datetime

import pytest

from accounts.models import Organization
from billing.models import SpendCap
from billing.services.reservations import Suspended
from compute.models import Instance
from compute.reconcile import State, Want
from compute.services.instances import start_instance, stop_instances_of_suspended_organizations
from compute.services.launching import UnableToLaunch
from portal.lib.tenancy import as_platform
from tests.compute.test_services_instances import reconcile, seconds
from tests.factories.accounts import make_project
from tests.factories.compute import make_instance

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def let_stand(organization: Organization, state: str) -> None:
    """As billing.services.standing writes it."""
    Organization.objects.filter(pk=organization.pk).update(payment_state=state)
    is_suspended = state in {"suspended", "terminated"}
    SpendCap.objects.of_organization(organization.pk).update(is_suspended=is_suspended)


def sweep(now: datetime) -> int:
    with as_platform():
        return stop_instances_of_suspended_organizations(now=now)


@pytest.mark.parametrize("state", ["grace", "disputed", "suspended", "terminated"])
def test_nothing_new_is_launched(state):
    project = make_project()
    let_stand(project.organization, state)
    project.refresh_from_db()

    with pytest.raises(UnableToLaunch, match="overdue"):
        make_instance(NOW, project)
    assert not Instance.objects.exists()


def test_what_runs_is_stopped_and_its_disk_kept_until_the_end(double):
    running = reconcile(make_instance(NOW), NOW)
    booting, other = make_instance(NOW, running.project), reconcile(make_instance(NOW), NOW)
    let_stand(running.organization, "suspended")

    assert sweep(NOW + seconds(60)) == 1
    assert sweep(NOW + seconds(61)) == 0
    stopped = reconcile(running, NOW + seconds(61))
    assert (stopped.state, stopped.want) == (State.STOPPED, Want.STOPPED)
    assert reconcile(booting, NOW + seconds(62)).want == Want.RUNNING
    assert sweep(NOW + seconds(63)) == 1
    with pytest.raises(Suspended):
        start_instance(instance=stopped, now=NOW + seconds(70))

    let_stand(running.organization, "good")
    assert start_instance(instance=stopped, now=NOW + seconds(80)).want == Want.RUNNING
    let_stand(running.organization, "terminated")
    assert sweep(NOW + seconds(90)) == 2
    wants = Instance.objects.order_by("pk").values_list("want", flat=True)
    assert list(wants) == [Want.TERMINATED, Want.TERMINATED, Want.RUNNING]
    other.refresh_from_db()
    assert other.state == State.ACTIVE


def test_a_machine_whose_hold_is_not_renewed_stops_by_itself(double):
    running = reconcile(make_instance(NOW), NOW)
    let_stand(running.organization, "suspended")

    for passed in range(0, 400, 5):
        reconcile(running, NOW + seconds(passed))

    assert running.want == Want.STOPPED
