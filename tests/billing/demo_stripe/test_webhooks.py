"""Events and their delivery: signed, again until they are taken, and in whatever disorder a test asks for."""

import json
from collections.abc import Iterator

import pytest
import stripe

from tests.doubles.receiver import Received, Receiver, receiving, status
from tests.doubles.stripe_double import SIGNING_SECRET, StripeDouble


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as listening:
        yield listening


def kinds(received: list[Received]) -> list[str]:
    return [json.loads(each.body)["type"] for each in received]


def test_an_event_is_signed_so_that_stripes_library_believes_it(double: StripeDouble, receiver: Receiver):
    double.subscribe(receiver)
    customer = double.v1.customers.create({"email": "ada@acme.example"})

    received = receiver.wait_for(1)[0]

    event = double.client.construct_event(received.body, received.headers["stripe-signature"], SIGNING_SECRET)
    assert (event.type, event.data.object.id, event.api_version) == (
        "customer.created",
        customer.id,
        stripe.api_version,
    )
    with pytest.raises(stripe.SignatureVerificationError):
        double.client.construct_event(received.body + b" ", received.headers["stripe-signature"], SIGNING_SECRET)
    with pytest.raises(stripe.SignatureVerificationError):
        double.client.construct_event(received.body, received.headers["stripe-signature"], "whsec_other")


def test_an_event_says_what_changed_and_who_asked(double: StripeDouble):
    customer = double.v1.customers.create({"name": "Acme"})
    double.v1.customers.update(customer.id, {"name": "Bolt"}, {"idempotency_key": "k"})

    event = double.v1.events.list({"type": "customer.updated"}).data[0]

    assert event.data.object["name"] == "Bolt"
    assert event.data.previous_attributes["name"] == "Acme"
    assert (event.request.idempotency_key, event.request.id[:4]) == ("k", "req_")


def test_a_payment_tells_its_story(double: StripeDouble):
    customer = double.customer()
    double.pay(customer)

    story = [event.type for event in double.v1.events.list({"limit": 3}).data]

    assert story == ["payment_intent.succeeded", "charge.succeeded", "payment_intent.created"]


def test_events_are_found_by_their_types(double: StripeDouble):
    double.pay(double.customer())

    found = double.v1.events.list({"types": ["charge.succeeded", "customer.created"]})

    assert sorted(event.type for event in found.data) == ["charge.succeeded", "customer.created"]
    assert double.v1.events.retrieve(found.data[0].id).type == found.data[0].type


def test_an_endpoint_gets_what_it_asked_for(double: StripeDouble, receiver: Receiver):
    made = double.v1.webhook_endpoints.create({"url": receiver.url, "enabled_events": ["payment_method.attached"]})

    double.customer()
    double.control("settle")

    assert kinds(receiver.received) == ["payment_method.attached"]
    signed = receiver.received[0]
    assert double.client.construct_event(signed.body, signed.headers["stripe-signature"], made.secret)
    assert "secret" not in double.v1.webhook_endpoints.retrieve(made.id)


def test_an_endpoint_is_changed_disabled_and_deleted(double: StripeDouble, receiver: Receiver):
    made = double.v1.webhook_endpoints.create({"url": receiver.url, "enabled_events": ["*"]})

    assert double.v1.webhook_endpoints.update(made.id, {"disabled": True}).status == "disabled"
    double.v1.customers.create({})
    assert double.v1.webhook_endpoints.update(made.id, {"disabled": False}).status == "enabled"
    assert double.v1.webhook_endpoints.delete(made.id).deleted
    double.v1.customers.create({})
    double.control("settle")

    assert receiver.received == []
    assert double.v1.webhook_endpoints.list().data == []


def test_an_endpoint_of_another_version_is_told_so(double: StripeDouble, receiver: Receiver):
    double.control("endpoint", url=receiver.url, secret=SIGNING_SECRET, enabled_events=["*"], api_version="2020-08-27")

    double.v1.customers.create({})

    assert json.loads(receiver.wait_for(1)[0].body)["api_version"] == "2020-08-27"


def test_an_event_is_sent_again_until_it_is_taken(double: StripeDouble, receiver: Receiver):
    receiver.replies.extend([status(500), status(302, Location=receiver.url), status(404)])
    double.subscribe(receiver)
    double.v1.customers.create({})

    double.control("settle")

    bodies = [each.body for each in receiver.received]
    assert len(bodies) == 4
    assert len(set(bodies)) == 1
    assert [each["status"] for each in double.look("deliveries")] == [500, 302, 404, 204]
    assert double.v1.events.list().data[0].pending_webhooks == 0


def test_an_event_that_nobody_takes_is_given_up(double: StripeDouble, receiver: Receiver):
    receiver.usual = status(500)
    double.subscribe(receiver)
    double.v1.customers.create({})

    double.control("settle")

    assert len(receiver.received) == 6
    assert double.v1.events.list().data[0].pending_webhooks == 1


def test_an_event_is_sent_once_more_when_asked(double: StripeDouble, receiver: Receiver):
    double.subscribe(receiver)
    double.v1.customers.create({})
    double.control("settle")

    assert double.control("redeliver", event=double.v1.events.list().data[0].id) == {"endpoints": 1}
    double.control("settle")

    first, second = receiver.received
    assert json.loads(first.body)["id"] == json.loads(second.body)["id"]


def test_deliveries_are_duplicated(double: StripeDouble, receiver: Receiver):
    double.subscribe(receiver)
    double.control("webhooks", kind="duplicate")

    double.v1.customers.create({})
    double.control("settle")

    assert kinds(receiver.received) == ["customer.created"] * 2


def test_deliveries_are_dropped_and_can_be_found_in_the_list(double: StripeDouble, receiver: Receiver):
    double.subscribe(receiver)
    double.control("webhooks", kind="drop", count=2)

    double.customer()
    double.control("settle")

    missing = {event.type for event in double.v1.events.list().data} - set(kinds(receiver.received))
    assert missing == {"customer.created", "payment_method.attached"}


def test_deliveries_come_backwards(double: StripeDouble, receiver: Receiver):
    double.subscribe(receiver, "payment_intent.*", "charge.*")
    customer = double.customer()
    double.control("webhooks", kind="reorder", count=3)

    double.pay(customer)
    double.control("settle")

    assert kinds(receiver.received) == ["payment_intent.succeeded", "charge.succeeded", "payment_intent.created"]


def test_a_delivery_comes_late(double: StripeDouble, receiver: Receiver):
    double.subscribe(receiver)
    double.control("webhooks", kind="delay", seconds=600)

    double.v1.customers.create({"name": "late"})
    double.v1.customers.create({"name": "prompt"})
    double.control("settle")
    double.control("clock", seconds=600)
    double.control("settle")

    names = [json.loads(each.body)["data"]["object"]["name"] for each in receiver.received]
    assert names == ["prompt", "late"]


def test_no_delivery_leaves_this_machine(double: StripeDouble):
    double.v1.webhook_endpoints.create({"url": "https://shop.example/hook", "enabled_events": ["*"]})

    double.v1.customers.create({})
    double.control("settle")

    assert {each["status"] for each in double.look("deliveries")} == {
        "not sent: a demonstration sends to this machine only"
    }


def test_the_story_of_a_dispute(double: StripeDouble):
    intent = double.pay(double.customer("pm_card_createDispute"))
    dispute = double.v1.disputes.list({"payment_intent": intent.id}).data[0]
    double.v1.disputes.update(dispute.id, {"evidence": {"uncategorized_text": "winning_evidence"}})

    story = [event.type for event in double.v1.events.list({"types": ["charge.dispute.*"]}).data]

    assert story[::-1] == [
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.updated",
        "charge.dispute.funds_reinstated",
        "charge.dispute.closed",
    ]


def test_a_reset_forgets_everything(double: StripeDouble, receiver: Receiver):
    double.subscribe(receiver)
    double.control("clock", seconds=86_400)
    double.control("fail", kind="500")

    double.control("reset")
    double.v1.customers.create({})
    double.control("settle")

    assert receiver.received == []
    assert double.look("deliveries") == []


def test_what_was_refused_left_nothing_and_told_nobody(double: StripeDouble, receiver: Receiver):
    double.subscribe(receiver)
    given = {"email": "ada@acme.example", "tax_id_data": [{"type": "eu_vat", "value": "nope"}]}

    with pytest.raises(stripe.InvalidRequestError):
        double.v1.customers.create(given)

    double.control("settle")
    assert receiver.received == []
    assert double.v1.customers.list().data == []
    assert double.v1.events.list().data == []


def test_an_event_comes_after_the_answer_is_certain(double: StripeDouble, receiver: Receiver):
    double.subscribe(receiver, "customer.created")
    made = double.v1.customers.create({"payment_method": "pm_card_visa", "name": "Acme"})

    event = json.loads(receiver.wait_for(1)[0].body)

    assert event["data"]["object"]["id"] == made.id
    assert double.v1.customers.retrieve(event["data"]["object"]["id"]).name == "Acme"
