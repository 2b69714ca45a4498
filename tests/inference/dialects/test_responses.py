"""/v1/responses without a gateway around it: how its requests are translated, and what streams add up to."""

import json
import os
from typing import Any

import pytest
from hypothesis import given, settings

from inference.gateway.dialects.responses import ResponseDialect, ResponseReply
from inference.gateway.errors import ApiError
from inference.gateway.exchange import Status
from inference.gateway.requests import Endpoint
from tests.inference.dialects.spoken import (
    COST,
    HEADING,
    USAGE,
    VERSIONS,
    Answer,
    answers,
    chunk,
    cuts,
    replayed,
    streamed,
)

CASES = 2_000 if os.environ.get("PROVE") else 40
DIALECT = ResponseDialect()
PICTURE = "data:image/png;base64,iVBORw0KGgo="
FUNCTION = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": True}
PLAIN = {"model": "demo-chat", "input": "Hello"}


def read(**fields: object) -> ResponseReply:
    return DIALECT.read(json.dumps(PLAIN | fields).encode())


def chat_of(**fields: object) -> dict[str, Any]:
    """Return the chat completion that a request becomes."""
    return {name: json.loads(bytes(value)) for name, value in read(**fields).request.fields.items()}


# --- Requests -------------------------------------------------------------------------------------

USER = {"role": "user", "content": "Hello"}
CALL = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city": "Oslo"}'}
TOLD = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}


@pytest.mark.parametrize(
    ("asked", "messages"),
    [
        ({}, [USER]),
        ({"instructions": "Be brief."}, [{"role": "system", "content": "Be brief."}, USER]),
        (
            {"instructions": "Be brief.", "input": [{"role": "developer", "content": "Be kind."}, USER]},
            [{"role": "system", "content": "Be brief.\n\nBe kind."}, USER],
        ),
        (
            {"input": [USER, {"role": "system", "content": "Now rhyme."}]},
            [USER, {"role": "system", "content": "Now rhyme."}],
        ),
        (
            {
                "input": [
                    {
                        "type": "message",
                        "role": "user",
                        "content": [
                            {"type": "input_text", "text": "What is it?"},
                            {"type": "input_image", "image_url": PICTURE, "detail": "low"},
                            {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"},
                        ],
                    }
                ]
            },
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What is it?"},
                        {"type": "image_url", "image_url": {"url": PICTURE, "detail": "low"}},
                        {
                            "type": "file",
                            "file": {"file_data": "data:application/pdf;base64,AA", "filename": "a.pdf"},
                        },
                    ],
                }
            ],
        ),
        (
            {
                "input": [
                    USER,
                    {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
                    {"role": "assistant", "content": [{"type": "output_text", "text": "I look.", "annotations": []}]},
                    CALL,
                    CALL | {"call_id": "c2"},
                    {"type": "function_call_output", "call_id": "c1", "output": "rain"},
                    {
                        "type": "function_call_output",
                        "call_id": "c2",
                        "output": [
                            {"type": "input_text", "text": "sun"},
                            {"type": "input_image", "image_url": PICTURE},
                        ],
                    },
                    USER,
                ]
            },
            [
                USER,
                {"role": "assistant", "content": "I look.", "tool_calls": [TOLD, TOLD | {"id": "c2"}]},
                {"role": "tool", "tool_call_id": "c1", "content": "rain"},
                {"role": "tool", "tool_call_id": "c2", "content": "sun"},
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": PICTURE}},
                        {"type": "text", "text": "Hello"},
                    ],
                },
            ],
        ),
        (
            {"input": [CALL, {"type": "function_call_output", "call_id": "c1", "output": "rain"}, CALL]},
            [
                {"role": "assistant", "content": None, "tool_calls": [TOLD]},
                {"role": "tool", "tool_call_id": "c1", "content": "rain"},
                {"role": "assistant", "content": None, "tool_calls": [TOLD]},
            ],
        ),
    ],
)
def test_says_to_the_model_what_was_said(asked: dict[str, object], messages: list[object]):
    assert chat_of(**asked)["messages"] == messages


TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}, "strict": True}}
SCHEMA = {"type": "json_schema", "name": "city", "schema": {"type": "object"}, "strict": True}


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        ({"max_output_tokens": 7, "stream": True}, {"max_tokens": 7, "stream": True}),
        ({"temperature": 0.5, "top_p": 0.9, "user": "u"}, {"temperature": 0.5, "top_p": 0.9, "user": "u"}),
        # Known to chat completions, or to servers of open models, and not to this dialect.
        ({"seed": 3, "top_k": 5, "stop": ["x"], "logit_bias": {"1": 2}}, {"seed": 3, "top_k": 5, "stop": ["x"]}),
        # Not passed on: unknown, kept here, or what would make several answers of one.
        ({"n": 4, "best_of": 3, "moderation": {}, "metadata": {"a": "b"}, "truncation": "auto"}, {}),
        ({"store": False, "background": False, "previous_response_id": None, "include": []}, {}),
        ({"text": {"format": {"type": "text"}, "verbosity": "low"}}, {"verbosity": "low"}),
        ({"text": {"format": {"type": "json_object"}}}, {"response_format": {"type": "json_object"}}),
        (
            {"text": {"format": SCHEMA}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "city", "schema": {"type": "object"}, "strict": True},
                }
            },
        ),
        ({"reasoning": {"effort": "low", "summary": "auto"}}, {"reasoning_effort": "low"}),
        ({"top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}),
        ({"include": ["message.output_text.logprobs"]}, {"logprobs": True}),
        ({"tools": []}, {}),
        # Null is as good as nothing.
        (dict.fromkeys(["temperature", "top_p", "tools", "tool_choice", "text", "stream", "instructions"]), {}),
        (
            {"tools": [{"type": "function", "name": "f", "parameters": None, "strict": None}]},
            {"tools": [{"type": "function", "function": {"name": "f"}}]},
        ),
        ({"tool_choice": "auto", "parallel_tool_calls": False}, {}),
        (
            {"tools": [FUNCTION], "tool_choice": "required", "parallel_tool_calls": False},
            {"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False},
        ),
        (
            {"tools": [FUNCTION], "tool_choice": {"type": "function", "name": "weather"}},
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "weather"}}},
        ),
        (
            {
                "tools": [FUNCTION, FUNCTION | {"name": "other"}],
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "required",
                    "tools": [{"type": "function", "name": "weather"}],
                },
            },
            {"tools": [TOOL], "tool_choice": "required"},
        ),
    ],
)
def test_asks_the_model_for_what_was_asked(asked: dict[str, object], fields: dict[str, object]):
    chat = chat_of(**asked)

    assert {name: chat.pop(name) for name in fields} == fields
    assert set(chat) - {"logit_bias"} == {"model", "messages"}


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"store": True}, "store"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"tools": [{"type": "mcp", "server_label": "x", "server_url": "https://x"}]}, "tools"),
        ({"tools": [FUNCTION], "tool_choice": {"type": "file_search"}}, "tool_choice"),
        ({"tools": [FUNCTION], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}}, "tool_choice"),
        ({"text": {"format": {"type": "grammar"}}}, "text"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text"),
        ({"input": []}, "input"),
        ({"input": None}, "input"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input"),
        ({"input": [{"type": "computer_call", "id": "cu_1"}]}, "input"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "file_1"}]}]}, "input"),
        (
            {"input": [{"role": "system", "content": [{"type": "input_image", "image_url": PICTURE}]}]},
            "input",
        ),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"model": None}, "model"),
        ({"stream": "yes"}, "stream"),
    ],
)
def test_refuses_what_it_cannot_do_and_says_so(asked: dict[str, object], param: str):
    with pytest.raises(ApiError) as refused:
        read(**asked)

    assert (refused.value.status, refused.value.param) == (400, param)
    assert str(refused.value).endswith(".")


def test_holds_for_the_longer_of_both_bodies():
    short, long = read(), read(input="é" * 100)

    assert short.request.endpoint is long.request.endpoint is Endpoint.RESPONSES
    assert short.request.path == "/v1/chat/completions"
    sent = len(b'{"model":"demo-chat","messages":[{"role":"user","content":"Hello"}]}')
    assert short.request.byte_count == sent > len(json.dumps(PLAIN))
    # As escapes they are six bytes long each, and two as they are sent.
    assert long.request.byte_count == len(json.dumps(PLAIN | {"input": "é" * 100})) > 600
    assert not read(
        input=[{"role": "user", "content": [{"type": "input_image", "image_url": PICTURE}]}]
    ).request.has_only_text


# --- Answers --------------------------------------------------------------------------------------


@settings(max_examples=CASES, deadline=None)
@given(answer=answers, cut=cuts)
def test_a_stream_adds_up_to_the_whole_answer(answer: Answer, cut: list[int]):
    reply = read(stream=True, metadata={"a": "b"})

    whole = json.loads(reply.whole(answer.whole(), HEADING))
    events = streamed(reply, answer.chunks(), cuts=cut, finish_reason=answer.finish_reason).events

    last = events[-1]
    assert last["type"] == f"response.{whole['status']}"
    assert last["response"] | {"completed_at": None} == whole | {"completed_at": None}
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    built: dict[int, str] = {}
    done: list[dict[str, Any]] = []
    for event in events[2:-1]:
        index = event["output_index"]
        if event["type"] == "response.output_item.added":
            assert index == len(built)
            assert index == len(done), "one item at a time"
            built[index] = ""
        elif event["type"].endswith(".delta"):
            assert event["item_id"] == whole["output"][index]["id"]
            built[index] += event["delta"]
        elif event["type"] == "response.output_item.done":
            done.append(event["item"])
    assert done == whole["output"]
    assert list(built.values()) == [
        item["arguments"] if item["type"] == "function_call" else item["content"][0]["text"] for item in done
    ]


def test_says_how_it_ended_and_what_it_cost():
    reply = read(instructions="Be brief.", temperature=0.5, tools=[FUNCTION], metadata={"a": "b"}, store=False)

    response = json.loads(reply.whole(Answer(text=["Hi"], reasoning=["Hm"]).whole(), HEADING))

    assert response["id"] == "resp_abc"
    assert (response["status"], response["store"]) == ("completed", False)
    assert response["output"][0]["content"] == [{"type": "reasoning_text", "text": "Hm"}]
    assert response["output"][1]["content"][0]["text"] == "Hi"
    assert response["usage"] == {
        "input_tokens": USAGE["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
        "output_tokens": 9,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 21,
        "cost": COST,
        "price_version": VERSIONS,
    }
    repeated = {"instructions": "Be brief.", "temperature": 0.5, "tools": [FUNCTION], "metadata": {"a": "b"}}
    assert {name: response[name] for name in repeated} == repeated


@pytest.mark.parametrize(
    ("finish_reason", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
def test_says_why_it_is_incomplete(finish_reason: str, reason: str):
    response = json.loads(read().whole(Answer(text=["Hi"], finish_reason=finish_reason).whole(), HEADING))

    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": reason})
    assert response["output"][0]["status"] == "incomplete"


def test_a_stream_that_breaks_off_has_failed_with_what_was_delivered():
    error = ApiError(502, "The model broke off.", code="upstream_cut", kind="server_error")
    raw = Answer(text=["one ", "two"]).chunks().rsplit(b"data:", 1)[0]

    heard = streamed(read(stream=True), raw, error=error, with_usage=False)

    failed = heard.events[-1]
    assert failed["type"] == "response.failed"
    response = failed["response"]
    assert response["error"] == {"code": "upstream_cut", "message": "The model broke off.", "type": "server_error"}
    assert response["output"][0]["status"] == "incomplete"
    assert response["output"][0]["content"][0]["text"] == "one two"
    # As billed, since the upstream counted nothing.
    assert (response["usage"]["input_tokens"], response["usage"]["output_tokens"]) == (12, 9)
    assert "response.output_item.done" not in {event["type"] for event in heard.events}


@pytest.mark.parametrize(
    ("status", "finish_reason", "told"),
    [
        (Status.COMPLETED, "stop", "completed"),
        (Status.COMPLETED, "length", "incomplete"),
        (Status.CUT, "", "incomplete"),
        (Status.CANCELLED, "", "incomplete"),
    ],
)
def test_a_repetition_hears_how_the_first_one_ended(status: Status, finish_reason: str, told: str):
    response = json.loads(replayed(read(), status, finish_reason).body)
    last = replayed(read(stream=True), status, finish_reason).events[-1]

    assert (response["status"], response["output"], response["id"]) == (told, [], "resp_abc")
    assert (response["usage"]["input_tokens"], response["usage"]["price_version"]) == (12, VERSIONS)
    assert last["type"] == f"response.{told}"
    assert last["response"]["usage"] == response["usage"]


def test_shows_log_probabilities_to_those_who_asked():
    told = {"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": []}
    raw = chunk({"choices": [{"delta": {"content": "Hi"}, "logprobs": {"content": [told]}}]})

    asked, unasked = (streamed(read(stream=True, **fields), raw).events for fields in ({"top_logprobs": 1}, {}))

    for events, expected in ((asked, [told]), (unasked, [])):
        deltas = [event for event in events if event["type"] == "response.output_text.delta"]
        assert [delta["logprobs"] for delta in deltas] == [expected]
        assert events[-1]["response"]["output"][0]["content"][0]["logprobs"] == expected
