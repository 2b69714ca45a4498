"""Both dialects as programs meet them: through the vendors' real packages, with a real upstream behind the gateway."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import anthropic
import httpx2 as httpx
import openai
import pytest
from pydantic import BaseModel

from accounts.services.api_keys import revoke_key
from billing.models import UsageByHour, UsageEvent
from inference.models import Receipt
from portal.lib.money import usd_to_nano
from tests.inference.conftest import STALLS_AFTER, ServedGateway, wait_until

type Told = dict[str, Any]

PICTURE = "data:image/png;base64,iVBORw0KGgo="
CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
WORDS = "Hello there, surplus compute"
LIMIT = 20
# The same request in each of the three.
BODIES: dict[str, Told] = {
    CHAT: {"max_tokens": LIMIT, "messages": [{"role": "user", "content": WORDS}]},
    RESPONSES: {"max_output_tokens": LIMIT, "input": WORDS},
    MESSAGES: {"max_tokens": LIMIT, "messages": [{"role": "user", "content": WORDS}]},
}
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 2}}}
WANTED = {"city": "demonstration", "days": 2}
RESPONSE_TOOLS = [{"type": "function", "name": name, "parameters": PARAMETERS} for name in ("weather", "news")]
MESSAGE_TOOLS = [{"name": name, "input_schema": PARAMETERS} for name in ("weather", "news")]


class Place(BaseModel):
    city: str
    population: int


@contextmanager
def message_client(
    gateway: ServedGateway, *, api_key: str | None = None, auth_token: str | None = None
) -> Iterator[Any]:
    # Any: the package's types know only the vendor's own models and fields, and we look at ours too.
    with anthropic.Anthropic(base_url=gateway.url, max_retries=0, api_key=api_key, auth_token=auth_token) as client:
        yield client


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=60) as client:
        yield client


def ask(
    client: httpx.Client, gateway: ServedGateway, path: str, model: str, headers: Told | None = None, **fields: object
) -> httpx.Response:
    bearer = {"authorization": f"Bearer {gateway.key.secret}"}
    body = BODIES[path] | {"model": model} | fields
    return client.post(f"{gateway.url}{path}", json=body, headers=bearer | (headers or {}))


def events_of(answer: httpx.Response) -> list[Told]:
    lines = (line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: {"))
    return [json.loads(line) for line in lines]


def receipt_of(answer: httpx.Response) -> Receipt:
    request_id = answer.headers["x-receipt-id"]
    wait_until(lambda: Receipt.objects.filter(request_id=request_id).exists())
    return Receipt.objects.get(request_id=request_id)


# --- The vendors' own packages --------------------------------------------------------------------


def test_openai_s_package_asks_for_responses(gateway: ServedGateway):
    gateway.faulty_model("cached", "cached=3", gateway.deployment.base_url)
    gateway.start()
    responses = gateway.client().responses

    raw = responses.with_raw_response.create(model="cached", input=WORDS, max_output_tokens=LIMIT, metadata={"a": "b"})
    response = raw.parse()
    assert "demonstration server" in response.output_text
    assert (response.model, response.status, response.metadata) == ("cached", "incomplete", {"a": "b"})
    assert response.incomplete_details.reason == "max_output_tokens"
    receipt = receipt_of(raw)
    assert response.id == f"resp_{receipt.request_id.removeprefix('req_')}"
    assert (receipt.endpoint, receipt.output_tokens) == (Receipt.Endpoint.RESPONSES, LIMIT)
    usage = response.usage
    assert (usage.output_tokens, usage.input_tokens_details.cached_tokens) == (LIMIT, 3)
    assert usage.input_tokens == receipt.input_tokens + receipt.cached_input_tokens
    assert Decimal(usage.cost) == Decimal(raw.headers["x-cost"]) == receipt.cost_usd > 0
    assert usage.price_version["output"] == receipt.output_price_id

    with responses.stream(model="demo-chat", input=WORDS, reasoning={"effort": "low"}) as stream:
        kinds = [event.type for event in stream]
        streamed = stream.get_final_response()
    assert [item.type for item in streamed.output] == ["reasoning", "message"]
    assert streamed.output[0].content[0].text.startswith("There is nothing here")
    assert (streamed.status, kinds[0], kinds[-1]) == ("completed", "response.created", "response.completed")
    assert 0 < streamed.usage.output_tokens_details.reasoning_tokens < streamed.usage.output_tokens

    place = responses.parse(model="demo-chat", input="Where?", text_format=Place).output_parsed
    assert place == Place(city="demonstration", population=1)

    shown = [{"type": "input_text", "text": "What is this?"}, {"type": "input_image", "image_url": PICTURE}]
    seen = responses.create(model="demo-chat", input=[{"role": "user", "content": shown}])
    assert '"a-picture-or-file"' in seen.output_text

    turn: list[Any] = [{"role": "user", "content": "The weather and the news, please"}]
    calling = responses.create(model="demo-chat", input=turn, tools=RESPONSE_TOOLS)
    assert [(item.name, json.loads(item.arguments)) for item in calling.output] == [
        ("weather", WANTED),
        ("news", WANTED),
    ]
    with responses.stream(model="demo-chat", input=turn, tools=RESPONSE_TOOLS, parallel_tool_calls=False) as stream:
        [call] = stream.get_final_response().output
    assert (call.name, json.loads(call.arguments)) == ("weather", WANTED)
    turn += calling.output
    turn += [
        {"type": "function_call_output", "call_id": item.call_id, "output": f"{item.name}: fine"}
        for item in calling.output
    ]
    assert '"fine"' in responses.create(model="demo-chat", input=turn, tools=RESPONSE_TOOLS).output_text

    with pytest.raises(openai.BadRequestError) as refused:
        responses.create(model="demo-chat", input=WORDS, previous_response_id=response.id)
    assert (refused.value.param, refused.value.code) == ("previous_response_id", "unsupported_parameter")
    with pytest.raises(openai.BadRequestError, match="max_output_tokens is too large"):
        responses.create(model="demo-chat", input=WORDS, max_output_tokens=10**9)


def test_anthropic_s_package_sends_messages(gateway: ServedGateway):
    gateway.faulty_model("cached", "cached=3", gateway.deployment.base_url)
    gateway.start()
    hello = [{"role": "user", "content": WORDS}]

    with message_client(gateway, api_key=gateway.key.secret) as client:
        messages = client.messages
        raw = messages.with_raw_response.create(model="cached", max_tokens=LIMIT, messages=hello)
        message = raw.parse()
        assert "demonstration server" in message.content[0].text
        assert (message.model, message.stop_reason) == ("cached", "max_tokens")
        receipt = receipt_of(raw)
        assert message.id == f"msg_{receipt.request_id.removeprefix('req_')}"
        assert message._request_id == raw.headers["request-id"] == receipt.request_id
        assert (receipt.endpoint, receipt.output_tokens) == (Receipt.Endpoint.MESSAGES, LIMIT)
        assert (message.usage.cache_read_input_tokens, message.usage.output_tokens) == (3, LIMIT)
        assert message.usage.input_tokens + 3 == receipt.input_tokens + receipt.cached_input_tokens
        assert Decimal(message.usage.cost) == Decimal(raw.headers["x-cost"]) == receipt.cost_usd > 0

        with messages.stream(
            model="demo-chat", max_tokens=90, messages=hello, system="Be brief.", output_config={"effort": "low"}
        ) as stream:
            events = list(stream)
            streamed = stream.get_final_message()
        assert [block.type for block in streamed.content] == ["thinking", "text"]
        assert (events[0].type, events[-1].type, streamed.stop_reason) == ("message_start", "message_stop", "end_turn")
        assert streamed.usage.input_tokens > message.usage.input_tokens + 3
        # The package adds up what it knows, so the cost is in the event.
        [ending] = [event for event in events if event.type == "message_delta"]
        assert Decimal(ending.usage.cost) > 0

        stopped = messages.create(model="demo-chat", max_tokens=LIMIT, messages=hello, stop_sequences=["server"])
        assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "server")

        source = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
        shown = [{"type": "text", "text": "What is this?"}, {"type": "image", "source": source}]
        seen = messages.create(model="demo-chat", max_tokens=90, messages=[{"role": "user", "content": shown}])
        assert '"a-picture-or-file"' in seen.content[0].text

        turn: list[Any] = [{"role": "user", "content": "The weather and the news, please"}]
        asked = {"model": "demo-chat", "max_tokens": 90, "tools": MESSAGE_TOOLS}
        calling = messages.create(messages=turn, **asked)
        assert calling.stop_reason == "tool_use"
        assert [(block.name, block.input) for block in calling.content] == [("weather", WANTED), ("news", WANTED)]
        with messages.stream(messages=turn, tool_choice={"type": "tool", "name": "news"}, **asked) as stream:
            [use] = stream.get_final_message().content
        assert (use.name, use.input) == ("news", WANTED)
        results = [
            {"type": "tool_result", "tool_use_id": block.id, "content": f"{block.name}: fine"}
            for block in calling.content
        ]
        turn += [{"role": "assistant", "content": calling.content}, {"role": "user", "content": results}]
        assert '"fine"' in messages.create(messages=turn, **asked).content[0].text
    with message_client(gateway, auth_token=gateway.key.secret) as client:
        assert client.messages.create(model="demo-chat", max_tokens=1, messages=hello).content


# --- The same money as chat completions -----------------------------------------------------------


def test_whatever_happens_costs_the_same_in_every_dialect(gateway: ServedGateway, client: httpx.Client):
    faults = {"cut": "cut=7", "counting": "cut=7", "silent": "silent", "empty": "empty", "broken": "status=500"}
    for name, fault in faults.items():
        gateway.faulty_model(name, fault, gateway.deployment.base_url, has_continuous_usage=name == "counting")
    gateway.faulty_model("strict", "status=400", gateway.deployment.base_url)
    gateway.start()

    def outcome(path: str, model: str, *, is_stream: bool) -> tuple[Any, ...]:
        answer = ask(client, gateway, path, model, stream=is_stream)
        if answer.status_code != 200:
            return (answer.status_code, answer.headers.get("retry-after"))
        receipt = receipt_of(answer)
        assert is_stream or Decimal(answer.headers["x-cost"]) == receipt.cost_usd
        tokens = (receipt.input_tokens, receipt.output_tokens)
        return (receipt.status, receipt.finish_reason, tokens, receipt.cost_usd, receipt.deployment_id)

    asked = [(model, True) for model in ("demo-chat", *faults)]
    asked += [(model, False) for model in ("demo-chat", "silent", "empty", "strict")]
    found = {
        path: {(model, is_stream): outcome(path, model, is_stream=is_stream) for model, is_stream in asked}
        for path in BODIES
    }
    gateway.stop()

    assert found[RESPONSES] == found[MESSAGES] == found[CHAT]
    chat = found[CHAT]
    assert chat["cut", True][:3] == (Receipt.Status.CUT, "", (0, 7))
    assert chat["counting", True][2][1] == 7
    assert {chat["empty", False][0], chat["empty", True][0]} == {Receipt.Status.EMPTY}
    assert (chat["broken", True], chat["strict", False]) == ((503, "2"), (400, None))
    charged = sum((receipt.cost_usd for receipt in Receipt.objects.all()), Decimal(0))
    buckets_nano = sum(bucket.amount_nano for bucket in UsageByHour.objects.all())
    assert gateway.cap.settled_nano == buckets_nano == usd_to_nano(charged) > 0
    assert gateway.cap.reserved_nano == 0


def test_streams_that_break_off_say_so_in_their_dialect(stalling: ServedGateway, client: httpx.Client):
    """By the upstream, and because access ended; a refusal that comes before it is one of the upstream's own."""
    url = stalling.deployment.base_url
    stalling.faulty_model("cut", f"cut={STALLS_AFTER}", url)
    stalling.faulty_model("strict", "status=400", url)
    stalling.start()
    bearer = {"authorization": f"Bearer {stalling.key.secret}"}

    cut = {path: events_of(ask(client, stalling, path, "cut", stream=True)) for path in (RESPONSES, MESSAGES)}
    refused = {path: ask(client, stalling, path, "strict").json() for path in (RESPONSES, MESSAGES)}
    ended: dict[str, Iterator[str]] = {}
    streams = [
        client.stream(
            "POST",
            f"{stalling.url}{path}",
            json=BODIES[path] | {"model": "stalling", "stream": True},
            headers=bearer,
        )
        for path in (RESPONSES, MESSAGES)
    ]
    with streams[0] as first, streams[1] as second:
        for path, stream in ((RESPONSES, first), (MESSAGES, second)):
            lines = stream.iter_lines()
            deltas = 0
            while deltas < STALLS_AFTER:
                deltas += next(lines) in ("event: response.output_text.delta", "event: content_block_delta")
            ended[path] = lines
        revoke_key(api_key=stalling.key.api_key, now=datetime.now(UTC))
        last = {
            path: [json.loads(line[6:]) for line in lines if line[:7] == "data: {"][-1] for path, lines in ended.items()
        }

    for failed, code in ((cut[RESPONSES][-1], "upstream_cut"), (last[RESPONSES], "invalid_api_key")):
        assert (failed["type"], failed["response"]["error"]["code"]) == ("response.failed", code)
        assert failed["response"]["usage"]["output_tokens"] == STALLS_AFTER
        assert Decimal(failed["response"]["usage"]["cost"]) == Decimal(STALLS_AFTER) / 1_000_000
    for error, kind, code in (
        (cut[MESSAGES][-1], "api_error", "upstream_cut"),
        (last[MESSAGES], "authentication_error", "invalid_api_key"),
    ):
        assert (error["type"], error["error"]["type"]) == ("error", kind)
        assert error["error"]["details"]["error_code"] == code
    assert refused[RESPONSES]["error"]["code"] == "demonstration_fault"
    assert refused[MESSAGES]["type"] == "error"
    assert refused[MESSAGES]["error"] == {
        "type": "invalid_request_error",
        "message": "A fault was asked for: 400.",
    }
    wait_until(lambda: Receipt.objects.filter(status=Receipt.Status.CUT, output_tokens=STALLS_AFTER).count() == 4)


def test_money_and_repeats_hold_in_every_dialect(gateway: ServedGateway, client: httpx.Client):
    gateway.start()

    first = {path: ask(client, gateway, path, "demo-chat", {"idempotency-key": path}) for path in (RESPONSES, MESSAGES)}
    receipts = {path: receipt_of(answer) for path, answer in first.items()}
    streamed = {path: {"idempotency-key": f"{path} streamed"} for path in (RESPONSES, MESSAGES)}
    for path, key in streamed.items():
        receipt_of(ask(client, gateway, path, "demo-chat", key, stream=True))
    again = {path: ask(client, gateway, path, "demo-chat", {"idempotency-key": path}) for path in (RESPONSES, MESSAGES)}
    # Another body, and the same at another address.
    others = [
        ask(client, gateway, RESPONSES, "demo-chat", {"idempotency-key": RESPONSES}, top_p=1),
        ask(client, gateway, CHAT, "demo-chat", {"idempotency-key": MESSAGES}),
    ]
    events = {
        path: events_of(ask(client, gateway, path, "demo-chat", key, stream=True)) for path, key in streamed.items()
    }
    gateway.stop()

    assert (again[RESPONSES].json()["id"], again[RESPONSES].json()["output"]) == (first[RESPONSES].json()["id"], [])
    assert (again[MESSAGES].json()["id"], again[MESSAGES].json()["content"]) == (first[MESSAGES].json()["id"], [])
    for path, answer in again.items():
        assert answer.headers["idempotent-replayed"] == "true"
        assert Decimal(answer.json()["usage"]["cost"]) == receipts[path].cost_usd
        assert answer.json()["usage"]["output_tokens"] == LIMIT
    assert [event["type"] for event in events[RESPONSES]] == [
        "response.created",
        "response.in_progress",
        "response.incomplete",
    ]
    assert [event["type"] for event in events[MESSAGES]] == ["message_start", "ping", "message_delta", "message_stop"]
    assert events[MESSAGES][-2]["usage"]["output_tokens"] == LIMIT
    assert [other.status_code for other in others] == [422, 422]
    assert Receipt.objects.count() == 4
    assert UsageEvent.objects.count() == 8


def test_refuses_in_the_words_of_the_dialect(gateway: ServedGateway, client: httpx.Client):
    gateway.set_cap(1_000)  # a token costs a thousand nano-dollars
    gateway.limit(requests_per_minute=2)
    gateway.start()
    hello = BODIES[MESSAGES] | {"model": "demo-chat"}

    with message_client(gateway, api_key="hr_live_nobody") as theirs, pytest.raises(anthropic.AuthenticationError):
        theirs.messages.create(**hello)
    with message_client(gateway, api_key=gateway.key.secret) as theirs:
        with pytest.raises(anthropic.BadRequestError, match="max_tokens is too large") as wrong:
            theirs.messages.create(**hello | {"max_tokens": 17_000})
        with pytest.raises(anthropic.NotFoundError) as unknown:
            theirs.messages.create(**hello | {"model": "claude-99"})
        # Only the upstream could count them truly, and none is asked to.
        with pytest.raises(anthropic.NotFoundError):
            theirs.messages.count_tokens(model="demo-chat", messages=hello["messages"])
        with pytest.raises(anthropic.APIStatusError) as poor:
            theirs.messages.create(**hello)
    poorer = ask(client, gateway, RESPONSES, "demo-chat")
    limited = next(
        answer
        for answer in (ask(client, gateway, MESSAGES, "demo-chat") for _ in range(9))
        if answer.status_code != 402
    )
    gateway.stop()

    assert wrong.value.type == "invalid_request_error"
    assert (unknown.value.type, unknown.value.error_code) == ("not_found_error", "model_not_found")
    assert (poor.value.status_code, poor.value.type, poor.value.error_code) == (402, "billing_error", "budget_exceeded")
    details = poor.value.response.json()["error"]["details"]
    assert (details["scope"], details["limit"]) == ("organization", "0.000001")
    assert poor.value.response.json()["request_id"] == poor.value.request_id
    assert (poorer.status_code, poorer.json()["error"]["code"]) == (402, "budget_exceeded")
    assert (limited.status_code, limited.json()["error"]["type"]) == (429, "rate_limit_error")
    assert "retry-after" in limited.headers
    assert not Receipt.objects.exists()
    assert (gateway.cap.settled_nano, gateway.cap.reserved_nano) == (0, 0)
