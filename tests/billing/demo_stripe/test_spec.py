"""What is read from the source of Stripe's library, and that a departure from it is seen."""

from contextlib import suppress
from typing import Any

import pytest
import stripe
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.demo_stripe.account import Account, known_codes
from billing.demo_stripe.api import Api
from billing.demo_stripe.cards import CARDS, card_named, is_card_number
from billing.demo_stripe.control import Control
from billing.demo_stripe.delivery import Deliverer
from billing.demo_stripe.forms import read_form
from billing.demo_stripe.kinds import KINDS
from billing.demo_stripe.refusals import Refused
from billing.demo_stripe.spec.answers import violations
from billing.demo_stripe.spec.blanks import blank, without_other_variants
from billing.demo_stripe.spec.endpoints import endpoints, find_endpoint
from billing.demo_stripe.spec.requests import read_parameters
from billing.demo_stripe.spec.shapes import Choice, Many, OneOf, Page, Plain, Shape, Table, Thing, fields_of
from billing.demo_stripe.spec.source import SpecMissing, api_version, module_named
from billing.demo_stripe.web import Request


def made(kind: str) -> dict[str, Any]:
    return without_other_variants(blank(KINDS[kind].source), KINDS[kind].source) | {"object": kind}


def wrong(kind: str, **changed: Any) -> list[str]:
    value = {name: each for name, each in {**made(kind), **changed}.items() if each != "away"}
    return list(violations(Thing(KINDS[kind].source), value, kind))


def test_reads_the_version_that_the_library_was_made_for():
    assert api_version() == stripe.api_version


def test_finds_every_endpoint_that_the_library_calls():
    assert len(endpoints()) > 600
    assert all(path.startswith(("/v1/", "/v2/")) for _, path in endpoints())


def test_reads_what_an_endpoint_takes():
    found = find_endpoint("post", "/v1/payment_intents")
    assert found is not None
    assert found.endpoint.takes is not None
    fields = fields_of(found.endpoint.takes)

    assert fields["amount"].shape == Plain("integer")
    assert fields["amount"].required
    assert not fields["customer"].required
    assert isinstance(fields["capture_method"].shape, OneOf)
    assert "allowed_payment_method_types" in fields
    assert "payment_method_types" not in fields
    assert "idempotency_key" not in fields


def test_reads_what_an_endpoint_answers():
    one, many, found = (
        find_endpoint("get", path) for path in ("/v1/customers/cus_1", "/v1/customers", "/v1/customers/search")
    )
    assert one is not None
    assert many is not None
    assert found is not None

    customer = Thing(KINDS["customer"].source)
    assert one.endpoint.answers == customer
    assert many.endpoint.answers == Page(customer)
    assert found.endpoint.answers == Page(customer, "search_result")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_an_empty_object_of_every_kind_departs_from_nothing(kind: str):
    assert wrong(kind) == []


@pytest.mark.parametrize(
    ("changed", "departure"),
    [
        ({"id": 7}, "customer.id: 7 is no text"),
        ({"id": "away"}, "customer.id: missing"),
        ({"created": "now"}, "customer.created: 'now' is no integer"),
        ({"created": True}, "customer.created: True is no integer"),
        ({"livemode": 0}, "customer.livemode: 0 is no flag"),
        ({"livemode": None}, "customer.livemode: None is no flag"),
        ({"bogus": 1}, "customer.bogus: no such field"),
        ({"tax_exempt": "perhaps"}, "customer.tax_exempt: 'perhaps' is none of the 3 values"),
        ({"address": []}, "customer.address: not an object"),
        ({"address": {"city": 1}}, "customer.address.city: 1 is no text"),
        ({"metadata": {"a": 1}}, "customer.metadata.a: 1 is no text"),
        ({"preferred_locales": "en"}, "customer.preferred_locales: not a list"),
        ({"tax_ids": {"object": "list", "data": []}}, "customer.tax_ids.has_more: missing"),
        ({"object": "cat"}, "customer.object: 'cat' is none of the 1 values"),
        ({"deleted": True}, "customer: a deleted object has an id, its kind and the mark alone"),
    ],
)
def test_a_departure_from_the_library_is_seen(changed: dict[str, Any], departure: str):
    assert departure in wrong("customer", **changed)


def test_an_event_that_stripe_has_not_is_seen():
    account = Account("http://127.0.0.1")
    account.emit("setup_intent.updated", account.create("setup_intent", status="canceled"))

    assert any("'setup_intent.updated' is none of" in each for each in account.drift)


def test_an_error_code_that_stripe_has_not_is_seen():
    account = Account("http://127.0.0.1")
    account.hold_code("resource_missing")
    assert account.drift == []

    account.hold_code("out_of_cheese")

    assert len(account.drift) == 1
    assert len(known_codes()) > 150


def test_a_field_that_stripe_has_not_cannot_be_set():
    with pytest.raises(KeyError):
        Account("http://127.0.0.1").create("customer", nickname="x")


def test_a_module_that_is_gone_says_so():
    with pytest.raises(SpecMissing):
        module_named("stripe._cheese")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1&b=", {"a": "1", "b": ""}),
        ("a[b][c]=1&a[d]=2", {"a": {"b": {"c": "1"}, "d": "2"}}),
        ("a[]=1&a[]=2", {"a": ["1", "2"]}),
        ("a[1]=x&a[0]=y", {"a": ["y", "x"]}),
        ("items[0][n]=1&items[1][n]=2", {"items": [{"n": "1"}, {"n": "2"}]}),
        ("expand[0]=a.b", {"expand": ["a.b"]}),
    ],
)
def test_reads_a_form(text: str, expected: object):
    assert read_form(text) == expected


@settings(deadline=None)
@given(st.text())
def test_any_text_is_a_form_or_is_refused(text: str):
    with suppress(Refused):
        assert isinstance(read_form(text), dict)


def test_values_are_of_their_types():
    found = find_endpoint("post", "/v1/payment_intents")
    assert found is not None
    form = {"amount": "-5", "currency": "usd", "confirm": "true", "metadata": {"a": "1"}, "off_session": "one_off"}

    given_values = read_parameters(found.endpoint, form)

    assert given_values == {**form, "amount": -5, "confirm": True}


def shapes() -> st.SearchStrategy[Shape]:
    plain = st.sampled_from([Plain(kind) for kind in ("text", "integer", "flag", "decimal", "anything")])
    return st.recursive(
        plain | st.just(OneOf(("a", "b"))),
        lambda inner: st.one_of(
            st.builds(Many, inner),
            st.builds(Table, inner),
            st.builds(Page, inner),
            st.builds(
                lambda options, nullable: Choice(tuple(options), nullable),
                st.lists(inner, min_size=1, max_size=3),
                st.booleans(),
            ),
        ),
        max_leaves=5,
    )


@settings(max_examples=30, deadline=None)
@given(
    shapes(),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=5,
    ),
)
def test_whatever_an_answer_holds_is_judged(shape: Shape, value: object):
    assert all(isinstance(each, str) for each in violations(shape, value, "it"))


def test_every_test_card_has_a_number_and_a_name_of_its_own():
    assert all(is_card_number(card.number) for card in CARDS)
    assert len({card.number for card in CARDS}) == len(CARDS)
    assert all(card_named(f"pm_card_{name}") is card for card in CARDS for name in card.names)


@pytest.mark.parametrize("peer", ["10.0.0.1", "192.168.1.7", "127.0.0.1.example"])
def test_the_control_is_for_this_machine(peer: str):
    account = Account("http://127.0.0.1")
    control = Control(Api(account), Deliverer(account), "token")
    headers = {"authorization": "Bearer token"}

    assert control.answer(Request("get", "/_control/drift", "", headers, b"", peer)).status == 404
    assert control.answer(Request("get", "/_control/drift", "", headers, b"", "127.0.0.1")).status == 200


def test_there_is_no_control_without_a_token():
    account = Account("http://127.0.0.1")
    control = Control(Api(account), Deliverer(account), "")

    assert control.answer(Request("get", "/_control/drift", "", {}, b"", "127.0.0.1")).status == 404
