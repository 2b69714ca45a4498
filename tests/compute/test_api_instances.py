"""The instance API, in the Lambda Cloud shape."""

import json
import re

import pytest
from django.test import Client

from accounts.models import Scope
from compute.models import Instance
from compute.reconcile import State
from tests.compute.test_services_instances import NOW, reconcile
from tests.factories.accounts import make_key, make_project
from tests.factories.catalog import make_image
from tests.factories.compute import make_instance, make_pool, make_ssh_key

pytestmark = pytest.mark.django_db


def test_launches_lists_and_terminates_with_one_key(double):
    project, pool = make_project(), make_pool()
    make_image()
    key = make_ssh_key(project.organization)
    headers = {"Authorization": f"Bearer {make_key(project).secret}", "Idempotency-Key": "once"}
    client = Client(headers=headers)
    body = {
        "region_name": pool.region.name,
        "instance_type_name": pool.instance_type.name,
        "ssh_key_names": [key.name],
    }

    types = client.get("/api/v1/instance-types").json()["data"]
    first = client.post("/api/v1/instance-operations/launch", body, content_type="application/json")
    second = client.post("/api/v1/instance-operations/launch", body, content_type="application/json")

    assert types[pool.instance_type.name]["instance_type"]["price_cents_per_hour"] == 249
    assert [one["name"] for one in types[pool.instance_type.name]["regions_with_capacity_available"]] == [
        pool.region.name
    ]
    assert first.status_code == 200, first.content
    assert first.json() == second.json()
    instance = Instance.objects.get()
    reconcile(instance, instance.created_at)
    listed = client.get("/api/v1/instances").json()["data"]
    assert [(one["id"], one["status"]) for one in listed] == [(instance.public_id, "active")]
    ended = client.post(
        "/api/v1/instance-operations/terminate", {"instance_ids": [instance.public_id]}, content_type="application/json"
    )
    assert ended.json()["data"]["terminated_instances"][0]["status"] == "terminating"


def test_says_in_the_same_shape_what_is_wrong():
    project = make_project()
    client = Client(headers={"Authorization": f"Bearer {make_key(project, scopes=(Scope.INSTANCES_WRITE,)).secret}"})

    missing = client.post(
        "/api/v1/instance-operations/terminate", {"instance_ids": ["inst_none"]}, content_type="application/json"
    )
    invalid = client.post("/api/v1/instance-operations/launch", {}, content_type="application/json")
    private = client.post(
        "/api/v1/ssh-keys", {"name": "x", "public_key": "BEGIN PRIVATE KEY"}, content_type="application/json"
    )
    nobody = Client().get("/api/v1/instances")

    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "global/object-does-not-exist")
    assert (invalid.status_code, invalid.json()["error"]["code"]) == (400, "global/invalid-parameters")
    assert private.json()["error"]["code"] == "global/invalid-parameters"
    assert (nobody.status_code, nobody.json()["error"]["code"]) == (401, "global/invalid-api-key")
    made = client.post("/api/v1/ssh-keys", {"name": "ci"}, content_type="application/json").json()["data"]
    assert "PRIVATE KEY" in made["private_key"]


LAUNCH = "/api/v1/instance-operations/launch"


@pytest.mark.parametrize(
    "other",
    [
        {"expires_in_seconds": 10**15},
        {"expires_in_seconds": 367 * 86_400},
        {"image": {"id": "a\0b"}},
        {"image": {"family": ["x"]}},
        {"image": "ubuntu"},
        {"user_data": "a\0b"},
    ],
)
def test_answers_values_that_nothing_can_hold_with_a_sentence(other):
    project, pool = make_project(), make_pool()
    make_image()
    client = Client(headers={"Authorization": f"Bearer {make_key(project).secret}"})
    body = {
        "region_name": pool.region.name,
        "instance_type_name": pool.instance_type.name,
        "ssh_key_names": [make_ssh_key(project.organization).name],
    }

    answer = client.post(LAUNCH, body | other, content_type="application/json")

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "global/invalid-parameters")
    assert not Instance.objects.exists()


@pytest.mark.parametrize("key", ["k" * 256, "", "caf\u00e9"])
def test_refuses_an_idempotency_key_that_cannot_be_kept(key):
    project, pool = make_project(), make_pool()
    make_image()
    client = Client(headers={"Authorization": f"Bearer {make_key(project).secret}", "Idempotency-Key": key})
    body = {
        "region_name": pool.region.name,
        "instance_type_name": pool.instance_type.name,
        "ssh_key_names": [make_ssh_key(project.organization).name],
    }

    answer = client.post(LAUNCH, body, content_type="application/json")

    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "global/invalid-parameters")
    assert not Instance.objects.exists()


@pytest.mark.parametrize(("body", "status"), [("[" * 100_000, 400), (json.dumps({"user_data": "x" * 3_000_000}), 413)])
def test_refuses_bodies_without_end(body, status):
    client = Client(headers={"Authorization": f"Bearer {make_key(make_project()).secret}"})

    answer = client.post(LAUNCH, body, content_type="application/json")

    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_changes_all_instances_that_are_named_or_none(double):
    project = make_project()
    first, second = make_instance(NOW, project), make_instance(NOW, project)
    for instance in (first, second):
        reconcile(instance, instance.created_at)
    Instance.objects.filter(pk=second.pk).update(state=State.STOPPING.value, want="stopped")
    client = Client(headers={"Authorization": f"Bearer {make_key(project).secret}"})

    answer = client.post(
        "/api/v1/instance-operations/restart",
        {"instance_ids": [first.public_id, second.public_id]},
        content_type="application/json",
    )

    assert answer.status_code == 409
    first.refresh_from_db()
    assert (first.state, first.generation) == (State.ACTIVE, 1)


def test_locks_all_instances_before_the_spend_cap(double, django_assert_max_num_queries):
    project = make_project()
    ids = [make_instance(NOW, project).public_id for _ in range(2)]
    client = Client(headers={"Authorization": f"Bearer {make_key(project).secret}"})

    with django_assert_max_num_queries(200) as queries:
        client.post(
            "/api/v1/instance-operations/terminate", {"instance_ids": ids[::-1]}, content_type="application/json"
        )

    locks = [query["sql"] for query in queries.captured_queries if re.search("FOR (NO KEY )?UPDATE", query["sql"])]
    assert 'FROM "compute_instance"' in locks[0]
    assert all(public_id in locks[0] for public_id in ids)
    assert any("billing_spendcap" in lock for lock in locks[1:])
