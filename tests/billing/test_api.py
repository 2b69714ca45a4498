"""The REST API of money: exact decimals, cursors that lose nothing, scopes, and strangers see nothing."""

import re
from datetime import timedelta
from decimal import Decimal

import msgspec
import pytest
import time_machine
from django.urls import reverse

from accounts.models import Overlap, Scope
from accounts.services.api_keys import KeyLimits, change_key
from accounts.services.key_rotation import rotate_key
from billing.models import SpendCap
from billing.services.caps import CapTarget
from billing.services.usage import record_usage
from dev.paths import ROOT
from portal.lib.money import NANO_PER_USD
from tests.factories.accounts import make_key, make_membership, make_project, make_service_account
from tests.factories.billing import NOW, make_cap, make_record, make_reservation
from tests.factories.catalog import make_price

pytestmark = pytest.mark.django_db
SIGN_IN = "allauth.account.auth_backends.AuthenticationBackend"
LISTS = ["/api/v1/usage", "/api/v1/spend", "/api/v1/caps"]


@pytest.fixture(autouse=True)
def now():
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def project():
    make_price("model.demo.input", 150_000_000, 1_000_000)
    return make_project()


@pytest.fixture
def issued(project):
    return make_key(project)


def get(client, issued, address, **query):
    answer = client.get(address, query, headers={"Authorization": f"Bearer {issued.secret}"})
    return answer.status_code, msgspec.json.decode(answer.content)


def test_a_key_describes_itself_and_what_it_cost(client, project, issued):
    key = issued.api_key
    record_usage(
        [
            make_record(project, 1_000_000, api_key_id=key.pk),
            make_record(project, 3_000_000, api_key_id=key.pk, occurred_at=NOW - timedelta(days=1)),
            make_record(project, 5_000_000, api_key_id=key.pk, occurred_at=NOW - timedelta(days=30)),
            make_record(project, 7_000_000),
        ],
        reservation_id=None,
        now=NOW,
    )

    status, body = get(client, issued, "/api/v1/key")

    assert status == 200
    assert (body["id"], body["project"]) == (key.public_id, project.public_id)
    assert body["label"].endswith(issued.secret[-4:])
    assert issued.secret not in str(body)
    assert (body["usage_daily"], body["usage_monthly"], body["usage"]) == ("0.15", "0.60", "1.35")
    assert (body["limit"], body["limit_remaining"], body["limit_reset"]) == ("5.00", "2.60", None)
    rates = (body["requests_per_minute"], body["tokens_per_minute"], body["concurrent_requests"])
    assert rates == (6_000, 4_000_000, 500)
    # Exactly what docs/api.md says, and in its order.
    assert list(body) == documented_fields()


def documented_fields():
    table = (ROOT / "docs" / "api.md").read_text().split("## `GET /api/v1/key`")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return [field for row in rows for field in re.findall(r"`(\w+)`", row)]


def test_a_key_says_all_that_it_is_limited_by(client, project, django_capture_on_commit_callbacks):
    account = make_service_account(project, "nightly")
    issued = make_key(project, scopes=(Scope.INFERENCE,), service_account=account, now=NOW)
    limits = KeyLimits(allowed_models=["demo-chat"], allowed_addresses=["127.0.0.0/8"])
    change_key(api_key=issued.api_key, name="narrow", limits=limits, now=NOW)
    rotated = rotate_key(api_key=issued.api_key, overlap=Overlap.HOUR, now=NOW)

    with django_capture_on_commit_callbacks(execute=True):
        status, former = get(client, issued, "/api/v1/key")
    _, present = get(client, rotated, "/api/v1/key")

    assert status == 200
    assert (former["name"], former["kind"], former["state"]) == ("narrow", "live", "active")
    assert (former["service_account"], former["is_personal"]) == (account.public_id, False)
    assert (former["allowed_models"], former["allowed_addresses"]) == (["demo-chat"], ["127.0.0.0/8"])
    assert (former["uses_former_secret"], present["uses_former_secret"]) == (True, False)
    assert former["label"] == present["label"] == rotated.api_key.label
    assert former["former_secrets"] == [
        {
            "label": issued.api_key.label,
            "retired_at": f"{NOW:%Y-%m-%dT%H:%M:%SZ}",
            "valid_until": f"{NOW + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}",
        }
    ]
    assert (former["last_used_at"], present["last_used_address"]) == (None, "127.0.0.1")


def test_the_page_of_a_key_says_what_the_key_says(client, project):
    account = make_service_account(project, "nightly")
    issued = make_key(project, service_account=account, now=NOW)
    limits = KeyLimits(allowed_models=["demo-chat"], allowed_addresses=["127.0.0.0/8"])
    change_key(api_key=issued.api_key, name="narrow", limits=limits, now=NOW)
    rotate_key(api_key=issued.api_key, overlap=Overlap.HOUR, now=NOW)
    address = reverse("accounts:key-detail", args=[project.organization.slug, issued.api_key.public_id])
    client.force_login(make_membership(project.organization).user, backend=SIGN_IN)

    page = client.get(address).content.decode()

    for said in ("narrow", "nightly", "demo-chat", "127.0.0.0/8", "6,000 requests", "4,000,000 tokens", "$5.00"):
        assert said in page
    assert f"{issued.api_key.prefix}…{issued.secret[-4:]}" in page


def test_a_key_without_any_scope_of_money_still_describes_itself(client, project):
    status, body = get(client, make_key(project, scopes=(Scope.INFERENCE,)), "/api/v1/key")

    assert status == 200
    assert (body["limit"], body["usage"]) == ("5.00", "0.00")


@pytest.mark.parametrize("address", LISTS)
def test_needs_a_key_with_the_scope(client, project, address):
    assert client.get(address).status_code == 401

    status, body = get(client, make_key(project, scopes=(Scope.INFERENCE,)), address)
    assert (status, body["code"]) == (403, "forbidden")


def test_lists_every_event_once_page_by_page(client, project, issued):
    records = [
        make_record(project, number + 1, occurred_at=NOW - timedelta(minutes=number // 3)) for number in range(23)
    ]
    record_usage(records, reservation_id=None, now=NOW)
    record_usage([make_record(make_project())], reservation_id=None, now=NOW)

    seen, query = [], {"limit": 5, "end": "2026-11-23T00:00:00Z"}
    while True:
        status, body = get(client, issued, "/api/v1/usage", **query)
        assert status == 200
        seen += body["data"]
        if not body["has_more"]:
            break
        query["after"] = body["next_cursor"]

    assert sorted(event["id"] for event in seen) == sorted(str(record.event_id) for record in records)
    assert [event["occurred_at"] for event in seen] == sorted(event["occurred_at"] for event in seen)
    event = next(event for event in seen if event["quantity"] == 1)
    assert (event["sku"], event["unit"], event["amount"]) == ("model.demo.input", "token", "0.00000015")
    assert (event["unit_price"], event["unit_size"], event["currency"]) == ("0.15", 1_000_000, "USD")
    assert event["period"] == "2026-11-22T12:00:00Z"


def test_reports_spend_by_day_and_group(client, project, issued):
    record_usage(
        [make_record(project, 1_000_001), make_record(project, 9, occurred_at=NOW - timedelta(days=2))],
        reservation_id=None,
        now=NOW,
    )

    status, body = get(client, issued, "/api/v1/spend", group_by="project")

    assert status == 200
    assert (body["total"], body["currency"]) == ("0.1500015", "USD")
    assert [row["quantity"] for row in body["data"]] == [9, 1_000_001]
    assert sum(Decimal(row["amount"]) for row in body["data"]) == Decimal(body["total"])
    assert sum(Decimal(row["amount"]) for row in body["groups"]) == Decimal(body["total"])
    assert {row["name"] for row in body["groups"]} == {project.name}


@pytest.mark.parametrize(
    ("address", "query", "pointer"),
    [
        ("/api/v1/usage", {"limit": 0}, "/limit"),
        ("/api/v1/usage", {"limit": 201}, "/limit"),
        ("/api/v1/usage", {"limit": ""}, "/limit"),
        ("/api/v1/spend", {"group_by": ""}, "/group_by"),
        ("/api/v1/usage", {"after": "nonsense"}, "/after"),
        ("/api/v1/usage", {"start": "yesterday"}, "/start"),
        ("/api/v1/usage", {"start": "2026-11-22T00:00:00Z", "end": "2026-11-22T00:00:00Z"}, "/start"),
        ("/api/v1/spend", {"start": "2024-01-01T00:00:00Z"}, "/start"),
        ("/api/v1/spend", {"group_by": "mood"}, "/group_by"),
        ("/api/v1/caps", {"limit": "x"}, "/limit"),
    ],
)
def test_refuses_bad_input_and_points_at_it(client, issued, address, query, pointer):
    status, body = get(client, issued, address, **query)

    assert (status, body["code"]) == (422, "invalid_parameters")
    assert pointer in {error["pointer"] for error in body["errors"]}


def test_shows_the_cap_before_and_after_the_first_reservation(client, project, issued):
    _, before = get(client, issued, "/api/v1/caps")
    reservation = make_reservation(project, 1_250_000_000)
    _, after = get(client, issued, "/api/v1/caps")

    assert [cap["id"] for cap in before["data"]] == [None]
    assert before["data"][0]["remaining"] == "5.00"
    assert after["data"] == [
        {
            "id": reservation.cap.public_id,
            "scope": "organization",
            "scope_id": None,
            "period": "lifetime",
            "stops": True,
            "currency": "USD",
            "limit": "5.00",
            "settled": "0.00",
            "reserved": "1.25",
            "remaining": "3.75",
            "starts_at": None,
            "resets_at": None,
        }
    ]


def test_shows_nothing_of_other_organizations(client, project):
    record_usage([make_record(project, 1_000_000)], reservation_id=None, now=NOW)
    stranger = make_key(make_project())

    assert get(client, stranger, "/api/v1/usage")[1]["data"] == []
    assert get(client, stranger, "/api/v1/spend")[1]["total"] == "0.00"
    assert get(client, stranger, "/api/v1/caps")[1]["data"][0]["settled"] == "0.00"


def test_a_key_says_the_tightest_of_its_caps(client, project, issued):
    make_reservation(project, NANO_PER_USD)
    status, before = get(client, issued, "/api/v1/key")
    assert (status, before["limit"], before["limit_remaining"], before["limit_reset"]) == (200, "5.00", "4.00", None)

    make_cap(project, limit_nano=3 * NANO_PER_USD, period=SpendCap.Period.DAY)
    make_cap(project, CapTarget(project.organization, api_key=issued.api_key), limit_nano=9 * NANO_PER_USD)
    make_cap(project, limit_nano=NANO_PER_USD, period=SpendCap.Period.WEEK, stops=False)

    _, after = get(client, issued, "/api/v1/key")
    assert (after["limit"], after["limit_remaining"]) == ("3.00", "3.00")
    assert after["limit_reset"] == "2026-11-23T00:00:00Z"
