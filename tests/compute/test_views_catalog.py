import pytest
from django.test import Client

from catalog.models import LeaseClass
from compute.models import Pool
from tests.factories.accounts import make_organization, make_user
from tests.factories.catalog import load_price_list, make_instance_type, make_region
from tests.factories.compute import make_pool

pytestmark = pytest.mark.django_db


def offer(name: str, region: str, units: int) -> Pool:
    """A pool of a new shape with so many units left."""
    return make_pool(
        total_units=units + 3,
        region=make_region(region, f"{region}, somewhere"),
        instance_type=make_instance_type(name, price_nano=900_000_000),
        owner_demand=2,
        safety_margin=1,
    )


def names(answer) -> list[str]:
    return [row.name for row, _price, _stock in answer.context["offers"]]


def test_a_visitor_reads_prices_per_hour_and_per_second_and_where_it_is_free(client: Client):
    offer("gpu_1x_l40s", "us-west-1", 5)

    page = client.get("/instance-types/").content.decode()

    assert "$0.90" in page
    assert "$0.00025" in page
    assert "us-west-1" in page


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"kind": "tpu"}, {"tpu_4x_v5e", "tpu_8x_v6e"}),
        ({"min_memory": "180"}, {"gpu_8x_b200_sxm6", "gpu_4x_gb200_nvl72", "gpu_8x_mi300x"}),
        ({"max_price": "1"}, {"cpu_8x_general", "gpu_1x_l40s"}),
        ({"max_price": "1", "lease_class": "surplus"}, {"cpu_8x_general", "gpu_1x_l40s", "gpu_1x_a100_80gb_sxm4"}),
        ({"region": "us-west-1"}, set()),
    ],
)
def test_filters_are_in_the_address(client: Client, query, expected):
    load_price_list()

    assert set(names(client.get("/instance-types/", query))) == expected


def test_a_region_shows_only_what_is_free_there(client: Client):
    offer("gpu_1x_l40s", "us-west-1", 1)
    offer("gpu_1x_h100_sxm5", "us-east-1", 9)
    offer("gpu_8x_mi300x", "us-west-1", 0)

    assert names(client.get("/instance-types/", {"region": "us-west-1"})) == ["gpu_1x_l40s"]


def test_the_lease_class_chooses_the_price_that_is_shown_and_sorted_by(client: Client):
    load_price_list()

    answer = client.get("/instance-types/", {"lease_class": "surplus", "sort": "-price"})

    first_row, first_price, _stock = answer.context["offers"][0]
    assert (first_row.name, first_price.per_hour) == ("gpu_8x_b200_sxm6", "24.48")


def test_types_stand_side_by_side(client: Client):
    load_price_list()

    answer = client.get("/instance-types/", {"compare": ["gpu_1x_l40s", "gpu_8x_mi300x"]})

    assert {row.name for row in answer.context["compared"]} == {"gpu_1x_l40s", "gpu_8x_mi300x"}
    assert "Infinity Fabric" in answer.content.decode()


def test_a_wrong_address_says_what_is_wrong_and_shows_everything(client: Client):
    load_price_list()

    answer = client.get("/instance-types/", {"lease_class": "forever"})

    assert answer.status_code == 422
    assert "forever is not one of the available choices" in answer.content.decode()
    assert len(names(answer)) == 16


def test_htmx_gets_the_list_alone(client: Client):
    answer = client.get("/instance-types/", headers={"HX-Request": "true"})

    assert answer.content.decode().lstrip().startswith('<div class="stack" id="instance-type-list">')
    assert "No instance type fits these filters" in answer.content.decode()


@pytest.mark.parametrize(("units", "word"), [(0, "Sold out"), (2, "Few left"), (3, "Available")])
def test_a_type_has_a_page_with_notice_and_stock_in_words(client: Client, units, word):
    offer("gpu_1x_l40s", "us-west-1", units)

    page = client.get("/instance-types/gpu_1x_l40s/").content.decode()

    assert word in page
    assert "10 minutes of notice" in page
    assert "24 hours of notice" in page
    assert "Sign up and launch" in page


def test_an_unknown_type_is_not_found(client: Client):
    assert client.get("/instance-types/gpu_1x_abacus/").status_code == 404


def test_a_member_is_not_asked_to_sign_up(client: Client):
    make_instance_type("gpu_1x_l40s")
    user = make_user()
    make_organization(owner=user)
    client.force_login(user)

    assert "Sign up and launch" not in client.get("/instance-types/gpu_1x_l40s/").content.decode()


@pytest.mark.parametrize("address", ["/instance-types/", "/instance-types/gpu_1x_l40s/"])
def test_pages_ask_few_queries(client: Client, address, django_assert_max_num_queries):
    load_price_list()

    # Four of them are the suite stepping down to the role of the portal.
    with django_assert_max_num_queries(14):
        assert client.get(address).status_code == 200


def test_every_lease_class_says_its_notice():
    assert [lease_class.notice_seconds for lease_class in LeaseClass] == [None, 86_400, 600]
    assert len({lease_class.notice_in_words for lease_class in LeaseClass}) == 3
