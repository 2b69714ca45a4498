import pytest
from django.test import Client

from tests.factories.catalog import load_price_list, make_instance_type, make_served_model

pytestmark = pytest.mark.django_db


@pytest.fixture
def price_list() -> None:
    load_price_list()


def names(answer) -> list[str]:
    return [row.name for row in answer.context["rows"]]


@pytest.mark.usefixtures("price_list")
def test_a_visitor_reads_the_models_with_their_prices(client: Client):
    answer = client.get("/models/")

    page = answer.content.decode()
    assert answer.status_code == 200
    assert len(names(answer)) == 10
    assert "Llama 3.3 70B Instruct" in page
    assert "$0.64" in page


@pytest.mark.usefixtures("price_list")
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"kind": "embedding"}, {"bge-m3", "qwen3-embedding-8b"}),
        ({"publisher": "Meta"}, {"llama-3.1-8b-instruct", "llama-3.3-70b-instruct"}),
        ({"max_input": "50"}, {"llama-3.1-8b-instruct", "bge-m3", "qwen3-embedding-8b"}),
        ({"min_context": "262144"}, {"qwen3-235b-a22b-instruct", "qwen3-coder-30b-a3b-instruct"}),
        ({"kind": "chat", "max_input": "50"}, {"llama-3.1-8b-instruct"}),
    ],
)
def test_filters_are_in_the_address(client: Client, query, expected):
    assert set(names(client.get("/models/", query))) == expected


@pytest.mark.usefixtures("price_list")
def test_a_column_sorts_both_ways_and_says_which(client: Client):
    cheapest_first = client.get("/models/", {"sort": "input"})
    dearest_first = client.get("/models/", {"sort": "-input"})

    assert names(cheapest_first)[0] == "bge-m3"
    assert names(dearest_first)[0] == "deepseek-v3.1"
    assert 'aria-sort="ascending"' in cheapest_first.content.decode()
    assert "?sort=-input" in cheapest_first.content.decode()


@pytest.mark.usefixtures("price_list")
def test_models_stand_side_by_side(client: Client):
    answer = client.get("/models/", {"compare": ["bge-m3", "deepseek-v3.1"], "kind": "chat"})

    assert [row.name for row in answer.context["compared"]] == ["bge-m3", "deepseek-v3.1"]
    assert 'href="?kind=chat"' in answer.content.decode()


@pytest.mark.usefixtures("price_list")
@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        (
            {"compare": ["bge-m3", "deepseek-v3.1", "gpt-oss-120b", "gemma-3-27b-it", "llama-3.3-70b-instruct"]},
            "Four fit side by side",
        ),
        ({"kind": "poem"}, "poem is not one of the available choices"),
        ({"sort": "luck"}, "luck is not one of the available choices"),
    ],
)
def test_a_wrong_address_says_what_is_wrong_and_shows_everything(client: Client, query, sentence):
    answer = client.get("/models/", query)

    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert len(names(answer)) == 10


@pytest.mark.usefixtures("price_list")
def test_htmx_gets_the_list_alone(client: Client):
    answer = client.get("/models/", {"kind": "chat"}, headers={"HX-Request": "true"})

    assert answer.content.decode().lstrip().startswith('<div class="stack" id="model-list">')


def test_a_list_without_a_match_says_so(client: Client):
    answer = client.get("/models/")

    assert "No model fits these filters" in answer.content.decode()


def test_a_model_has_a_page_with_facts_prices_and_programs(client: Client):
    make_served_model("llama-3.1-8b-instruct", price_nano=22_500_000)

    page = client.get("/models/llama-3.1-8b-instruct/").content.decode()

    assert "$0.0225" in page
    assert "131,072 tokens" in page
    assert "/v1/chat/completions" in page
    assert "HEADROOM_API_KEY" in page
    assert "2025-01-01 00:00" in page


def test_an_unknown_model_is_not_found(client: Client):
    assert client.get("/models/unknown/").status_code == 404


def test_a_page_refuses_what_it_does_not_do(client: Client):
    assert client.post("/models/").status_code == 405


@pytest.mark.usefixtures("price_list")
def test_the_whole_list_is_on_one_page(client: Client):
    page = client.get("/pricing/").content.decode()

    assert "8x H100 SXM5" in page
    assert "$0.0008" in page
    assert "BGE M3" in page


def test_language_models_read_the_list_as_text(client: Client):
    make_served_model("llama-3.1-8b-instruct")
    make_instance_type("gpu_1x_l40s")

    answer = client.get("/llms.txt")

    assert answer["Content-Type"].startswith("text/plain")
    assert "`gpu_1x_l40s`" in answer.content.decode()
    assert "`llama-3.1-8b-instruct`" in answer.content.decode()


@pytest.mark.usefixtures("price_list")
@pytest.mark.parametrize("address", ["/models/", "/models/bge-m3/", "/pricing/", "/llms.txt"])
def test_pages_ask_few_queries(client: Client, address, django_assert_max_num_queries):
    # Two of them set and reset the suite's role.
    with django_assert_max_num_queries(12):
        assert client.get(address).status_code == 200
