"""Staff and the owner's own systems say how much of a deployment customers may have."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from accounts.models import AuditEvent, OperatorScope
from accounts.services.operator_keys import issue_operator_key
from accounts.services.staff import StaffGroup
from catalog.models import Region
from inference.models import Deployment
from inference.services.offering import Offering, UnableToChangeDeployment, change_deployment, offer_deployment
from portal.lib.tenancy import as_platform
from tests.accounts.test_legal_holds import browser_of, make_staff
from tests.factories.accounts import make_membership, make_project
from tests.factories.inference import make_deployment

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
PAGE = "/admin/inference/deployment/"
WHOLE = {"weight": "1", "offered_percent": "100", "is_enabled": "on"}


@pytest.fixture
def deployment() -> Deployment:
    return make_deployment()


def secret(*scopes: OperatorScope) -> str:
    return issue_operator_key(name="scheduler", scopes=scopes, by=None, now=NOW).secret


def put(deployment: Deployment | str, body: Any, key: str):
    name = deployment if isinstance(deployment, str) else deployment.public_id
    return Client().put(
        f"/api/operator/v1/deployments/{name}/offer",
        json.dumps(body),
        content_type="application/json",
        headers={"authorization": f"Bearer {key}"},
    )


def test_the_owners_scheduler_takes_half_of_a_deployment_back(deployment: Deployment):
    key = secret(OperatorScope.DEMAND_WRITE, OperatorScope.POOLS_READ)

    answer = put(deployment, {"percent": 50}, key)
    listed = Client().get("/api/operator/v1/deployments", headers={"authorization": f"Bearer {key}"}).json()["data"]

    assert answer.status_code == 200
    assert answer.json()["offered_percent"] == 50
    assert [(each["id"], each["offered_percent"]) for each in listed] == [(deployment.public_id, 50)]
    assert Deployment.objects.get().changed_at > deployment.changed_at


@pytest.mark.parametrize("body", [{"percent": 101}, {"percent": -1}, {"percent": "much"}, {}, {"percent": None}])
def test_what_is_no_percentage_changes_nothing(deployment: Deployment, body: dict[str, Any]):
    answer = put(deployment, body, secret(OperatorScope.DEMAND_WRITE))

    assert answer.status_code == 422
    assert Deployment.objects.get().offered_percent == 100


def test_a_key_needs_the_scope_and_the_deployment_must_be_there(deployment: Deployment):
    assert put(deployment, {"percent": 1}, secret(OperatorScope.POOLS_READ)).status_code == 403
    assert put("dep_nobody", {"percent": 1}, secret(OperatorScope.DEMAND_WRITE)).status_code == 404
    assert Deployment.objects.get().offered_percent == 100


def test_the_service_says_what_is_wrong(deployment: Deployment):
    with as_platform():
        with pytest.raises(UnableToChangeDeployment, match="0 to 100"):
            offer_deployment(public_id=deployment.public_id, percent=101, now=NOW)
        with pytest.raises(UnableToChangeDeployment, match="no such"):
            offer_deployment(public_id="dep_nobody", percent=1, now=NOW)


def test_capacity_staff_change_a_deployment_and_the_staff_log_says_what(deployment: Deployment):
    staff = make_staff(StaffGroup.CAPACITY)
    typed = {"deployment": deployment.public_id, "weight": "3", "concurrent_requests": "8", "offered_percent": "25"}

    page = browser_of(staff).post(PAGE, typed | {"is_draining": "on", "is_enabled": "on"}, follow=True)

    assert "within a second" in page.content.decode()
    changed = Deployment.objects.get()
    assert Offering.of(changed) == Offering(3, 8, 25, True, True)
    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_id) == (staff, deployment.public_id)
    assert "draining, weight 3, 8 at once, 25 % offered" in entry.change_message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weight": "0"}, "greater than or equal to 1"),
        ({"offered_percent": "101"}, "less than or equal to 100"),
        ({"concurrent_requests": "0"}, "greater than or equal to 1"),
        ({"deployment": "dep_nobody"}, "no such deployment"),
    ],
)
def test_what_is_wrong_is_said_and_changes_nothing(deployment: Deployment, changes: dict[str, str], words: str):
    typed = WHOLE | {"deployment": deployment.public_id} | changes

    answer = browser_of(make_staff(StaffGroup.CAPACITY)).post(PAGE, typed)

    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert Offering.of(Deployment.objects.get()) == Offering.of(deployment)


def test_support_sees_deployments_and_changes_none(deployment: Deployment):
    staff = make_staff(StaffGroup.SUPPORT)
    client = browser_of(staff)

    assert deployment.public_id in client.get(PAGE).content.decode()
    assert client.post(PAGE, WHOLE | {"deployment": deployment.public_id}).status_code == 403
    with as_platform(), pytest.raises(UnableToChangeDeployment, match="may not"):
        change_deployment(
            public_id=deployment.public_id, offering=Offering(2, None, 100, False, True), by=staff, now=NOW
        )


def test_a_project_is_pinned_to_a_region_from_its_page(client: Client):
    project = make_project()
    client.force_login(make_membership(project.organization).user)
    Region.objects.create(name="home-1", description="Home")
    address = f"/o/{project.organization.slug}/projects/{project.public_id}/"

    assert client.post(f"{address}region/", {"region": "nowhere"}).status_code == 422
    assert client.post(f"{address}region/", {"region": "home-1"}).status_code == 302

    project.refresh_from_db()
    assert project.region_name == "home-1"
    assert "home-1" in client.get(address).content.decode()
    entry = AuditEvent.objects.owned_by(project.organization).order_by("sequence").last()
    assert entry is not None
    assert (entry.action, json.loads(entry.changes)) == ("project.pinned", {"region": ["", "home-1"]})
