import msgspec
import pytest
from django.test import Client

from tests.factories.catalog import load_price_list, make_instance_type, make_served_model

pytestmark = pytest.mark.django_db


def test_anybody_reads_the_models_with_exact_prices(client: Client):
    make_served_model("llama-3.1-8b-instruct", price_nano=22_500_000)

    answer = client.get("/api/v1/models")

    body = msgspec.json.decode(answer.content)
    assert answer.status_code == 200
    assert (body["has_more"], body["next_cursor"]) == (False, None)
    assert body["data"][0]["id"] == "llama-3.1-8b-instruct"
    assert body["data"][0]["price_per_million_tokens"] == {
        "currency": "USD",
        "input": "0.0225",
        "cached_input": "0.0225",
        "output": "0.0225",
    }


def test_one_model_is_found_by_its_name_and_another_is_a_problem(client: Client):
    make_served_model("llama-3.1-8b-instruct")

    assert msgspec.json.decode(client.get("/api/v1/models/llama-3.1-8b-instruct").content)["kind"] == "chat"
    missing = client.get("/api/v1/models/unknown")
    assert missing.status_code == 404
    assert missing["Content-Type"] == "application/problem+json"


def test_prices_are_those_of_the_instant_asked_for(client: Client):
    make_instance_type("gpu_1x_l40s", price_nano=900_000_000)

    now = msgspec.json.decode(client.get("/api/v1/prices").content)["data"]
    before = msgspec.json.decode(client.get("/api/v1/prices", {"at": "2024-01-01T00:00:00Z"}).content)["data"]

    assert {row["price"] for row in now} == {"0.90"}
    assert {row["unit_size"] for row in now} == {3_600}
    assert before == []


def test_a_wrong_instant_is_refused_with_a_pointer(client: Client):
    answer = client.get("/api/v1/prices", {"at": "yesterday"})

    assert answer.status_code == 422
    assert msgspec.json.decode(answer.content)["errors"][0]["pointer"] == "/at"


def test_lists_ask_the_same_few_queries_whatever_their_length(client: Client, django_assert_max_num_queries):
    load_price_list()

    # Four of them are the suite stepping down to the role of the portal.
    with django_assert_max_num_queries(8):
        client.get("/api/v1/models")
    with django_assert_max_num_queries(7):
        client.get("/api/v1/prices")
