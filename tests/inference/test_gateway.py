"""The gateway as programs meet it: through the real openai package, with a real upstream behind it."""

import time
from datetime import UTC, datetime
from decimal import Decimal

import httpx2 as httpx
import openai
import pytest

from accounts.services.api_keys import revoke_key
from billing.models import Reservation, UsageByHour, UsageEvent
from inference.models import Receipt
from portal.lib.money import usd_to_nano
from tests.factories.accounts import make_key
from tests.inference.conftest import ServedGateway, wait_until

HELLO = [{"role": "user", "content": "Hello there, surplus compute"}]


def receipt_of(request_id: str) -> Receipt:
    wait_until(lambda: Receipt.objects.filter(request_id=request_id).exists())
    return Receipt.objects.get(request_id=request_id)


def test_lists_models(gateway: ServedGateway):
    gateway.start()

    models = gateway.client().models.list()
    one = gateway.client().models.retrieve("demo-chat")

    assert [model.id for model in models] == ["demo-chat", "demo-embed"]
    assert one.owned_by == "Meta"


def test_answers_and_says_what_it_cost(gateway: ServedGateway):
    gateway.start()

    answer = gateway.client().chat.completions.with_raw_response.create(
        model="demo-chat", messages=HELLO, max_tokens=20
    )

    completion = answer.parse()
    assert "demonstration server" in completion.choices[0].message.content
    assert completion.model == "demo-chat"
    assert completion.usage.completion_tokens == 20
    receipt = receipt_of(answer.headers["x-request-id"])
    assert receipt.status == Receipt.Status.COMPLETED
    assert receipt.input_tokens == completion.usage.prompt_tokens
    assert receipt.output_tokens == 20
    # A dollar per million tokens of either kind.
    assert receipt.cost_usd == Decimal(completion.usage.total_tokens) / 1_000_000
    assert Decimal(answer.headers["x-cost"]) == receipt.cost_usd == Decimal(completion.usage.cost)
    assert completion.usage.price_version["output"] == receipt.output_price_id
    assert Decimal(answer.headers["x-budget-remaining"]) == pytest.approx(Decimal("5"), abs=Decimal("0.001"))
    assert answer.headers["x-ratelimit-remaining-requests"].isdigit()
    assert receipt.organization == gateway.organization
    assert receipt.api_key == gateway.key.api_key
    assert receipt.deployment == gateway.deployment


def test_streams_and_shows_usage_only_to_those_who_asked(gateway: ServedGateway):
    gateway.start()

    plain = list(gateway.client().chat.completions.create(model="demo-chat", messages=HELLO, stream=True))
    counted = list(
        gateway.client().chat.completions.create(
            model="demo-chat", messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
    )

    text = "".join(chunk.choices[0].delta.content or "" for chunk in plain)
    assert "demonstration server" in text
    assert all(chunk.usage is None for chunk in plain)
    assert [bool(chunk.usage) for chunk in counted] == [False] * (len(counted) - 1) + [True]
    usage = counted[-1].usage
    assert Decimal(usage.cost) == Decimal(usage.total_tokens) / 1_000_000
    wait_until(lambda: Receipt.objects.count() == 2)
    assert {receipt.output_tokens for receipt in Receipt.objects.all()} == {usage.completion_tokens}
    assert all(receipt.is_stream and receipt.first_token_ms is not None for receipt in Receipt.objects.all())


def test_embeds(gateway: ServedGateway):
    gateway.start()

    answer = gateway.client().embeddings.create(model="demo-embed", input=["one", "two words"])

    assert len(answer.data) == 2
    wait_until(Receipt.objects.exists)
    receipt = Receipt.objects.get()
    assert (receipt.input_tokens, receipt.output_tokens) == (answer.usage.prompt_tokens, 0)
    assert receipt.cost_usd == Decimal(answer.usage.prompt_tokens) * 50 / 1_000_000_000


def test_completes_text(gateway: ServedGateway):
    gateway.start()

    answer = gateway.client().completions.create(model="demo-chat", prompt="Once upon a time", max_tokens=5)
    chunks = list(gateway.client().completions.create(model="demo-chat", prompt="Once", max_tokens=5, stream=True))

    assert answer.usage.completion_tokens == 5
    assert "".join(chunk.choices[0].text for chunk in chunks).startswith("This is a demo")


def test_bills_exactly_the_rated_buckets(gateway: ServedGateway):
    gateway.start()
    client = gateway.client()

    for number in range(5):
        client.chat.completions.create(model="demo-chat", messages=HELLO, max_tokens=number + 1)
    gateway.stop()

    buckets_nano = sum(bucket.amount_nano for bucket in UsageByHour.objects.all())
    receipts_usd = sum((receipt.cost_usd for receipt in Receipt.objects.all()), Decimal(0))
    assert gateway.cap.settled_nano == buckets_nano == usd_to_nano(receipts_usd)
    assert gateway.cap.reserved_nano == 0
    assert not Reservation.objects.held().exists()
    assert UsageEvent.objects.count() == 10


def test_refuses_a_wrong_key_in_the_words_of_openai(gateway: ServedGateway):
    gateway.start()
    unknown = make_key(gateway.project, now=datetime.now(UTC))
    unknown.api_key.delete()

    with pytest.raises(openai.AuthenticationError) as refused:
        gateway.client(unknown.secret).models.list()

    assert refused.value.code == "invalid_api_key"
    assert refused.value.response.headers["x-request-id"].startswith("req_")


def test_refuses_an_unknown_model_and_a_model_that_the_key_may_not_call(gateway: ServedGateway):
    gateway.key.api_key.allowed_models = ["demo-embed"]
    gateway.key.api_key.save()
    gateway.start()

    with pytest.raises(openai.NotFoundError) as unknown:
        gateway.client().chat.completions.create(model="gpt-99", messages=HELLO)
    with pytest.raises(openai.PermissionDeniedError) as forbidden:
        gateway.client().chat.completions.create(model="demo-chat", messages=HELLO)

    assert unknown.value.code == "model_not_found"
    assert forbidden.value.code == "model_not_allowed"
    assert [model.id for model in gateway.client().models.list()] == ["demo-embed"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"model": "demo-chat", "messages": [', None),
        (b"[1, 2]", None),
        (b'{"messages": [{"role": "user", "content": "x"}]}', "model"),
        (b'{"model": "demo-chat"}', "messages"),
        (b'{"model": "demo-chat", "messages": []}', "messages"),
        (b'{"model": "demo-chat", "messages": [{"content": "x"}], "max_tokens": 0}', "max_tokens"),
        (b'{"model": "demo-chat", "messages": [{"content": "x"}], "max_tokens": 99999999}', "max_tokens"),
        (b'{"model": "demo-chat", "messages": [{"content": "x"}], "n": 1000}', "n"),
        (b'{"model": "demo-embed", "messages": [{"content": "x"}]}', "model"),
        (b'{"model": "demo-chat", "messages": [{"content": "x"}], "stream": "yes"}', "stream"),
        (b"\xff\xfe", None),
        (b'{"model": ' + b"[" * 100_000, None),
    ],
)
def test_refuses_a_bad_body_and_names_the_field(gateway: ServedGateway, body: bytes, param: str | None):
    gateway.start()

    answer = httpx.post(
        f"{gateway.url}/v1/chat/completions", content=body, headers={"authorization": f"Bearer {gateway.key.secret}"}
    )

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert not Reservation.objects.exists()


def test_refuses_a_body_that_is_too_large(gateway: ServedGateway):
    gateway.start()

    answer = httpx.post(
        f"{gateway.url}/v1/chat/completions",
        content=b"x" * (8 * 1024 * 1024 + 1),
        headers={"authorization": f"Bearer {gateway.key.secret}"},
    )

    assert answer.status_code == 413


def test_answers_unknown_addresses_and_methods_in_the_same_shape(gateway: ServedGateway):
    gateway.start()

    unknown = httpx.get(f"{gateway.url}/v1/nothing")
    wrong = httpx.get(f"{gateway.url}/v1/chat/completions")
    behind = httpx.get(f"{gateway.url}/healthz", headers={"host": "localhost"})

    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "unknown_url")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    assert behind.json() == {"status": "ok"}


def test_revokes_within_a_second(gateway: ServedGateway):
    gateway.start()
    client = gateway.client()
    client.models.list()

    revoke_key(api_key=gateway.key.api_key, now=datetime.now(UTC))
    time.sleep(1)

    with pytest.raises(openai.AuthenticationError):
        client.models.list()


def test_takes_a_key_at_once_that_was_unknown_before(gateway: ServedGateway):
    gateway.start()
    fresh = make_key(gateway.project, now=datetime.now(UTC))

    assert list(gateway.client(fresh.secret).models.list())
