"""Answers of an upstream, whole and in chunks, and what a dialect makes of both."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from catalog.models import ServedModel
from inference.gateway.answers import EventReader
from inference.gateway.dialects import Heading, Reply
from inference.gateway.errors import ApiError
from inference.gateway.exchange import Status, Summary
from inference.gateway.offers import Cost
from inference.models import Receipt
from inference.rating import TokenCounts

HEADING = Heading("req_abc", datetime(2026, 11, 26, 6, tzinfo=UTC), "demo-chat")
VERSIONS = {"input": "price_a", "output": "price_b"}
USAGE = {
    "prompt_tokens": 12,
    "completion_tokens": 9,
    "total_tokens": 21,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 3},
}
COST = "0.000017"

type Message = dict[str, Any]


@dataclass
class Answer:
    """What a model says. pieces: how each text is cut into chunks."""

    reasoning: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    calls: list[tuple[str, list[str]]] = field(default_factory=list)
    finish_reason: str = "stop"

    def whole(self) -> bytes:
        """Return the chat completion as the exchange gives it."""
        message: Message = {"role": "assistant", "content": "".join(self.text) or None}
        if self.reasoning:
            message["reasoning_content"] = "".join(self.reasoning)
        if self.calls:
            message["tool_calls"] = [
                {"id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": "".join(pieces)}}
                for n, (name, pieces) in enumerate(self.calls)
            ]
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
        usage = USAGE | {"cost": COST, "price_version": VERSIONS}
        return json.dumps({"id": "x", "model": "demo-chat", "choices": [choice], "usage": usage}).encode()

    def chunks(self) -> bytes:
        """Return the stream up to its end, without the chunk of the usage."""
        deltas: list[Message] = [{"role": "assistant", "content": ""}]
        deltas += [{"reasoning_content": piece} for piece in self.reasoning]
        deltas += [{"content": piece} for piece in self.text]
        for number, (name, pieces) in enumerate(self.calls):
            head = {"index": number, "id": f"call_{number}", "type": "function"}
            deltas.append({"tool_calls": [head | {"function": {"name": name, "arguments": ""}}]})
            deltas += [{"tool_calls": [{"index": number, "function": {"arguments": piece}}]} for piece in pieces]
        choices: list[Message] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        choices.append({"index": 0, "delta": {}, "finish_reason": self.finish_reason})
        return b"".join(chunk({"choices": [choice]}) for choice in choices)


def chunk(fields: Mapping[str, object]) -> bytes:
    return b"data: " + json.dumps({"id": "x", "object": "chat.completion.chunk", **fields}).encode() + b"\n\n"


def summary(finish_reason: str, status: Status = Status.COMPLETED) -> Summary:
    cost = Cost(TokenCounts(8, 4, 9), Decimal(COST), 17_003, None, None, None)
    return Summary(status, cost, finish_reason, VERSIONS)


@dataclass
class Heard:
    """What a client received."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    is_over: bool = False

    async def send(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            assert not self.is_over
            self.body += message["body"]
            self.is_over = not message.get("more_body", False)

    @property
    def events(self) -> list[Message]:
        """Return the events' data; each name is also its data's type."""
        found = []
        for event in self.body.decode().split("\n\n"):
            if event:
                name, data = event.split("\n")
                decoded = json.loads(data.removeprefix("data: "))
                assert name == f"event: {decoded['type']}"
                found.append(decoded)
        return found


def streamed(
    reply: Reply,
    raw: bytes,
    *,
    cuts: Iterable[int] = (),
    finish_reason: str = "stop",
    error: ApiError | None = None,
    with_usage: bool = True,
) -> Heard:
    """Return what a client hears of a stream that arrives cut at these bytes. error: what breaks it off."""
    heard = Heard()

    async def run() -> None:
        outlet = reply.outlet(heard.send, {"x-request-id": "req_abc"}, HEADING)
        reader = EventReader()
        places = sorted({0, len(raw), *(cut % (len(raw) + 1) for cut in cuts)})
        for start, end in pairwise(places):
            if events := reader.feed(raw[start:end]):
                await outlet.send(events)
        counted = EventReader().feed(chunk({"choices": [], "usage": USAGE}))[0] if with_usage else None
        await outlet.end(summary(finish_reason), counted, error)

    asyncio.run(run())
    return heard


def replayed(reply: Reply, status: Status, finish_reason: str) -> Heard:
    """Return what a client hears that repeats a request which ended so."""
    heard = Heard()
    earlier = Receipt(
        request_id=HEADING.request_id,
        requested_at=HEADING.requested_at,
        served_model=ServedModel(name=HEADING.model),
        status=status,
        finish_reason=finish_reason,
        input_tokens=8,
        cached_input_tokens=4,
        output_tokens=9,
        input_price_id="price_a",
        output_price_id="price_b",
        cost_usd=Decimal(COST),
    )
    asyncio.run(reply.replay(earlier, {"x-request-id": "req_later"}, heard.send))
    assert heard.headers["idempotent-replayed"] == "true"
    assert heard.headers["x-cost"] == COST
    return heard


# Calls have arguments that are JSON, cut anywhere.
_texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=12)
_pieces = st.lists(_texts, max_size=4)


@st.composite
def _arguments(draw: st.DrawFn) -> list[str]:
    text = json.dumps(draw(st.dictionaries(_texts, st.integers() | _texts | st.none(), max_size=2)))
    place = draw(st.integers(0, len(text)))
    return [piece for piece in (text[:place], text[place:]) if piece]


answers = st.builds(
    Answer,
    reasoning=_pieces,
    text=_pieces,
    calls=st.lists(st.tuples(_texts, _arguments()), max_size=3),
    finish_reason=st.sampled_from(["stop", "length", "tool_calls", "content_filter"]),
)
cuts = st.lists(st.integers(0, 10_000), max_size=6)
