"""Only the provider can tell us something, and each message is looked into once (security W1, W3)."""

import gzip
import json
import os
import random
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client, override_settings
from django.utils import timezone

from billing.models import StripeEvent
from billing.services.stripe_events import MOST_ATTEMPTS, fetch_messages, wait_after, work_events
from billing.webhooks import MAXIMUM_BODY_BYTES
from tests.doubles.provider import message, selling_through, send, signed, tell
from tests.doubles.stripe_double import SIGNING_SECRET
from tests.own_database import OwnDatabase

FORGERIES = 10_000 if os.environ.get("PROVE") else 300
SAME_MESSAGES = 100 if os.environ.get("PROVE") else 5
BODY = json.dumps(message("checkout.session.completed", "cs_test_1")).encode()


def test_a_message_is_stored_once_and_answered_before_it_is_looked_into(double, client, db):
    for _ in range(3):
        assert tell(client, message("checkout.session.completed", "cs_test_1")).status_code == 200

    event = StripeEvent.objects.get()
    assert (event.type, event.object_id, event.state) == ("checkout.session.completed", "cs_test_1", "received")
    assert double.look("requests") == []


def test_a_message_signed_by_the_former_secret_counts_while_secrets_are_exchanged(double, client, db):
    assert send(client, BODY, signed(BODY, secret="whsec_former")).status_code == 200
    assert StripeEvent.objects.count() == 1


def flip_a_bit(chance: random.Random) -> tuple[bytes, str]:
    body = bytearray(BODY)
    body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
    return bytes(body), signed(BODY)


def sign_long_ago(chance: random.Random) -> tuple[bytes, str]:
    return BODY, signed(BODY, at=time.time() - 301 - chance.randrange(10**6))


def sign_by_guesses(chance: random.Random) -> tuple[bytes, str]:
    guesses = [f"v1={chance.randbytes(32).hex()}" for _ in range(50)]
    return BODY, ",".join([signed(BODY).split(",")[0], *guesses])


def sign_as_v0(_: random.Random) -> tuple[bytes, str]:
    return BODY, signed(BODY).replace("v1=", "v0=")


def sign_by_another_secret(chance: random.Random) -> tuple[bytes, str]:
    return BODY, signed(BODY, secret=f"whsec_{chance.randbytes(8).hex()}")


def write_anew(chance: random.Random) -> tuple[bytes, str]:
    return json.dumps(json.loads(BODY), indent=chance.randrange(1, 9)).encode(), signed(BODY)


def compress(_: random.Random) -> tuple[bytes, str]:
    return gzip.compress(BODY), signed(BODY)


def break_the_header(chance: random.Random) -> tuple[bytes, str]:
    good = signed(BODY)
    return BODY, chance.choice(
        ["", "t=,v1=", "t=1", "v1=00", "t=x,v1=y", "t=1,v1=\u00e9", good[2:], good[:-1], good[::-1]]
    )


def send_noise(chance: random.Random) -> tuple[bytes, str]:
    return chance.randbytes(chance.randrange(200)), signed(BODY)


FORGE = (
    flip_a_bit,
    sign_long_ago,
    sign_by_guesses,
    sign_as_v0,
    sign_by_another_secret,
    write_anew,
    compress,
    break_the_header,
    send_noise,
)


def test_no_forgery_is_believed(double, client, db):
    chance = random.Random(20261125)
    for number in range(FORGERIES):
        body, signature = FORGE[number % len(FORGE)](chance)
        assert send(client, body, signature).status_code == 400, (body, signature)
    assert not StripeEvent.objects.exists()


def test_refuses_what_is_too_long_before_reading_it_all(double, client, db):
    body = b" " * (MAXIMUM_BODY_BYTES + 1)
    assert send(client, body, signed(body)).status_code == 413
    body = BODY + b" " * (MAXIMUM_BODY_BYTES - len(BODY))
    assert send(client, body, signed(body)).status_code == 200


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff", b'{"id": 1}', b"[" * 100_000, b'{"id":"a","type":"b"}'])
def test_refuses_a_signed_body_that_is_no_message(double, client, db, body):
    assert send(client, body, signed(body) if body != b"\xff" else "t=1,v1=2").status_code == 400
    assert not StripeEvent.objects.exists()


def test_is_not_there_without_a_secret_and_takes_posts_only(double, client, db):
    assert client.get("/webhooks/stripe").status_code == 405
    with override_settings(STRIPE_WEBHOOK_SECRETS=[]):
        assert send(client, BODY, signed(BODY)).status_code == 404
    with override_settings(STRIPE_SECRET_KEY=""):
        assert send(client, BODY, signed(BODY)).status_code == 404


@pytest.mark.parametrize("other", [{"api_version": "2025-01-01.old"}, {"livemode": True}, {"api_version": None}])
def test_parks_what_is_of_another_version_or_mode(double, client, db, other, log_lines):
    assert tell(client, message("checkout.session.completed", "cs_test_1", **other)).status_code == 200

    assert work_events(now=timezone.now()) == 0
    assert StripeEvent.objects.get().state == "parked"
    assert "billing.stripe.message_parked" in log_lines()


def test_ignores_what_is_of_no_concern(double, client, db):
    tell(client, message("product.created", "prod_1"))
    someone_elses = double.v1.payment_intents.create({"amount": 500, "currency": "usd"})
    tell(client, message("payment_intent.processing", someone_elses.id))

    assert work_events(now=timezone.now()) == 1
    assert set(StripeEvent.objects.values_list("state", flat=True)) == {"ignored"}


def test_a_message_about_what_is_not_there_is_given_up_after_eight_tries_with_an_alarm(double, client, db, log_lines):
    tell(client, message("checkout.session.completed", "cs_test_gone"))
    now = timezone.now()
    for attempt in range(1, MOST_ATTEMPTS + 1):
        assert work_events(now=now) == 1
        now += wait_after(attempt) - timedelta(seconds=1)
        assert work_events(now=now) == 0
        now += timedelta(seconds=1)

    assert work_events(now=now) == 0
    event = StripeEvent.objects.get()
    assert (event.state, event.attempts) == ("dead", MOST_ATTEMPTS)
    assert "ProviderRefusal" in event.problem
    assert "billing.stripe.message_given_up" in log_lines()


def test_what_did_not_arrive_is_fetched_and_only_that(double, client, db):
    session = double.v1.checkout.sessions.create(
        {
            "mode": "payment",
            "success_url": "http://127.0.0.1:9/",
            "line_items": [
                {
                    "quantity": 1,
                    "price_data": {"currency": "usd", "unit_amount": 500, "product_data": {"name": "Credit"}},
                }
            ],
        }
    )
    double.control("checkout", session=session.id)

    fetched = fetch_messages(now=timezone.now())
    assert fetched == StripeEvent.objects.count() > 0
    assert "checkout.session.completed" in StripeEvent.objects.values_list("type", flat=True)
    assert fetch_messages(now=timezone.now()) == 0


def sender_of(body: bytes, signature: str) -> Callable[[int], int]:
    """Return what sends a message from a browser of its own."""

    def send_it(_: int) -> int:
        status: int = send(Client(), body, signature).status_code
        return status

    return send_it


def test_the_same_message_sixteen_times_at_once_is_one_row(running_double, own_database: OwnDatabase):
    with own_database.in_use(), selling_through(running_double):
        for number in range(SAME_MESSAGES):
            body = json.dumps(message("checkout.session.completed", f"cs_test_{number}")).encode()
            signature = signed(body, secret=SIGNING_SECRET)
            answers = own_database.in_threads(16, sender_of(body, signature))
            assert answers == [200] * 16
    with own_database.connect("postgres") as connection:
        assert connection.execute("SELECT count(*) FROM billing_stripeevent").fetchone() == (SAME_MESSAGES,)
