"""/v1/messages without a gateway around it: how its requests are translated, and what streams add up to."""

import json
import os
from typing import Any

import pytest
from hypothesis import given, settings

from inference.gateway.dialects.messages import MessageDialect, MessageReply
from inference.gateway.errors import ApiError
from inference.gateway.exchange import Status
from inference.gateway.requests import Endpoint
from tests.inference.dialects.spoken import COST, HEADING, VERSIONS, Answer, answers, chunk, cuts, replayed, streamed

CASES = 2_000 if os.environ.get("PROVE") else 40
DIALECT = MessageDialect()
HELLO = {"role": "user", "content": "Hello"}
PLAIN = {"model": "demo-chat", "max_tokens": 50, "messages": [HELLO]}
TOOL = {"name": "weather", "description": "Looks.", "input_schema": {"type": "object"}}
BASE64 = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


def read(**fields: object) -> MessageReply:
    return DIALECT.read(json.dumps(PLAIN | fields).encode())


def chat_of(**fields: object) -> dict[str, Any]:
    """Return the chat completion that a request becomes."""
    return {name: json.loads(bytes(value)) for name, value in read(**fields).request.fields.items()}


# --- Requests -------------------------------------------------------------------------------------


def said(*content: object, role: str = "user") -> dict[str, object]:
    return {"role": role, "content": list(content)}


def text(words: str) -> dict[str, object]:
    return {"type": "text", "text": words, "cache_control": {"type": "ephemeral"}}


USE = {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Oslo"}}
TOLD = {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}


@pytest.mark.parametrize(
    ("asked", "messages"),
    [
        ({}, [HELLO]),
        ({"system": "Be brief."}, [{"role": "system", "content": "Be brief."}, HELLO]),
        (
            {"system": [text("Be brief."), text("Be kind.")]},
            [{"role": "system", "content": "Be brief.\nBe kind."}, HELLO],
        ),
        ({"messages": [said(text("Hello"))]}, [HELLO]),
        (
            {
                "messages": [
                    said(
                        text("What is it?"),
                        {"type": "image", "source": BASE64},
                        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
                        {"type": "document", "title": "a.txt", "source": {"type": "text", "data": "words"}},
                    )
                ]
            },
            [
                said(
                    {"type": "text", "text": "What is it?"},
                    PICTURE,
                    {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
                    {"type": "text", "text": "a.txt\nwords"},
                )
            ],
        ),
        (
            {
                "messages": [
                    HELLO,
                    said(
                        {"type": "thinking", "thinking": "Hm", "signature": ""}, text("I look."), USE, role="assistant"
                    ),
                    said(
                        {"type": "tool_result", "tool_use_id": "t1", "content": [text("rain"), {**PICTURE}]}
                        | {"content": [text("rain"), {"type": "image", "source": BASE64}]},
                        text("And now?"),
                    ),
                ]
            },
            [
                HELLO,
                {"role": "assistant", "content": "I look.", "tool_calls": [TOLD]},
                {"role": "tool", "tool_call_id": "t1", "content": "rain"},
                said(PICTURE, {"type": "text", "text": "And now?"}),
            ],
        ),
        (
            {
                "messages": [
                    HELLO,
                    said(USE, USE | {"id": "t2"}, role="assistant"),
                    said(
                        {"type": "tool_result", "tool_use_id": "t1", "content": "rain"},
                        {"type": "tool_result", "tool_use_id": "t2", "is_error": True},
                    ),
                    {"role": "assistant", "content": "It"},
                ]
            },
            [
                HELLO,
                {"role": "assistant", "content": None, "tool_calls": [TOLD, TOLD | {"id": "t2"}]},
                {"role": "tool", "tool_call_id": "t1", "content": "rain"},
                {"role": "tool", "tool_call_id": "t2", "content": ""},
                {"role": "assistant", "content": "It"},
            ],
        ),
    ],
)
def test_says_to_the_model_what_was_said(asked: dict[str, object], messages: list[object]):
    assert chat_of(**asked)["messages"] == messages


FUNCTION = {"name": "weather", "description": "Looks.", "parameters": {"type": "object"}}


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        ({"stream": True, "temperature": 0.5, "top_k": 5}, {"stream": True, "temperature": 0.5, "top_k": 5}),
        ({"stop_sequences": ["x"]}, {"stop": ["x"]}),
        ({"metadata": {"user_id": "u"}}, {"user": "u"}),
        ({"service_tier": "standard_only"}, {"service_tier": "default"}),
        ({"service_tier": "auto"}, {"service_tier": "auto"}),
        # Not passed on: unknown, or what would make several answers of one.
        ({"n": 4, "thinking": {"type": "adaptive"}, "betas": [], "cache_control": {"type": "ephemeral"}}, {}),
        # Null is as good as nothing.
        (dict.fromkeys(["temperature", "top_k", "tools", "system", "stream", "metadata"]), {}),
        ({"output_config": {"effort": "max"}}, {"reasoning_effort": "high"}),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "output", "schema": {"type": "object"}, "strict": True},
                }
            },
        ),
        ({"tools": [TOOL]}, {"tools": [{"type": "function", "function": FUNCTION}]}),
    ],
)
def test_asks_the_model_for_what_was_asked(asked: dict[str, object], fields: dict[str, object]):
    chat = chat_of(**asked)

    assert {name: chat.pop(name) for name in fields} == fields
    assert set(chat) == {"model", "messages", "max_tokens"}


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        (
            {"type": "any", "disable_parallel_tool_use": True},
            {"tool_choice": "required", "parallel_tool_calls": False},
        ),
        (
            {"type": "tool", "name": "weather"},
            {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
        ),
    ],
)
def test_says_which_tools_to_use(choice: dict[str, object], told: dict[str, object]):
    chat = chat_of(tools=[TOOL], tool_choice=choice)

    assert {name: value for name, value in chat.items() if name in ("tool_choice", "parallel_tool_calls")} == told
    assert "tool_choice" not in chat_of(tool_choice=choice)


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [said(role="tool")]}, "messages"),
        ({"messages": [said({"type": "image", "source": {"type": "file", "file_id": "file_1"}})]}, "messages"),
        ({"messages": [said({"type": "server_tool_use", "id": "x", "name": "web_search"})]}, "messages"),
        ({"messages": [said({"type": "image", "source": BASE64}, role="assistant")]}, "messages"),
        ({"system": [{"type": "image", "source": BASE64}]}, "system"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools"),
        ({"tools": [TOOL], "tool_choice": {"type": "some"}}, "tool_choice"),
        ({"output_config": {"format": {"type": "grammar"}}}, "output_config"),
        ({"mcp_servers": [{"type": "url"}]}, "mcp_servers"),
        ({"container": "container_1"}, "container"),
    ],
)
def test_refuses_what_it_cannot_do_and_says_so(asked: dict[str, object], param: str):
    with pytest.raises(ApiError) as refused:
        read(**asked)

    assert (refused.value.status, refused.value.param) == (400, param)
    assert str(refused.value).endswith(".")


def test_holds_for_the_longer_of_both_bodies():
    request = read(system="é" * 100).request

    assert (request.endpoint, request.path) == (Endpoint.MESSAGES, "/v1/chat/completions")
    assert request.byte_count == len(json.dumps(PLAIN | {"system": "é" * 100})) > 600
    assert not read(messages=[said({"type": "image", "source": BASE64})]).request.has_only_text


# --- Answers --------------------------------------------------------------------------------------


@settings(max_examples=CASES, deadline=None)
@given(answer=answers, cut=cuts)
def test_a_stream_adds_up_to_the_whole_answer(answer: Answer, cut: list[int]):
    reply = read(stream=True)

    whole = json.loads(reply.whole(answer.whole(), HEADING))
    first, ping, *events, last, stop = streamed(
        reply, answer.chunks(), cuts=cut, finish_reason=answer.finish_reason
    ).events

    built: list[dict[str, Any]] = []
    is_open = False
    for event in events:
        match event:
            case {"type": "content_block_start", "content_block": block}:
                assert (is_open, event["index"]) == (False, len(built))
                built.append(block | ({"input": ""} if block["type"] == "tool_use" else {}))
            case {"type": "content_block_delta", "delta": delta}:
                assert (is_open, event["index"]) == (True, len(built) - 1)
                [(field, piece)] = [(name, value) for name, value in delta.items() if name != "type"]
                built[-1][{"partial_json": "input"}.get(field, field)] += piece
            case {"type": "content_block_stop"}:
                assert event["index"] == len(built) - 1
        is_open = event["type"] != "content_block_stop"
    for block in built:
        if block["type"] == "tool_use":
            block["input"] = json.loads(block["input"])
    assert (ping, stop, is_open) == ({"type": "ping"}, {"type": "message_stop"}, False)
    assert first["message"] | {"content": built, **last["delta"], "usage": last["usage"]} == whole


def test_says_what_it_used_and_what_that_cost():
    message = json.loads(read().whole(Answer(text=["Hi"], reasoning=["Hm"]).whole(), HEADING))

    assert message["content"] == [
        {"type": "thinking", "thinking": "Hm", "signature": ""},
        {"type": "text", "text": "Hi"},
    ]
    assert (message["id"], message["stop_reason"]) == ("msg_abc", "end_turn")
    # Theirs does not count what came from a cache among the input.
    assert message["usage"] == {
        "input_tokens": 8,
        "cache_read_input_tokens": 4,
        "cache_creation_input_tokens": 0,
        "output_tokens": 9,
        "output_tokens_details": {"thinking_tokens": 3},
        "cost": COST,
        "price_version": VERSIONS,
    }


@pytest.mark.parametrize(
    ("finish_reason", "stop_text", "calls", "told"),
    [
        ("stop", None, [], ("end_turn", None)),
        ("length", None, [], ("max_tokens", None)),
        ("content_filter", None, [], ("refusal", None)),
        ("tool_calls", None, [("f", ["{}"])], ("tool_use", None)),
        # What some servers say in its place.
        ("stop", None, [("f", ["{}"])], ("tool_use", None)),
        ("stop", "END", [], ("stop_sequence", "END")),
        # A stop text of the server's own, or a token's number, is nobody's stop sequence.
        ("stop", "<|eot|>", [], ("end_turn", None)),
        ("stop", 128_009, [], ("end_turn", None)),
    ],
)
def test_says_why_it_ended(
    finish_reason: str, stop_text: object, calls: list[tuple[str, list[str]]], told: tuple[str, str | None]
):
    reply = read(stop_sequences=["END"])
    answer = Answer(text=["Hi"], calls=calls, finish_reason=finish_reason)
    body = json.loads(answer.whole())
    body["choices"][0]["stop_reason"] = stop_text
    last = chunk({"choices": [{"delta": {}, "finish_reason": finish_reason, "stop_reason": stop_text}]})

    message = json.loads(reply.whole(json.dumps(body).encode(), HEADING))
    delta = streamed(reply, answer.chunks() + last, finish_reason=finish_reason).events[-2]["delta"]

    assert (message["stop_reason"], message["stop_sequence"]) == told
    assert (delta["stop_reason"], delta["stop_sequence"]) == told


@pytest.mark.parametrize(
    ("arguments", "given_input"),
    [("", {}), ('{"a": 1}', {"a": 1}), ("{a", {"INVALID_JSON": "{a"}), ("[1]", {"INVALID_JSON": "[1]"})],
)
def test_gives_arguments_as_an_object_whatever_the_model_wrote(arguments: str, given_input: object):
    message = json.loads(read().whole(Answer(calls=[("f", [arguments])]).whole(), HEADING))

    assert message["content"][0]["input"] == given_input


def test_a_stream_that_breaks_off_ends_with_an_error():
    error = ApiError(502, "The model broke off.", code="upstream_cut", kind="server_error")
    raw = Answer(text=["one ", "two"]).chunks().rsplit(b"data:", 1)[0]

    events = streamed(read(stream=True), raw, error=error, with_usage=False).events

    assert [event["delta"]["text"] for event in events if event["type"] == "content_block_delta"] == ["one ", "two"]
    assert events[-1] == {
        "type": "error",
        "error": {"type": "api_error", "message": "The model broke off.", "details": {"error_code": "upstream_cut"}},
    }
    assert "message_stop" not in {event["type"] for event in events}


@pytest.mark.parametrize(
    ("status", "finish_reason", "told"),
    [
        (Status.COMPLETED, "stop", "end_turn"),
        (Status.COMPLETED, "length", "max_tokens"),
        (Status.CUT, "", None),
        (Status.CANCELLED, "", None),
    ],
)
def test_a_repetition_hears_how_the_first_one_ended(status: Status, finish_reason: str, told: str | None):
    message = json.loads(replayed(read(), status, finish_reason).body)
    ending = replayed(read(stream=True), status, finish_reason).events[-2]

    assert (message["stop_reason"], message["content"], message["id"]) == (told, [], "msg_abc")
    assert (message["usage"]["input_tokens"], message["usage"]["cost"]) == (8, COST)
    assert (ending["type"], ending["delta"]["stop_reason"]) == ("message_delta", told)
    assert ending["usage"] == message["usage"]


# --- Refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (405, "invalid_request_error"),
        (409, "conflict_error"),
        (413, "request_too_large"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (503, "api_error"),
        (504, "timeout_error"),
    ],
)
def test_refuses_in_the_words_of_the_dialect(status: int, kind: str):
    error = ApiError(status, "No.", code="because", kind="ours", details={"limit": "1.00", "resets_at": None})

    assert json.loads(DIALECT.error(error, "req_1")) == {
        "type": "error",
        "error": {"type": kind, "message": "No.", "details": {"error_code": "because", "limit": "1.00"}},
        "request_id": "req_1",
    }


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": {"message": "Too hot.", "code": "x"}}', "Too hot."),
        (b'{"object": "error", "message": "Too cold."}', "Too cold."),
        (b'{"error": "no"}', "The model refused the request."),
        (b"<html>", "The model refused the request."),
    ],
)
def test_translates_refusals_of_the_upstream(body: bytes, message: str):
    assert json.loads(DIALECT.refusal(400, body, "req_1")) == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": message},
        "request_id": "req_1",
    }


@pytest.mark.parametrize(
    ("headers", "authorization"),
    [
        ([(b"x-api-key", b"hr_live_1")], "Bearer hr_live_1"),
        ([(b"authorization", b"Bearer hr_live_2")], "Bearer hr_live_2"),
        ([(b"x-api-key", b"hr_live_1"), (b"authorization", b"Bearer hr_live_2")], "Bearer hr_live_2"),
        ([], ""),
    ],
)
def test_takes_a_key_in_either_header(headers: list[tuple[bytes, bytes]], authorization: str):
    assert DIALECT.authorization({"headers": headers}) == authorization
