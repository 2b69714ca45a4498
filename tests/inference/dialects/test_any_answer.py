"""Whatever an upstream answers, every dialect can tell it: nobody pays for an answer that we failed over."""

import json
import os
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from inference.gateway.answers import Unreadable, priced_usage, read_answer
from inference.gateway.dialects.addresses import DIALECTS
from inference.gateway.upstream import UpstreamCut
from tests.inference.dialects.spoken import HEADING, VERSIONS, chunk, streamed

CASES = 3_000 if os.environ.get("PROVE") else 40
BODIES = {
    "/v1/responses": {"model": "m", "input": "x", "top_logprobs": 1},
    "/v1/messages": {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]},
}

words = st.text(max_size=5)
anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**60) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
calls = st.lists(
    anything
    | st.fixed_dictionaries(
        {},
        optional={
            "index": anything | st.integers(0, 2),
            "id": anything,
            "function": anything | st.fixed_dictionaries({}, optional={"name": anything, "arguments": anything}),
        },
    ),
    max_size=3,
)
parts = st.fixed_dictionaries(
    {},
    optional={
        "content": anything | st.lists(st.fixed_dictionaries({"type": words, "text": anything}), max_size=2),
        "reasoning_content": anything,
        "reasoning": anything,
        "refusal": anything,
        "tool_calls": anything | calls,
    },
)
usages = st.fixed_dictionaries(
    {"prompt_tokens": st.integers(-1, 9), "completion_tokens": st.none() | st.integers(-1, 9)},
    optional={
        "prompt_tokens_details": st.none() | st.fixed_dictionaries({"cached_tokens": st.none() | st.integers(-1, 9)}),
        "completion_tokens_details": anything,
    },
)
answers = st.fixed_dictionaries(
    {"usage": st.none() | usages},
    optional={
        "service_tier": anything,
        "choices": st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "message": parts,
                    "delta": parts,
                    "finish_reason": st.none() | words,
                    "stop_reason": anything,
                    "logprobs": anything | st.fixed_dictionaries({"content": anything}),
                },
            ),
            max_size=2,
        ),
    },
)


@pytest.mark.parametrize("path", BODIES)
@settings(max_examples=CASES, deadline=None)
@given(answer=answers)
def test_tells_any_answer_that_is_charged(path: str, answer: dict[str, Any]):
    body = json.dumps(answer).encode()
    try:
        fields, _ = read_answer(body)
    except Unreadable:
        # Of such an answer nothing is charged.
        assume(False)
    priced = msgspec.json.encode(priced_usage(fields, Decimal("0.01"), VERSIONS))
    reply = DIALECTS[path].read(json.dumps(BODIES[path]).encode())

    told = json.loads(reply.whole(priced, HEADING))
    try:
        heard = streamed(reply, chunk(answer) + chunk(answer))
    except UpstreamCut:
        # A call that goes on after its end: what was delivered before is charged, and that it broke off is said.
        pass
    else:
        assert heard.is_over

    assert told["usage"]["cost"] == "0.01"
