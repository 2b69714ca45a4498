"""The operator's API of usage: CloudEvents one by one and in batches, an answer for each, safe to send again."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import time_machine
from django.test import Client

from accounts.models import OperatorKey, OperatorScope, Project
from accounts.services.operator_keys import issue_operator_key
from billing.api.operator import BATCH, EVENT, MAXIMUM_EVENTS
from billing.models import UsageByHour, UsageEvent, UsageFate
from billing.selectors import budget_of
from billing.services.reported import correction_id_of, event_id_of
from dev.paths import ROOT
from tests.factories.accounts import make_project
from tests.factories.billing import NOW
from tests.factories.catalog import make_price

pytestmark = pytest.mark.django_db

ADDRESS = "/api/operator/v1/usage"
SOURCE, SKU = "https://gateway.example/eu-1", "model.demo.input"


@pytest.fixture
def project() -> Project:
    make_price(SKU, 150_000_000, 1_000_000)
    return make_project()


@pytest.fixture
def secret() -> str:
    return issue_operator_key(name="gateway", scopes=[OperatorScope.USAGE_WRITE], by=None, now=NOW).secret


@pytest.fixture(autouse=True)
def _now():
    with time_machine.travel(NOW, tick=False):
        yield


def event(project: Project, name: str = "call-1", **changes: Any) -> dict[str, Any]:
    """A CloudEvent; what is changed is of its data where it has that field, else of the envelope."""
    data = {
        "organization": project.organization.public_id,
        "project": project.public_id,
        "sku": SKU,
        "quantity": 1_000_000,
        "resource": "demo",
    }
    of_data = {key: value for key, value in changes.items() if key in data or key in ("corrects", "api_key")}
    envelope = {"specversion": "1.0", "id": name, "source": SOURCE, "type": "usage.measured"}
    envelope |= {"time": "2026-11-22T12:30:00Z", "datacontenttype": "application/json"}
    return envelope | {key: value for key, value in changes.items() if key not in of_data} | {"data": data | of_data}


def send(secret: str, body: object, kind: str = BATCH) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {secret}"}
    return Client().post(ADDRESS, content, content_type=kind, headers=headers)


def outcomes(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    data = json.loads(answer.content)["data"]
    assert [each["index"] for each in data] == list(range(len(data)))
    return [each["outcome"] for each in data]


def test_one_event_is_counted_and_its_fate_can_be_asked(project, secret, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        answer = json.loads(send(secret, event(project), EVENT).content)

    event_id = str(event_id_of(SOURCE, "call-1", SKU))
    assert answer["outcomes"] == {"counted": 1}
    assert answer["data"] == [
        {"index": 0, "event_id": event_id, "outcome": "counted", "fate": "counted", "reason": "", "detail": ""}
    ]
    assert budget_of(project.organization).settled_nano == 150_000_000
    found = Client().get(f"{ADDRESS}/{event_id}", headers={"Authorization": f"Bearer {secret}"})
    fate = json.loads(found.content)
    assert (fate["outcome"], fate["organization"]) == ("counted", project.organization.public_id)
    assert fate["occurred_at"] == "2026-11-22T12:30:00Z"
    assert OperatorKey.objects.get().last_used_at == NOW


def test_a_batch_of_several_organizations_has_an_answer_for_each(project, secret):
    other = make_project()
    unknown = event(project, "call-4", organization="org_nobody")
    batch = [event(project), event(other, "call-2"), {"id": "call-3"}, unknown, event(project)]

    assert outcomes(send(secret, batch)) == ["counted", "counted", "malformed", "rejected", "duplicate"]

    assert [budget_of(one.organization).settled_nano for one in (project, other)] == [150_000_000] * 2
    assert UsageEvent.objects.count() == 2


def test_sending_again_changes_nothing(project, secret):
    batch = [event(project, f"call-{number}") for number in range(5)]
    send(secret, batch)
    before = list(UsageByHour.objects.values_list()), list(UsageFate.objects.order_by("pk").values_list())

    assert outcomes(send(secret, batch[::-1])) == ["duplicate"] * 5

    assert (list(UsageByHour.objects.values_list()), list(UsageFate.objects.order_by("pk").values_list())) == before


def test_a_time_in_another_zone_is_the_same_instant(project, secret):
    send(secret, [event(project)])

    assert outcomes(send(secret, [event(project, time="2026-11-22T14:30:00+02:00")])) == ["duplicate"]


def test_a_correction_names_the_event_that_it_takes_back(project, secret):
    known = event_id_of(SOURCE, "call-1", SKU)
    correction = event(project, "undo-1", quantity=-1_000_000, corrects=str(known))

    again = event(project, "undo-2", quantity=-1_000_000, corrects=str(known))
    assert outcomes(send(secret, [correction, event(project), again])) == ["counted", "counted", "duplicate"]

    assert UsageByHour.objects.get().amount_nano == 0
    assert UsageFate.objects.filter(pk=correction_id_of(known)).exists()


MALFORMED: dict[str, dict[str, Any]] = {
    "no id": {"id": ""},
    "another version": {"specversion": "0.3"},
    "another type": {"type": "com.example.other"},
    "no instant": {"time": "yesterday"},
    "no zone": {"time": "2026-11-22T12:30:00"},
    "before the calendar": {"time": "0001-01-01T00:00:00+14:00"},
    "long ago": {"time": "1970-01-01T00:00:00Z"},
    "a fraction": {"quantity": 1.5},
    "a string": {"quantity": "1"},
    "too much": {"quantity": 10**12 + 1},
    "a NUL": {"resource": "a\0b"},
    "a line break": {"source": "https://a.example/\n1"},
    "a long name": {"sku": "x" * 161},
    "no id to correct": {"corrects": "call-1"},
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_event_is_told_and_has_no_fate(project, secret, name):
    answer = send(secret, [event(project, **MALFORMED[name]), event(project, "good")])

    assert outcomes(answer) == ["malformed", "counted"]
    assert json.loads(answer.content)["data"][0]["detail"]
    assert UsageFate.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b" ", BATCH, 400),
        (b"{", BATCH, 400),
        (b"\xff", BATCH, 400),
        (b"[" * 100_000, BATCH, 400),
        ({}, BATCH, 400),
        ([], BATCH, 400),
        ([{}], "application/json", 415),
        ([{}], "text/plain", 415),
        ([1] * (MAXIMUM_EVENTS + 1), BATCH, 413),
        (b"[" + b" " * 3_000_000 + b"]", BATCH, 413),
    ],
)
def test_a_body_that_is_no_batch_is_refused(secret, body, kind, status):
    answer = send(secret, body, kind)

    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    assert json.loads(answer.content)["detail"]


@pytest.mark.parametrize("body", [b" ", b"{", b"\xff", b"null", b"[" * 100_000, b'{"specversion":"1.0"'])
def test_a_single_body_that_is_no_event_is_malformed(secret, body):
    assert outcomes(send(secret, body, EVENT)) == ["malformed"]


def test_what_fails_asks_to_come_again(project, secret):
    make_price("model.dear.input", 10**15, 1)

    answer = send(secret, [event(project), event(project, sku="model.dear.input")])

    assert answer.status_code == 503
    assert json.loads(answer.content)["outcomes"] == {"counted": 1, "failed": 1}


def test_a_fate_that_nobody_knows_is_missing(project, secret):
    for name in (str(uuid4()), "x", "0" * 40):
        assert Client().get(f"{ADDRESS}/{name}", headers={"Authorization": f"Bearer {secret}"}).status_code == 404


def test_the_ids_can_be_computed_by_whoever_reports():
    # docs/api.md says how, with this example.
    expected = UUID("e63ef8eb-8130-517a-868c-8159c170f554")

    assert event_id_of("https://gateway.example/eu-1", "call-1", "model.demo.input") == expected
    assert f"`{expected}`" in (ROOT / "docs" / "api.md").read_text()


def test_a_report_too_old_waits_for_a_person(project, secret):
    old = event(project, time=(NOW - timedelta(days=36)).isoformat())

    answer = json.loads(send(secret, [old]).content)["data"][0]

    assert (answer["outcome"], answer["reason"], "a person" in answer["detail"]) == ("rejected", "too_old", True)
