"""Customers, their tax ids, cards and balance, through Stripe's own client."""

import pytest
import stripe

from tests.doubles.stripe_double import StripeDouble


def test_keeps_what_a_customer_was_made_with(double: StripeDouble):
    address = {"line1": "1 Main Street", "city": "Berlin", "country": "DE"}
    made = double.v1.customers.create({"email": "ada@acme.example", "name": "Acme", "address": address})

    kept = double.v1.customers.retrieve(made.id)

    assert (kept.email, kept.name, kept.address.city, kept.address.line2) == (
        "ada@acme.example",
        "Acme",
        "Berlin",
        None,
    )
    assert (kept.balance, kept.invoice_settings.default_payment_method, kept.livemode) == (0, None, False)


def test_changes_fields_and_clears_those_that_are_empty(double: StripeDouble):
    customer = double.v1.customers.create({"name": "Acme", "description": "old", "metadata": {"a": "1", "b": "2"}})

    changed = double.v1.customers.update(customer.id, {"name": "Bolt", "metadata": {"a": "", "c": "3"}})

    assert (changed.name, changed.description, changed.metadata.to_dict()) == ("Bolt", "old", {"b": "2", "c": "3"})
    assert double.v1.customers.update(customer.id, {"metadata": ""}).metadata.to_dict() == {}


def test_lists_customers_of_one_address(double: StripeDouble):
    for name in ("ada", "bob", "ada"):
        double.v1.customers.create({"email": f"{name}@acme.example"})

    found = double.v1.customers.list({"email": "ada@acme.example"})

    assert [customer.email for customer in found.data] == ["ada@acme.example"] * 2


def test_searches_customers_by_metadata(double: StripeDouble):
    wanted = double.v1.customers.create({"email": "a@acme.example", "metadata": {"organization": "org_1"}})
    double.v1.customers.create({"email": "a@acme.example", "metadata": {"organization": "org_2"}})

    found = double.v1.customers.search({"query": "email:'a@acme.example' AND metadata['organization']:'org_1'"})

    assert [customer.id for customer in found.data] == [wanted.id]


def test_shows_a_deleted_customer_as_deleted_and_changes_it_no_more(double: StripeDouble):
    customer = double.v1.customers.create({"email": "ada@acme.example"})

    assert double.v1.customers.delete(customer.id).deleted
    assert double.v1.customers.retrieve(customer.id).deleted
    assert double.v1.customers.list().data == []
    with pytest.raises(stripe.InvalidRequestError) as refused:
        double.v1.customers.update(customer.id, {"name": "x"})
    assert refused.value.code == "resource_missing"


def test_refuses_an_address_that_is_none(double: StripeDouble):
    with pytest.raises(stripe.InvalidRequestError) as refused:
        double.v1.customers.create({"email": "nobody"})

    assert (refused.value.code, refused.value.param) == ("email_invalid", "email")


@pytest.mark.parametrize(
    ("kind", "value", "status", "country"),
    [
        ("eu_vat", "DE123456789", "pending", "DE"),
        ("gb_vat", "GB123456789", "pending", "GB"),
        ("us_ein", "12-3456789", "unavailable", "US"),
    ],
)
def test_takes_a_tax_id(double: StripeDouble, kind: str, value: str, status: str, country: str):
    customer = double.v1.customers.create({})

    tax_id = double.v1.customers.tax_ids.create(customer.id, {"type": kind, "value": value})

    assert (tax_id.verification.status, tax_id.country, tax_id.owner.customer) == (status, country, customer.id)
    assert [each.id for each in double.v1.customers.tax_ids.list(customer.id).data] == [tax_id.id]


@pytest.mark.parametrize(("digits", "status"), [("0", "verified"), ("1", "unverified"), ("2", "pending")])
def test_a_tax_id_is_verified_after_a_while(double: StripeDouble, digits: str, status: str):
    customer = double.v1.customers.create({})
    tax_id = double.v1.customers.tax_ids.create(customer.id, {"type": "eu_vat", "value": "DE" + digits * 9})
    assert tax_id.verification.status == "pending"

    double.control("clock", seconds=120)

    assert double.v1.customers.tax_ids.retrieve(customer.id, tax_id.id).verification.status == status


def test_refuses_a_tax_id_of_the_wrong_form(double: StripeDouble):
    customer = double.v1.customers.create({})

    with pytest.raises(stripe.InvalidRequestError) as refused:
        double.v1.customers.tax_ids.create(customer.id, {"type": "eu_vat", "value": "nope"})

    assert refused.value.code == "tax_id_invalid"


def test_deletes_a_tax_id(double: StripeDouble):
    customer = double.v1.customers.create({"tax_id_data": [{"type": "eu_vat", "value": "DE123456789"}]})
    tax_id = double.v1.customers.tax_ids.list(customer.id).data[0]

    assert double.v1.customers.tax_ids.delete(customer.id, tax_id.id).deleted
    assert double.v1.customers.tax_ids.list(customer.id).data == []


def test_a_tax_id_of_another_customer_is_not_there(double: StripeDouble):
    owner, other = double.v1.customers.create({}), double.v1.customers.create({})
    tax_id = double.v1.customers.tax_ids.create(owner.id, {"type": "eu_vat", "value": "DE123456789"})

    with pytest.raises(stripe.InvalidRequestError) as refused:
        double.v1.customers.tax_ids.retrieve(other.id, tax_id.id)

    assert refused.value.http_status == 404


def test_a_balance_is_the_sum_of_what_moved_it(double: StripeDouble):
    customer = double.v1.customers.create({})

    double.v1.customers.balance_transactions.create(customer.id, {"amount": -500, "currency": "usd"})
    last = double.v1.customers.balance_transactions.create(customer.id, {"amount": 200, "currency": "usd"})

    assert last.ending_balance == -300
    assert double.v1.customers.retrieve(customer.id).balance == -300
    assert len(double.v1.customers.balance_transactions.list(customer.id).data) == 2


def test_cards_are_attached_listed_and_detached(double: StripeDouble):
    customer = double.customer()
    card = customer.invoice_settings.default_payment_method

    assert [each.id for each in double.v1.customers.payment_methods.list(customer.id).data] == [card]
    assert [each.id for each in double.v1.payment_methods.list({"customer": customer.id, "type": "card"}).data] == [
        card
    ]
    assert double.v1.customers.payment_methods.retrieve(customer.id, card).card.last4 == "4242"

    assert double.v1.payment_methods.detach(card).customer is None

    assert double.v1.customers.payment_methods.list(customer.id).data == []
    assert double.v1.customers.retrieve(customer.id).invoice_settings.default_payment_method is None
    with pytest.raises(stripe.InvalidRequestError):
        double.v1.payment_methods.attach(card, {"customer": customer.id})


def test_a_default_must_be_a_card_of_the_customer(double: StripeDouble):
    customer = double.v1.customers.create({})

    with pytest.raises(stripe.InvalidRequestError) as refused:
        double.v1.customers.update(customer.id, {"invoice_settings": {"default_payment_method": double.card().id}})

    assert refused.value.code == "resource_missing"


def test_a_card_is_of_one_customer(double: StripeDouble):
    card = double.customer().invoice_settings.default_payment_method

    with pytest.raises(stripe.InvalidRequestError):
        double.v1.payment_methods.attach(card, {"customer": double.v1.customers.create({}).id})


def test_a_card_changes_its_expiry_and_address(double: StripeDouble):
    card = double.customer().invoice_settings.default_payment_method

    changed = double.v1.payment_methods.update(
        card, {"card": {"exp_month": 1, "exp_year": 2041}, "billing_details": {"address": {"country": "FR"}}}
    )

    assert (changed.card.exp_month, changed.card.exp_year, changed.billing_details.address.country) == (1, 2041, "FR")


def test_a_card_has_no_fields_of_other_payment_methods(double: StripeDouble):
    card = double.card()

    assert "card" in card
    assert "sepa_debit" not in card
    with pytest.raises(AttributeError):
        _ = card.sepa_debit


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("number", "4242424242424241", "incorrect_number"),
        ("number", "4111111111111111", "card_declined"),
        ("exp_month", 13, "invalid_expiry_month"),
        ("exp_year", 2001, "invalid_expiry_year"),
    ],
)
def test_refuses_a_card_that_is_none(double: StripeDouble, field: str, value: object, code: str):
    card = {"number": "4242424242424242", "exp_month": 12, "exp_year": 2040, "cvc": "123", field: value}

    with pytest.raises(stripe.CardError) as refused:
        double.v1.payment_methods.create({"type": "card", "card": card})

    assert refused.value.code == code
