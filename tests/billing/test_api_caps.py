"""Caps of keys for programs that manage keys: set, changed and removed within the rules that hold for people."""

from datetime import timedelta

import msgspec
import pytest
import time_machine

from accounts.models import Scope
from accounts.services.api_keys import revoke_key
from billing.models import SpendCap
from billing.services.caps import CapTarget
from billing.services.usage import record_usage
from portal.lib.key_format import KeyKind
from tests.factories.accounts import make_key, make_project
from tests.factories.billing import NOW, make_cap, make_record
from tests.factories.catalog import make_price

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def clock():
    with time_machine.travel(NOW, tick=False) as moved:
        yield moved


@pytest.fixture
def project():
    make_price("model.demo.input", 150_000_000, 1_000_000)
    return make_project()


@pytest.fixture
def manager(project):
    return make_key(project, kind=KeyKind.MANAGEMENT, scopes=(Scope.KEYS_WRITE, Scope.BILLING_READ)).secret


@pytest.fixture
def key(project):
    return make_key(project).api_key


@pytest.fixture
def ask(client):
    def ask(secret, method, cap, **body):
        """cap: the key and the period that name it."""
        answer = client.generic(
            method,
            f"/api/v1/keys/{cap[0].public_id}/caps/{cap[1]}",
            msgspec.json.encode(body),
            content_type="application/json",
            headers={"Authorization": f"Bearer {secret}"},
        )
        return answer.status_code, msgspec.json.decode(answer.content)

    return ask


def test_a_cap_is_set_read_changed_and_removed(ask, manager, key):
    assert ask(manager, "GET", (key, "month"))[0] == 404

    status, made = ask(manager, "PUT", (key, "month"), limit="25.00")
    assert status == 200
    assert (made["scope"], made["scope_id"], made["period"]) == ("key", key.public_id, "month")
    assert (made["limit"], made["remaining"], made["stops"]) == ("25.00", "25.00", True)
    assert (made["starts_at"], made["resets_at"]) == ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z")
    assert ask(manager, "GET", (key, "month")) == (200, made)

    status, changed = ask(manager, "PUT", (key, "month"), limit="30", stops=False)
    assert (status, changed["id"], changed["limit"], changed["stops"]) == (200, made["id"], "30.00", False)

    assert ask(manager, "DELETE", (key, "month")) == (200, changed)
    assert ask(manager, "DELETE", (key, "month"))[0] == 404
    assert ask(manager, "GET", (key, "month"))[0] == 404


def test_putting_the_same_again_changes_nothing(ask, manager, key):
    first = ask(manager, "PUT", (key, "day"), limit="1.50")

    assert ask(manager, "PUT", (key, "day"), limit="1.50") == first
    assert SpendCap.objects.filter(api_key=key).count() == 1


def test_what_the_period_has_cost_counts_and_a_lower_limit_is_refused(ask, project, manager, key):
    record_usage([make_record(project, 20_000_000, api_key_id=key.pk)], reservation_id=None, now=NOW)

    status, refused = ask(manager, "PUT", (key, "day"), limit="2.99")
    assert (status, refused["code"]) == (422, "unable_to_set_cap")
    assert "$3.00" in refused["detail"]
    assert not SpendCap.objects.filter(api_key=key).exists()

    assert ask(manager, "PUT", (key, "day"), limit="3.00")[1]["remaining"] == "0.00"


def test_a_period_that_is_over_is_not_shown_as_the_running_one(ask, client, manager, key, clock):
    make_cap(key.project, CapTarget(key.organization, api_key=key), period=SpendCap.Period.DAY)
    record_usage([make_record(key.project, 20_000_000, api_key_id=key.pk)], reservation_id=None, now=NOW)
    assert ask(manager, "GET", (key, "day"))[1]["settled"] == "3.00"

    clock.move_to(NOW + timedelta(days=1))
    shown = ask(manager, "GET", (key, "day"))[1]
    listed = client.get("/api/v1/caps", headers={"Authorization": f"Bearer {manager}"}).json()["data"]

    assert (shown["settled"], shown["remaining"]) == ("0.00", "1000.00")
    assert (shown["starts_at"], shown["resets_at"]) == ("2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z")
    assert shown in listed


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"limit": ""},
        {"limit": 25},
        {"limit": "-1"},
        {"limit": "1.005"},
        {"limit": "1e3"},
        {"limit": "٣"},
        {"limit": "NaN"},
        {"limit": "123456789"},
        {"limit": "5.00", "stops": "perhaps"},
        {"limit": None},
    ],
)
def test_bad_limits_are_pointed_at_and_change_nothing(ask, manager, key, body):
    status, refused = ask(manager, "PUT", (key, "day"), **body)

    assert (status, refused["code"]) == (422, "invalid_parameters")
    assert refused["errors"][0]["pointer"] in ("/limit", "/stops")
    assert not SpendCap.objects.filter(api_key=key).exists()


def test_a_limit_is_at_most_ten_million(ask, manager, key):
    assert ask(manager, "PUT", (key, "day"), limit="10000000.00")[0] == 200

    status, refused = ask(manager, "PUT", (key, "day"), limit="10000000.01")
    assert (status, refused["code"]) == (422, "unable_to_set_cap")


def test_no_other_period_is_there(client, manager, key):
    address = f"/api/v1/keys/{key.public_id}/caps/year"

    assert client.put(address, headers={"Authorization": f"Bearer {manager}"}).status_code == 404


def test_only_keys_that_manage_keys_may_and_none_of_their_own_kind(ask, project, manager, key):
    reader = make_key(project, scopes=(Scope.BILLING_READ,)).secret
    for method in ("GET", "PUT", "DELETE"):
        assert ask(reader, method, (key, "day"), limit="5.00")[0] == 403

    other = make_key(project, kind=KeyKind.MANAGEMENT, scopes=(Scope.KEYS_WRITE,)).api_key
    status, refused = ask(manager, "PUT", (other, "day"), limit="5.00")
    assert (status, refused["code"]) == (403, "forbidden")
    assert not SpendCap.objects.filter(api_key=other).exists()


def test_keys_that_ended_or_belong_to_others_get_no_cap(ask, manager, key):
    foreign = make_key(make_project()).api_key
    assert ask(manager, "PUT", (foreign, "day"), limit="5.00")[0] == 404

    revoke_key(api_key=key, now=NOW)
    assert ask(manager, "PUT", (key, "day"), limit="5.00")[0] == 404
