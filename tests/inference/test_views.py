"""Pages and API of receipts."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import Role, Scope
from inference.forms import OFFERED_KEYS
from inference.models import Receipt
from inference.selectors import PAGE_SIZE
from tests.factories.accounts import make_key, make_membership, make_organization, make_user
from tests.factories.catalog import make_served_model
from tests.factories.inference import NOON, make_receipt

pytestmark = pytest.mark.django_db


@pytest.fixture
def organization():
    return make_organization(owner=make_user("alice@example.com"))


@pytest.fixture
def alice(organization, client: Client) -> Client:
    client.force_login(
        organization.memberships.get().user, backend="allauth.account.auth_backends.AuthenticationBackend"
    )
    return client


def test_lists_requests_newest_first_with_tokens_and_exact_cost(organization, alice: Client):
    older = make_receipt(organization)
    newer = make_receipt(organization, requested_at=NOON + timedelta(seconds=1))

    text = alice.get(f"/o/{organization.slug}/requests/").content.decode()

    assert text.index(newer.request_id) < text.index(older.request_id)
    assert "1,000" in text
    assert "$0.0011" in text
    assert "1.23 s" in text


def test_says_what_to_do_when_there_are_no_requests(organization, alice: Client):
    text = alice.get(f"/o/{organization.slug}/requests/").content.decode()

    assert "No requests yet" in text


def test_narrows_to_a_model_a_key_and_a_status(organization, alice: Client):
    key = make_key(organization.projects.get()).api_key
    wanted = make_receipt(organization, served_model=make_served_model("other"), api_key=key, status=Receipt.Status.CUT)
    other = make_receipt(organization)

    for query in ("model=other", f"key={key.public_id}", "status=cut"):
        text = alice.get(f"/o/{organization.slug}/requests/?{query}", headers={"HX-Request": "true"}).content.decode()
        assert wanted.request_id in text
        assert other.request_id not in text
        assert "<html" not in text


def test_refuses_a_filter_that_does_not_exist(organization, alice: Client):
    answer = alice.get(f"/o/{organization.slug}/requests/?status=stolen")

    assert answer.status_code == 422
    assert "Select a valid choice" in answer.content.decode()


def test_pages_through_all_requests(organization, alice: Client):
    receipts = [
        make_receipt(organization, requested_at=NOON + timedelta(seconds=number // 2))
        for number in range(PAGE_SIZE + 10)
    ]

    first = alice.get(f"/o/{organization.slug}/requests/")
    second = alice.get(f"/o/{organization.slug}/requests/?{first.context['next_query']}")

    seen = [row.request_id for row in [*first.context["rows"], *second.context["rows"]]]
    assert seen == [receipt.request_id for receipt in reversed(receipts)]
    assert second.context["next_query"] == ""
    assert alice.get(f"/o/{organization.slug}/requests/?after=req_of_nobody").status_code == 404


def test_a_long_list_asks_as_many_queries_as_a_short_one(organization, alice: Client, django_assert_num_queries):
    make_receipt(organization)
    alice.get(f"/o/{organization.slug}/requests/")
    with CaptureQueriesContext(connection) as short:
        alice.get(f"/o/{organization.slug}/requests/")
    for _ in range(PAGE_SIZE):
        make_receipt(organization, api_key=make_key(organization.projects.get()).api_key)

    with django_assert_num_queries(len(short)):
        alice.get(f"/o/{organization.slug}/requests/")


def test_offers_the_newest_keys_and_the_chosen_one(organization, alice: Client):
    keys = [make_key(organization.projects.get()).api_key.public_id for _ in range(OFFERED_KEYS + 10)]
    stranger = make_key(make_organization().projects.get()).api_key.public_id
    address = f"/o/{organization.slug}/requests/"

    def offered(**query: str) -> list[str]:
        return [value for value, _name in alice.get(address, query).context["form"].fields["key"].choices if value]

    assert offered() == keys[:9:-1]
    assert offered(key=keys[0]) == [*keys[:9:-1], keys[0]]
    assert offered(key=stranger) == keys[:9:-1]
    assert alice.get(address, {"key": keys[0]}).status_code == 200
    assert alice.get(address, {"key": stranger}).status_code == alice.get(address, {"key": "key_\0"}).status_code == 422


def test_shows_a_receipt(organization, alice: Client):
    receipt = make_receipt(organization, first_token_ms=87)

    text = alice.get(f"/o/{organization.slug}/requests/{receipt.request_id}/").content.decode()

    assert "$0.0011" in text
    assert "price_out" in text
    assert "87 ms" in text


def test_a_viewer_may_look_and_a_stranger_finds_nothing(organization, client: Client):
    receipt = make_receipt(organization)
    address = f"/o/{organization.slug}/requests/{receipt.request_id}/"
    viewer = make_membership(organization, role=Role.VIEWER).user

    client.force_login(viewer, backend="allauth.account.auth_backends.AuthenticationBackend")
    seen = client.get(address)
    client.force_login(make_user(), backend="allauth.account.auth_backends.AuthenticationBackend")
    hidden = client.get(address)

    assert (seen.status_code, hidden.status_code) == (200, 404)


def test_tells_programs_what_a_request_came_to(organization, client: Client):
    receipt = make_receipt(organization)
    other = make_receipt(make_organization())
    secret = make_key(organization.projects.get(), scopes=(Scope.USAGE_READ,)).secret
    headers = {"authorization": f"Bearer {secret}"}

    answer = client.get(f"/api/v1/receipts/{receipt.request_id}", headers=headers).json()

    assert answer["cost"] == "0.0011"
    assert answer["input"] == {"tokens": 1000, "price_version": "price_in"}
    assert answer["project"] == organization.projects.get().public_id
    assert client.get(f"/api/v1/receipts/{other.request_id}", headers=headers).status_code == 404


def test_a_key_without_the_scope_may_not_read_receipts(organization, client: Client):
    receipt = make_receipt(organization)
    secret = make_key(organization.projects.get(), scopes=(Scope.INFERENCE,)).secret

    answer = client.get(f"/api/v1/receipts/{receipt.request_id}", headers={"authorization": f"Bearer {secret}"})

    assert answer.status_code == 403
