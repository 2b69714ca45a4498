"""Upstreams that fail in every way they do: what the customer sees, and what they pay."""

import time
from decimal import Decimal

import httpx2 as httpx
import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from billing.models import UsageEvent
from dev.services import free_port
from inference.models import Receipt
from tests.inference.conftest import DemoUpstreamProcess, ServedGateway, wait_until

HELLO = [{"role": "user", "content": "Hello there"}]


def only_receipt() -> Receipt:
    wait_until(Receipt.objects.exists)
    return Receipt.objects.get()


def is_nothing_billed(gateway: ServedGateway) -> bool:
    gateway.stop()
    return not UsageEvent.objects.exists() and gateway.cap.settled_nano == gateway.cap.reserved_nano == 0


@pytest.mark.parametrize("fault", ["status=500", "status=429", "status=401"])
@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.asvs("16.5.2")
def test_says_when_to_come_back_while_the_upstream_is_broken_and_bills_nothing(
    gateway: ServedGateway, fault: str, is_stream: bool
):
    gateway.faulty_model("broken", fault, gateway.deployment.base_url)
    gateway.start()

    with pytest.raises(openai.InternalServerError) as refused:
        gateway.client().chat.completions.create(model="broken", messages=HELLO, stream=is_stream)

    assert refused.value.status_code == 503
    assert refused.value.response.headers["retry-after"] == "2"
    assert only_receipt().status == Receipt.Status.FAILED
    assert is_nothing_billed(gateway)


@pytest.mark.asvs("16.5.2")
def test_comes_back_after_the_upstream_was_killed(gateway: ServedGateway, mortal_upstream: DemoUpstreamProcess):
    gateway.faulty_model("mortal", "", mortal_upstream.url)
    gateway.start()
    client = gateway.client()
    client.chat.completions.create(model="mortal", messages=HELLO)

    mortal_upstream.kill()
    for _ in range(3):
        with pytest.raises(openai.InternalServerError):
            client.chat.completions.create(model="mortal", messages=HELLO)
    mortal_upstream.start()

    def answers() -> bool:
        try:
            return bool(client.chat.completions.create(model="mortal", messages=HELLO).choices)
        except openai.InternalServerError:
            return False

    wait_until(answers)


@pytest.mark.asvs("16.5.2")
def test_asks_another_deployment_before_the_first_byte(gateway: ServedGateway):
    url = gateway.deployment.base_url
    gateway.faulty_model("twice", "status=500", url, weight=1000)
    for number, faults in enumerate(["status=503", "status=502"]):
        gateway.deploy(gateway.model, url, upstream_model=f"demo{number}!{faults}", weight=1000)
    gateway.deploy(gateway.model, f"http://127.0.0.1:{free_port()}", upstream_model="nobody", weight=1000)
    gateway.start()

    for is_stream in (False, True):
        answer = gateway.client().chat.completions.create(model="demo-chat", messages=HELLO, stream=is_stream)
        assert list(answer)

    wait_until(lambda: Receipt.objects.count() == 2)
    assert {receipt.deployment for receipt in Receipt.objects.all()} == {gateway.deployment}


def test_ends_a_stream_that_broke_off_with_an_error_and_bills_what_was_delivered(gateway: ServedGateway):
    gateway.faulty_model("cut", "cut=7", gateway.deployment.base_url)
    gateway.start()

    chunks: list[ChatCompletionChunk] = []
    with pytest.raises(openai.APIError) as broken:
        chunks.extend(gateway.client().chat.completions.create(model="cut", messages=HELLO, stream=True))

    assert broken.value.code == "upstream_cut"
    assert len([chunk for chunk in chunks if chunk.choices[0].delta.content]) == 7
    receipt = only_receipt()
    assert (receipt.status, receipt.input_tokens, receipt.output_tokens) == (Receipt.Status.CUT, 0, 7)
    assert receipt.cost_usd == Decimal(7) / 1_000_000


def test_bills_the_last_count_of_an_upstream_that_counts_while_it_streams(gateway: ServedGateway):
    gateway.faulty_model("counting", "cut=7", gateway.deployment.base_url, has_continuous_usage=True)
    gateway.start()

    chunks: list[ChatCompletionChunk] = []
    with pytest.raises(openai.APIError):
        chunks.extend(gateway.client().chat.completions.create(model="counting", messages=HELLO, stream=True))

    # The running count is ours to ask for, not the client's to see.
    assert [chunk.usage for chunk in chunks] == [None] * 8
    receipt = only_receipt()
    assert (receipt.status, receipt.input_tokens, receipt.output_tokens) == (Receipt.Status.CUT, 4, 7)


@pytest.mark.parametrize("is_stream", [False, True])
def test_an_empty_answer_is_free(gateway: ServedGateway, is_stream: bool):
    gateway.faulty_model("empty", "empty", gateway.deployment.base_url)
    gateway.start()

    answer = gateway.client().chat.completions.create(model="empty", messages=HELLO, stream=is_stream)

    assert list(answer)
    receipt = only_receipt()
    assert receipt.status == Receipt.Status.EMPTY
    assert receipt.cost_usd == 0
    assert is_nothing_billed(gateway)


def test_a_whole_answer_that_broke_off_is_free(gateway: ServedGateway):
    gateway.faulty_model("cut", "cut=0", gateway.deployment.base_url)
    gateway.start()

    with pytest.raises(openai.InternalServerError):
        gateway.client().chat.completions.create(model="cut", messages=HELLO)

    assert only_receipt().status == Receipt.Status.FAILED
    assert is_nothing_billed(gateway)


def test_counts_chunks_when_the_upstream_counts_nothing(gateway: ServedGateway):
    gateway.faulty_model("silent", "silent", gateway.deployment.base_url)
    gateway.start()

    chunks = list(gateway.client().chat.completions.create(model="silent", messages=HELLO, stream=True, max_tokens=9))

    assert len([chunk for chunk in chunks if chunk.choices[0].delta.content]) == 9
    assert (only_receipt().input_tokens, only_receipt().output_tokens) == (0, 9)


def test_stops_the_upstream_when_the_client_leaves_and_bills_what_was_delivered(gateway: ServedGateway):
    gateway.faulty_model("slow", "delay=100", gateway.deployment.base_url)
    gateway.start()
    stream = gateway.client().chat.completions.create(model="slow", messages=HELLO, stream=True)
    seen = 0
    for chunk in stream:
        seen += bool(chunk.choices[0].delta.content)
        if seen == 3:
            break

    stream.close()
    left_at = time.monotonic()

    receipt = only_receipt()
    assert receipt.status == Receipt.Status.CANCELLED
    # A chunk may have been on its way.
    assert 3 <= receipt.output_tokens <= 4
    assert time.monotonic() - left_at < 2


def test_a_client_that_left_before_the_answer_pays_nothing(gateway: ServedGateway):
    gateway.faulty_model("slow", "delay=1000", gateway.deployment.base_url)
    gateway.start()

    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{gateway.url}/v1/chat/completions",
            json={"model": "slow", "messages": HELLO},
            headers={"authorization": f"Bearer {gateway.key.secret}"},
            timeout=0.3,
        )

    assert only_receipt().status == Receipt.Status.FAILED
    assert is_nothing_billed(gateway)


def test_says_that_the_model_hangs(gateway: ServedGateway, settings):
    settings.MODEL_UPSTREAM_TIMEOUT_SECONDS = 1
    gateway.faulty_model("hanging", "hang", gateway.deployment.base_url)
    gateway.start()

    with pytest.raises(openai.APIStatusError) as refused:
        gateway.client().chat.completions.create(model="hanging", messages=HELLO)

    assert (refused.value.status_code, refused.value.code) == (504, "upstream_timeout")
    assert is_nothing_billed(gateway)


def test_passes_on_what_the_upstream_says_against_the_request(gateway: ServedGateway):
    gateway.faulty_model("strict", "status=400", gateway.deployment.base_url)
    gateway.start()

    with pytest.raises(openai.BadRequestError) as refused:
        gateway.client().chat.completions.create(model="strict", messages=HELLO)

    assert refused.value.code == "demonstration_fault"
    assert not Receipt.objects.exists()
    assert is_nothing_billed(gateway)
