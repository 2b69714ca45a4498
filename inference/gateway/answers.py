"""What upstreams answer, read as far as counting needs it; everything else passes through unchanged."""

from dataclasses import dataclass, replace
from decimal import Decimal

import msgspec

from inference.gateway.offers import Cost
from inference.gateway.requests import UNREADABLE
from inference.rating import TokenCounts, usd_string

DONE = b"data: [DONE]\n\n"


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None


class Content(msgspec.Struct):
    """A message, or a piece of one. Anything in one of these fields is content."""

    content: object = None
    reasoning_content: object = None
    reasoning: object = None
    refusal: object = None
    tool_calls: object = None
    function_call: object = None
    audio: object = None

    @property
    def is_empty(self) -> bool:
        parts = (self.content, self.reasoning_content, self.reasoning, self.refusal)
        return not (any(parts) or self.tool_calls or self.function_call or self.audio)


class Choice(msgspec.Struct):
    delta: Content | None = None
    message: Content | None = None
    text: str | None = None
    finish_reason: str | None = None
    # Which of the asked texts ended the answer, where the upstream says so.
    stop_reason: object = None
    logprobs: msgspec.Raw = msgspec.Raw(b"null")

    @property
    def has_content(self) -> bool:
        part = self.delta or self.message
        return bool(self.text) or (part is not None and not part.is_empty)


class Chunk(msgspec.Struct):
    choices: list[Choice] = []
    usage: Usage | None = None
    error: object = None


class Answer(msgspec.Struct):
    choices: list[Choice] = []
    data: list[msgspec.Raw] = []
    usage: Usage | None = None

    @property
    def is_empty(self) -> bool:
        return not self.data and not any(choice.has_content for choice in self.choices)


type Fields = dict[str, msgspec.Raw]

_chunk = msgspec.json.Decoder(Chunk)
_answer = msgspec.json.Decoder(Answer)
_fields = msgspec.json.Decoder(Fields)
_usage_fields = msgspec.json.Decoder(dict[str, object] | None)


class Unreadable(Exception):
    """The upstream answered something that is not of the shape we know."""


def read_answer(body: bytes) -> tuple[Fields, Answer]:
    """Return a whole answer as it is and as we understand it. Raises Unreadable."""
    try:
        return _fields.decode(body), _answer.decode(body)
    except UNREADABLE as error:
        raise Unreadable from error


def counts_of(usage: Usage | None) -> TokenCounts | None:
    """Return the counted tokens, or None when the upstream did not say or said nonsense."""
    if usage is None or usage.prompt_tokens is None:
        return None
    cached = (usage.prompt_tokens_details.cached_tokens or 0) if usage.prompt_tokens_details else 0
    output = usage.completion_tokens or 0
    if cached < 0 or output < 0 or usage.prompt_tokens < cached:
        return None
    return TokenCounts(input=usage.prompt_tokens - cached, cached_input=cached, output=output)


def priced_usage(fields: Fields, cost: Decimal, price_version: dict[str, str]) -> Fields:
    """Return the answer's fields with what it cost, and by which prices, in its usage."""
    known = _usage_fields.decode(fields["usage"]) if "usage" in fields else None
    usage = {**(known or {}), "cost": usd_string(cost), "price_version": price_version}
    return fields | {"usage": msgspec.Raw(msgspec.json.encode(usage))}


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event: its bytes, and its chunk when it carries one that we can read."""

    raw: bytes
    chunk: Chunk | None
    is_done: bool = False

    @property
    def has_content(self) -> bool:
        return self.chunk is not None and any(choice.has_content for choice in self.chunk.choices)

    @property
    def is_usage_alone(self) -> bool:
        return self.chunk is not None and not self.chunk.choices and self.chunk.usage is not None

    @property
    def data(self) -> bytes:
        return _data_of(self.raw)

    @property
    def text(self) -> str:
        """The visible text of the first answer in a chunk."""
        if self.chunk is None or not self.chunk.choices:
            return ""
        choice = self.chunk.choices[0]
        content = choice.delta.content if choice.delta is not None else choice.text
        return content if isinstance(content, str) else ""

    def priced(self, cost: Cost, price_version: dict[str, str]) -> bytes:
        """Return the event with cost and price versions in its usage."""
        fields = _fields.decode(_data_of(self.raw))
        return b"data: " + msgspec.json.encode(priced_usage(fields, cost.usd, price_version)) + b"\n\n"

    def without_usage(self) -> "Event":
        """Return the event without the running count that its receiver did not ask for."""
        if self.chunk is None or self.chunk.usage is None:
            return self
        fields = _fields.decode(_data_of(self.raw))
        del fields["usage"]
        return replace(self, raw=b"data: " + msgspec.json.encode(fields) + b"\n\n")


class EventReader:
    """Cuts a stream of bytes into events."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that are complete now."""
        text = (self._rest + data).replace(b"\r\n", b"\n")
        *whole, self._rest = text.split(b"\n\n")
        return [_event_of(raw + b"\n\n") for raw in whole if raw.strip()]


def _event_of(raw: bytes) -> Event:
    data = _data_of(raw)
    if data == b"[DONE]":
        return Event(raw, None, is_done=True)
    try:
        return Event(raw, _chunk.decode(data))
    except UNREADABLE:
        # A comment, or something newer than we are: not ours to judge.
        return Event(raw, None)


def _data_of(raw: bytes) -> bytes:
    lines = (line for line in raw.split(b"\n") if line.startswith(b"data:"))
    return b"\n".join(line[5:].strip() for line in lines)


class Tally:
    """What of a stream was delivered: the last usage seen, and the content chunks, a lower bound of its tokens."""

    def __init__(self) -> None:
        self.usage: TokenCounts | None = None
        self.content_chunks = 0
        self.finish_reason = ""
        self.is_done = False
        self.has_error = False

    def count(self, event: Event) -> None:
        """Count an event that was sent on."""
        self.is_done = self.is_done or event.is_done
        if event.chunk is None:
            return
        self.has_error = self.has_error or event.chunk.error is not None
        self.usage = counts_of(event.chunk.usage) or self.usage
        self.content_chunks += event.has_content
        for choice in event.chunk.choices:
            self.finish_reason = choice.finish_reason or self.finish_reason

    @property
    def is_complete(self) -> bool:
        return not self.has_error and (self.is_done or bool(self.finish_reason))

    @property
    def tokens(self) -> TokenCounts:
        """The tokens to bill: counted by the upstream, else the chunks delivered, and nothing for no content."""
        if not self.content_chunks:
            return TokenCounts()
        return self.usage or TokenCounts(output=self.content_chunks)
