"""/v1/messages: Anthropic's shape, for every model."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec

from inference.gateway.answers import Event
from inference.gateway.asgi import Scope, Send, header, send_answer
from inference.gateway.dialects import Heading
from inference.gateway.dialects.blocks import Block, Blocks, Kind, Step, What
from inference.gateway.dialects.ends import End, Usage, end_of, read_whole, stop_text_of, summary_of
from inference.gateway.dialects.messages_reader import read_body
from inference.gateway.errors import ApiError
from inference.gateway.exchange import Outlet, Summary
from inference.gateway.outlets import EventStream, named
from inference.gateway.requests import UNREADABLE, ModelRequest
from inference.models import Receipt
from inference.rating import usd_string

type Shown = dict[str, object]

# What kind of error a status is there; 529 is never answered, since what we cannot serve is 503 everywhere.
_ERRORS = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
}
_FIRST_SERVER_ERROR = 500
# Why an answer ended, by the finish reason of a chat completion; every other means that the turn is over.
_STOP_REASONS = {
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
# What the vendor asks clients to send arguments under that are not JSON: so they know it.
_NOT_JSON = "INVALID_JSON"


class _TheirError(msgspec.Struct):
    message: str = ""


class _TheirRefusal(msgspec.Struct):
    error: _TheirError | None = None
    message: str = ""


class MessageDialect:
    def authorization(self, scope: Scope) -> str:
        """Return the Authorization header, or what x-api-key means in one; the first wins where both are sent."""
        key = header(scope, b"x-api-key")
        return header(scope, b"authorization") or (f"Bearer {key}" if key else "")

    def headers(self, request_id: str) -> dict[str, str]:
        return {"x-request-id": request_id, "request-id": request_id}

    def read(self, body: bytes) -> "MessageReply":
        asked, request = read_body(body)
        return MessageReply(request, frozenset(asked.stop_sequences or ()))

    def error(self, error: ApiError, request_id: str) -> bytes:
        return msgspec.json.encode(_error(error) | {"request_id": request_id})

    def refusal(self, status: int, body: bytes, request_id: str) -> bytes:
        try:
            theirs = msgspec.json.decode(body, type=_TheirRefusal)
        except UNREADABLE:
            theirs = _TheirRefusal()
        message = (theirs.error.message if theirs.error else "") or theirs.message or "The model refused the request."
        told = {"type": _error_type(status), "message": message}
        return msgspec.json.encode({"type": "error", "error": told, "request_id": request_id})


def _error_type(status: int) -> str:
    other = "api_error" if status >= _FIRST_SERVER_ERROR else "invalid_request_error"
    return _ERRORS.get(status, other)


def _error(error: ApiError) -> Shown:
    details = {"error_code": error.code, "param": error.param, **error.details}
    told = {
        "type": _error_type(error.status),
        "message": str(error),
        "details": {name: value for name, value in details.items() if value is not None},
    }
    return {"type": "error", "error": told}


@dataclass(frozen=True, slots=True)
class MessageReply:
    request: ModelRequest
    stop_texts: frozenset[str]

    def whole(self, answer: bytes, heading: Heading) -> bytes:
        choice, end = read_whole(answer)
        blocks = Blocks(heading.named("toolu"))
        if choice is not None:
            for _ in (*blocks.feed(choice, is_whole=True), *blocks.end()):
                pass
        return msgspec.json.encode(self.message(heading, blocks, end))

    def outlet(self, send: Send, headers: Mapping[str, str], heading: Heading) -> Outlet:
        return MessageOutlet(send, headers, self, heading)

    async def replay(self, earlier: Receipt, headers: Mapping[str, str], send: Send) -> None:
        summary = summary_of(earlier)
        heading = Heading(earlier.request_id, earlier.requested_at, earlier.served_model.name)
        headers = {**headers, "idempotent-replayed": "true", "x-cost": usd_string(summary.cost.usd)}
        if self.request.is_stream:
            await MessageOutlet(send, headers, self, heading).end(summary, None, None)
        else:
            message = self.message(heading, Blocks(""), end_of(summary, None))
            await send_answer(send, 200, headers, msgspec.json.encode(message))

    def message(self, heading: Heading, blocks: Blocks, end: End | None) -> Shown:
        """Return the message as it is now. end: None while it goes on."""
        ended = self.ended(blocks, end) if end is not None else {"stop_reason": None, "stop_sequence": None}
        return {
            "id": heading.named("msg"),
            "type": "message",
            "role": "assistant",
            "model": heading.model,
            "content": [_shown(block) for block in blocks.all],
            **ended,
            "usage": _usage(end.usage) if end is not None else _NOTHING_USED,
        }

    def ended(self, blocks: Blocks, end: End) -> Shown:
        """Return why an answer ended."""
        if end.stop_text in self.stop_texts:
            return {"stop_reason": "stop_sequence", "stop_sequence": end.stop_text}
        if end.is_cut:
            return {"stop_reason": None, "stop_sequence": None}
        # Some servers say "stop" where the model waits for its tools.
        usual = "tool_use" if blocks.has_calls else "end_turn"
        return {"stop_reason": _STOP_REASONS.get(end.finish_reason, usual), "stop_sequence": None}


class MessageOutlet(EventStream):
    """Sends every step of an answer as the event that it is in this dialect."""

    def __init__(self, send: Send, headers: Mapping[str, str], reply: MessageReply, heading: Heading) -> None:
        super().__init__(send, headers)
        self._reply = reply
        self._heading = heading
        self._blocks = Blocks(heading.named("toolu"))
        self._stop_text: str | None = None

    async def send(self, events: list[Event]) -> None:
        said = self._opening()
        for event in events:
            for choice in event.chunk.choices[:1] if event.chunk else ():
                said += _say(self._blocks.feed(choice))
                self._stop_text = stop_text_of(choice) or self._stop_text
        if said:
            await self._write(said)

    async def end(self, summary: Summary, usage: Event | None, error: ApiError | None) -> None:
        said = self._opening()
        if error is not None:
            said += named("error", _error(error))
        else:
            end = end_of(summary, usage, self._stop_text)
            said += _say(self._blocks.end())
            said += _event("message_delta", delta=self._reply.ended(self._blocks, end), usage=_usage(end.usage))
            said += _event("message_stop")
        await self._write(said, is_last=True)

    def _opening(self) -> bytes:
        if self.has_begun:
            return b""
        message = self._reply.message(self._heading, self._blocks, None)
        return _event("message_start", message=message) + _event("ping")


def _say(steps: Iterator[Step]) -> bytes:
    return b"".join(_told(step) for step in steps)


def _told(step: Step) -> bytes:
    index = step.block.index
    match step.what:
        case What.BEGAN:
            return _event("content_block_start", index=index, content_block=_begun(step.block))
        case What.GREW:
            return _event("content_block_delta", index=index, delta=_delta(step))
        case What.ENDED:
            return _event("content_block_stop", index=index)


def _begun(block: Block) -> Shown:
    match block.kind:
        case Kind.REASONING:
            return {"type": "thinking", "thinking": "", "signature": ""}
        case Kind.CALL:
            return {"type": "tool_use", "id": block.call_id, "name": block.name, "input": {}}
        case Kind.TEXT | Kind.REFUSAL:
            return {"type": "text", "text": ""}


def _delta(step: Step) -> Shown:
    match step.block.kind:
        case Kind.REASONING:
            return {"type": "thinking_delta", "thinking": step.text}
        case Kind.CALL:
            return {"type": "input_json_delta", "partial_json": step.text}
        case Kind.TEXT | Kind.REFUSAL:
            return {"type": "text_delta", "text": step.text}


def _shown(block: Block) -> Shown:
    """Return a whole block."""
    match block.kind:
        case Kind.REASONING:
            return _begun(block) | {"thinking": block.text}
        case Kind.CALL:
            return _begun(block) | {"input": _input(block.text)}
        case Kind.TEXT | Kind.REFUSAL:
            return {"type": "text", "text": block.text}


def _input(arguments: str) -> object:
    """Return the arguments of a call as the object that they must be here, whatever the model wrote."""
    if not arguments.strip():
        return {}
    try:
        return msgspec.json.decode(arguments, type=dict[str, object])
    except UNREADABLE:
        return {_NOT_JSON: arguments}


def _event(event: str, /, **fields: object) -> bytes:
    return named(event, {"type": event, **fields})


_NOTHING_USED: Shown = {
    "input_tokens": 0,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "output_tokens": 0,
}


def _usage(usage: Usage) -> Shown:
    return _NOTHING_USED | {
        "input_tokens": usage.input - usage.cached,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.output,
        "output_tokens_details": {"thinking_tokens": usage.reasoning},
        **usage.priced,
    }
