"""What holds for every endpoint: who asks, what is refused, what is given again, and how lists are read."""

import json
import threading
import urllib.error
import urllib.request
from typing import Any

import pytest
import stripe

from billing.demo_stripe.api import ROUTES
from billing.demo_stripe.spec.endpoints import endpoints, find_endpoint
from billing.demo_stripe.spec.shapes import fields_of
from tests.doubles.stripe_double import KEY, SMALL, TOKEN, StripeDouble, running_stripe, told


def ask(url: str, body: bytes | None = None, *, key: str = KEY, version: str = "") -> tuple[int, Any, Any]:
    """Return status, headers and what came, by no client that tidies up before."""
    headers = {"Authorization": f"Bearer {key}", **({"Stripe-Version": version} if version else {})}
    request = urllib.request.Request(url, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, json.load(error)


def test_every_endpoint_here_is_one_of_stripe_and_takes_what_stripe_takes():
    for address, route in ROUTES.items():
        takes = endpoints()[address].takes

        # Every list could be narrowed by time, and Stripe says where it may be.
        assert route.takes - {"created"} <= set(fields_of(takes) if takes else ()), address


def test_a_path_of_words_wins_over_one_of_ids():
    found = find_endpoint("get", "/v1/customers/search")

    assert found is not None
    assert found.endpoint.path == "/v1/customers/search"


def test_says_which_version_and_which_request_it_was(double: StripeDouble):
    answer = double.client.raw_request("get", "/v1/customers")

    assert answer.headers["Stripe-Version"] == stripe.api_version
    assert answer.headers["Request-Id"].startswith("req_")


def test_speaks_one_version_only(double: StripeDouble):
    status, _, body = ask(f"{double.url}/v1/customers", version="2020-08-27")

    assert (status, body["error"]["code"]) == (501, "not_implemented_in_double")


@pytest.mark.parametrize("key", ["", "bad", "sk_live_1"])
def test_lets_in_test_keys_only(double: StripeDouble, key: str):
    status, _, _ = ask(f"{double.url}/v1/customers", key=key)

    assert status == 401
    with pytest.raises(stripe.AuthenticationError):
        double.client_with(key="sk_live_1").v1.customers.list()


def test_lets_in_its_own_key_only_where_it_has_one():
    with running_stripe(key=KEY) as double:
        double.v1.customers.list()

        with pytest.raises(stripe.AuthenticationError):
            double.client_with(key="sk_test_other").v1.customers.list()


def test_an_endpoint_that_only_stripe_has_says_so(double: StripeDouble):
    with pytest.raises(stripe.APIError) as refused:
        double.v1.subscriptions.list()

    assert (refused.value.http_status, told(refused).code) == (501, "not_implemented_in_double")


def test_a_parameter_that_only_stripe_has_says_so(double: StripeDouble):
    with pytest.raises(stripe.APIError) as refused:
        double.v1.customers.create({"tax": {"validate_location": "deferred"}})

    assert (told(refused).code, told(refused).param) == ("not_implemented_in_double", "tax")
    assert double.v1.customers.list().data == []


def test_an_endpoint_that_stripe_has_not_is_not_there(double: StripeDouble):
    with pytest.raises(stripe.InvalidRequestError) as refused:
        double.client.raw_request("get", "/v1/nowhere")

    assert (refused.value.http_status, refused.value.code) == (404, "url_invalid")


@pytest.mark.parametrize(
    ("given", "code", "param"),
    [
        ({"bogus": 1, **SMALL}, "parameter_unknown", "bogus"),
        ({"shipping": {"bogus": 1}, **SMALL}, "parameter_unknown", "shipping[bogus]"),
        ({"currency": "usd"}, "parameter_missing", "amount"),
        ({"amount": "many", "currency": "usd"}, "parameter_invalid_integer", "amount"),
        ({"confirm": "perhaps", **SMALL}, None, "confirm"),
        ({"capture_method": "never", **SMALL}, None, "capture_method"),
        ({"metadata": ["x"], **SMALL}, None, "metadata"),
        ({"allowed_payment_method_types": "card", **SMALL}, None, "allowed_payment_method_types"),
        ({"payment_method_types": ["card"], **SMALL}, "parameter_unknown", "payment_method_types"),
        ({"customer": "cus_nobody", **SMALL}, "resource_missing", "customer"),
        ({"off_session": True, **SMALL}, None, "off_session"),
    ],
)
def test_refuses_parameters_as_stripe_does(double: StripeDouble, given: Any, code: str | None, param: str):
    with pytest.raises(stripe.InvalidRequestError) as refused:
        double.v1.payment_intents.create(given)

    assert (refused.value.http_status, refused.value.code, refused.value.param) == (400, code, param)
    assert double.v1.payment_intents.list().data == []


def test_an_id_that_leads_nowhere_is_not_there(double: StripeDouble):
    with pytest.raises(stripe.InvalidRequestError) as refused:
        double.v1.customers.retrieve("cus_nobody")

    assert (refused.value.http_status, refused.value.code, refused.value.param) == (404, "resource_missing", "id")


def test_an_id_of_another_kind_is_not_there(double: StripeDouble):
    with pytest.raises(stripe.InvalidRequestError):
        double.v1.payment_intents.retrieve(double.v1.customers.create({}).id)


def test_a_repeated_key_gets_the_first_answer(double: StripeDouble):
    first = double.v1.customers.create({"email": "i@acme.example"}, {"idempotency_key": "k1"})
    again = double.client.raw_request("post", "/v1/customers", email="i@acme.example", idempotency_key="k1")

    assert json.loads(again.body)["id"] == first.id
    assert again.headers["Idempotent-Replayed"] == "true"
    assert len(double.v1.customers.list().data) == 1


def test_a_repeated_key_gets_the_first_decline(double: StripeDouble):
    customer = double.customer("pm_card_chargeCustomerFail")
    method = customer.invoice_settings.default_payment_method
    given = {**SMALL, "customer": customer.id, "payment_method": method, "confirm": True, "off_session": True}

    charges = set()
    for _ in range(2):
        with pytest.raises(stripe.CardError) as refused:
            double.v1.payment_intents.create(given, {"idempotency_key": "k"})
        charges.add(told(refused).charge)

    assert len(charges) == 1
    assert len(double.v1.payment_intents.list().data) == 1


@pytest.mark.parametrize("path", ["same", "other"])
def test_a_key_is_for_one_request(double: StripeDouble, path: str):
    customer = double.v1.customers.create({"email": "i@acme.example"}, {"idempotency_key": "k"})

    address, email = {
        "same": ("/v1/customers", "j@acme.example"),
        "other": (f"/v1/customers/{customer.id}", "i@acme.example"),
    }[path]
    with pytest.raises(stripe.IdempotencyError):
        double.client.raw_request("post", address, email=email, idempotency_key="k")


def test_what_was_refused_before_work_began_keeps_no_key(double: StripeDouble):
    with pytest.raises(stripe.InvalidRequestError):
        double.v1.customers.create({"bogus": 1}, {"idempotency_key": "k"})

    assert double.v1.customers.create({"name": "Acme"}, {"idempotency_key": "k"}).name == "Acme"


def test_a_key_is_forgotten_after_a_day(double: StripeDouble):
    first = double.v1.customers.create({}, {"idempotency_key": "k"})

    double.control("clock", seconds=86_401)

    assert double.v1.customers.create({}, {"idempotency_key": "k"}).id != first.id


def test_a_key_in_use_is_refused_and_tried_again_by_the_client(double: StripeDouble):
    double.control("fail", kind="drop", after=True, path="/v1/customers")
    # The first call holds the key while the second comes; the client asks again until it has the answer.
    answers: list[str] = []

    def create() -> None:
        client = double.client_with(retries=5)
        answers.append(client.v1.customers.create({"name": "Acme"}, {"idempotency_key": "k"}).id)

    threads = [threading.Thread(target=create) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(answers) == 3
    assert len(set(answers)) == 1
    assert len(double.v1.customers.list().data) == 1


@pytest.mark.parametrize(
    ("kind", "error"), [("500", stripe.APIError), ("429", stripe.RateLimitError), ("drop", stripe.APIConnectionError)]
)
def test_the_next_calls_fail_when_asked_to(double: StripeDouble, kind: str, error: type[Exception]):
    double.control("fail", kind=kind, count=2)

    for _ in range(2):
        with pytest.raises(error):
            double.v1.customers.create({"name": "Acme"})

    assert double.v1.customers.list().data == []
    assert double.v1.customers.create({"name": "Acme"}).name == "Acme"


def test_an_answer_lost_after_the_work_is_found_by_its_key(double: StripeDouble):
    double.control("fail", kind="drop", after=True, path="/v1/customers")
    with pytest.raises(stripe.APIConnectionError):
        double.v1.customers.create({"name": "Acme"}, {"idempotency_key": "k"})

    again = double.v1.customers.create({"name": "Acme"}, {"idempotency_key": "k"})

    assert [each.id for each in double.v1.customers.list().data] == [again.id]


def test_a_failure_after_the_work_is_what_its_key_gets(double: StripeDouble):
    double.control("fail", kind="500", after=True)

    for _ in range(2):
        with pytest.raises(stripe.APIError):
            double.v1.customers.create({"name": "Acme"}, {"idempotency_key": "k"})

    assert len(double.v1.customers.list().data) == 1


def test_a_call_lasts_longer_than_its_caller_waits(double: StripeDouble):
    double.control("fail", kind="drop", after=True, milliseconds=300)

    with pytest.raises(stripe.APIConnectionError):
        double.client_with(timeout=0.1).v1.customers.create({"name": "Acme"}, {"idempotency_key": "k"})

    # The first call may be at work by now, and then holds the key.
    again = double.client_with(retries=5).v1.customers.create({"name": "Acme"}, {"idempotency_key": "k"})
    assert [each.id for each in double.v1.customers.list().data] == [again.id]


def test_lists_newest_first_in_pages(double: StripeDouble):
    made = [double.v1.customers.create({"name": str(number)}).id for number in range(5)]

    first = double.v1.customers.list({"limit": 2})
    assert ([each.id for each in first.data], first.has_more) == (made[:2:-1], True)

    second = double.v1.customers.list({"limit": 2, "starting_after": first.data[-1].id})
    assert [each.id for each in second.data] == made[2:0:-1]

    back = double.v1.customers.list({"limit": 2, "ending_before": second.data[0].id})
    assert [each.id for each in back.data] == made[:2:-1]
    assert [each.id for each in double.v1.customers.list({"limit": 2}).auto_paging_iter()] == made[::-1]


@pytest.mark.parametrize(
    "given", [{"limit": 0}, {"limit": 101}, {"starting_after": "cus_x"}, {"starting_after": "a", "ending_before": "b"}]
)
def test_refuses_pages_that_are_none(double: StripeDouble, given: Any):
    with pytest.raises(stripe.InvalidRequestError):
        double.v1.customers.list(given)


def test_lists_what_was_created_in_a_time(double: StripeDouble):
    old = double.v1.customers.create({})
    double.control("clock", seconds=3600)
    new = double.v1.customers.create({})

    since = double.v1.customers.list({"created": {"gte": old.created + 3600}})
    before = double.v1.customers.list({"created": {"lt": new.created - 1800}})

    assert ([each.id for each in since.data], [each.id for each in before.data]) == ([new.id], [old.id])


def test_expands_ids_into_objects_at_any_depth(double: StripeDouble):
    intent = double.pay(double.customer())

    one = double.v1.payment_intents.retrieve(intent.id, {"expand": ["customer", "latest_charge.balance_transaction"]})
    listed = double.v1.payment_intents.list({"expand": ["data.customer"]})

    assert one.customer.email == "ada@acme.example"
    assert one.latest_charge.balance_transaction.type == "charge"
    assert listed.data[0].customer.id == one.customer.id
    assert isinstance(double.v1.payment_intents.retrieve(intent.id).customer, str)


@pytest.mark.parametrize("path", ["status", "bogus", "a.b.c.d.e"])
def test_refuses_to_expand_what_is_no_object(double: StripeDouble, path: str):
    intent = double.v1.payment_intents.create(SMALL)

    with pytest.raises(stripe.InvalidRequestError):
        double.v1.payment_intents.retrieve(intent.id, {"expand": [path]})


def test_callers_without_a_version_may_use_the_older_name(double: StripeDouble):
    status, _, body = ask(
        f"{double.url}/v1/payment_intents",
        b"amount=5000&currency=usd&payment_method_types[]=card",
    )

    assert (status, body["allowed_payment_method_types"]) == (200, ["card"])


@pytest.mark.parametrize("body", [b"a[b=1", b"amount=1&amount[x]=2", b"[]=1"])
def test_a_body_that_is_no_form_is_refused(double: StripeDouble, body: bytes):
    status, _, _ = ask(f"{double.url}/v1/payment_intents", body)

    assert status == 400


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1]])
def test_the_control_is_for_those_with_the_token(double: StripeDouble, token: str):
    customer = double.v1.customers.create({})

    status, _, _ = ask(f"{double.url}/_control/reset", b"{}", key=token)

    assert status == 404
    assert double.v1.customers.retrieve(customer.id).id == customer.id


def test_the_control_says_what_it_does_not_know(double: StripeDouble):
    for verb, given in (("nothing", {}), ("webhooks", {"kind": "lose"}), ("fail", {"kind": "418"}), ("clock", {})):
        with pytest.raises(urllib.error.HTTPError) as refused:
            double.control(verb, **given)
        with refused.value as error:
            assert error.code in (400, 404)


def test_tells_what_was_asked(double: StripeDouble):
    double.v1.customers.create({}, {"idempotency_key": "k"})

    assert double.look("requests")[-1] == {"method": "post", "path": "/v1/customers", "key": "k", "status": 200}
