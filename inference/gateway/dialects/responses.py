"""/v1/responses: OpenAI's newer shape, for every model, without any state."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from inference.gateway.answers import Event
from inference.gateway.asgi import Send, send_answer
from inference.gateway.dialects import Heading
from inference.gateway.dialects.blocks import Block, Blocks, Kind, Step, What
from inference.gateway.dialects.chat import NULL
from inference.gateway.dialects.ends import End, Usage, end_of, read_whole, summary_of
from inference.gateway.dialects.openai import Manners
from inference.gateway.dialects.responses_reader import read_body
from inference.gateway.errors import ApiError
from inference.gateway.exchange import Outlet, Summary
from inference.gateway.outlets import EventStream, named
from inference.gateway.requests import Fields, ModelRequest
from inference.models import Receipt
from inference.rating import usd_string

type Shown = dict[str, object]

# What an answer repeats of its request, and what it says where the request said nothing.
_REPEATED: Mapping[str, object] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "user": None,
}
_STATELESS: Shown = {"background": False, "previous_response_id": None, "store": False, "truncation": "disabled"}
# Why an answer is not whole, by the finish reason of a chat completion.
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_ID_PREFIXES = {Kind.REASONING: "rs", Kind.TEXT: "msg", Kind.REFUSAL: "msg", Kind.CALL: "fc"}


class ResponseDialect(Manners):
    def read(self, body: bytes) -> "ResponseReply":
        fields, asked, request = read_body(body)
        return ResponseReply(request, _repeated(fields), asked.wants_logprobs)


def _repeated(fields: Fields) -> Shown:
    return {
        name: fields[name] if fields.get(name, NULL) != NULL else default for name, default in _REPEATED.items()
    } | _STATELESS


@dataclass(frozen=True, slots=True)
class ResponseReply:
    request: ModelRequest
    repeated: Shown
    wants_logprobs: bool

    def whole(self, answer: bytes, heading: Heading) -> bytes:
        choice, end = read_whole(answer)
        writer = _Writer(self, heading)
        if choice is not None:
            writer.say(writer.blocks.feed(choice, is_whole=True))
            writer.say(writer.blocks.end())
        return msgspec.json.encode(writer.response(end))

    def outlet(self, send: Send, headers: Mapping[str, str], heading: Heading) -> Outlet:
        return ResponseOutlet(send, headers, _Writer(self, heading))

    async def replay(self, earlier: Receipt, headers: Mapping[str, str], send: Send) -> None:
        summary = summary_of(earlier)
        writer = _Writer(self, Heading(earlier.request_id, earlier.requested_at, earlier.served_model.name))
        headers = {**headers, "idempotent-replayed": "true", "x-cost": usd_string(summary.cost.usd)}
        if self.request.is_stream:
            await ResponseOutlet(send, headers, writer).end(summary, None, None)
        else:
            body = msgspec.json.encode(writer.response(end_of(summary, None)))
            await send_answer(send, 200, headers, body)


class ResponseOutlet(EventStream):
    """Sends every step of an answer as the event that it is in this dialect."""

    def __init__(self, send: Send, headers: Mapping[str, str], writer: "_Writer") -> None:
        super().__init__(send, headers)
        self._writer = writer

    async def send(self, events: list[Event]) -> None:
        writer = self._writer
        said = b"" if self.has_begun else writer.opening()
        for event in events:
            for choice in event.chunk.choices[:1] if event.chunk else ():
                said += writer.say(writer.blocks.feed(choice))
        if said:
            await self._write(said)

    async def end(self, summary: Summary, usage: Event | None, error: ApiError | None) -> None:
        writer = self._writer
        end = end_of(summary, usage)
        said = b"" if self.has_begun else writer.opening()
        await self._write(said + writer.closing(end, error), is_last=True)


class _Writer:
    """Writes one answer: its events while it comes, and the response as it stands."""

    def __init__(self, reply: ResponseReply, heading: Heading) -> None:
        self._reply = reply
        self._heading = heading
        self._number = 0
        self.blocks = Blocks(heading.named("call"))
        self._is_over = False
        # Whether the last block ends where the model would have gone on.
        self._is_cut_off = False

    # --- Events -----------------------------------------------------------------------------------

    def opening(self) -> bytes:
        begun = self._shown("in_progress")
        return self._event("response.created", response=begun) + self._event("response.in_progress", response=begun)

    def say(self, steps: Iterator[Step]) -> bytes:
        return b"".join(event for step in steps for event in self._events(step))

    def closing(self, end: End, error: ApiError | None) -> bytes:
        """Return the last events. error: what broke the answer off; what had begun then never ends."""
        self._is_cut_off = end.finish_reason in _INCOMPLETE
        said = self.say(self.blocks.end()) if error is None else b""
        response = self.response(end, error)
        return said + self._event(f"response.{response['status']}", response=response)

    def _events(self, step: Step) -> Iterator[bytes]:
        block = step.block
        match step.what:
            case What.BEGAN:
                yield self._event("response.output_item.added", output_index=block.index, item=self._item(block))
                if block.kind is not Kind.CALL:
                    yield self._of_part("response.content_part.added", block, part=self._part(block))
            case What.GREW:
                yield self._grew(step)
            case What.ENDED:
                yield self._ended(block)
                if block.kind is not Kind.CALL:
                    yield self._of_part("response.content_part.done", block, part=self._part(block))
                yield self._event("response.output_item.done", output_index=block.index, item=self._item(block))

    def _grew(self, step: Step) -> bytes:
        block = step.block
        match block.kind:
            case Kind.CALL:
                return self._of_item("response.function_call_arguments.delta", block, delta=step.text)
            case Kind.TEXT:
                logprobs = step.logprobs if self._reply.wants_logprobs else ()
                return self._of_part("response.output_text.delta", block, delta=step.text, logprobs=logprobs)
            case Kind.REASONING:
                return self._of_part("response.reasoning_text.delta", block, delta=step.text)
            case Kind.REFUSAL:
                return self._of_part("response.refusal.delta", block, delta=step.text)

    def _ended(self, block: Block) -> bytes:
        match block.kind:
            case Kind.CALL:
                return self._of_item(
                    "response.function_call_arguments.done", block, name=block.name, arguments=block.text
                )
            case Kind.TEXT:
                logprobs = self._logprobs(block)
                return self._of_part("response.output_text.done", block, text=block.text, logprobs=logprobs)
            case Kind.REASONING:
                return self._of_part("response.reasoning_text.done", block, text=block.text)
            case Kind.REFUSAL:
                return self._of_part("response.refusal.done", block, refusal=block.text)

    def _of_part(self, event: str, block: Block, /, **fields: object) -> bytes:
        return self._of_item(event, block, content_index=0, **fields)

    def _of_item(self, event: str, block: Block, /, **fields: object) -> bytes:
        return self._event(event, item_id=self._id(block), output_index=block.index, **fields)

    def _event(self, event: str, /, **fields: object) -> bytes:
        numbered = {"type": event, "sequence_number": self._number, **fields}
        self._number += 1
        return named(event, numbered)

    # --- The response -----------------------------------------------------------------------------

    def response(self, end: End, error: ApiError | None = None) -> Shown:
        """Return the response as it ended. error: what broke it off."""
        reason = _INCOMPLETE.get(end.finish_reason)
        self._is_over, self._is_cut_off = True, reason is not None
        is_whole = reason is None and not end.is_cut
        status = "failed" if error is not None else "completed" if is_whole else "incomplete"
        response = self._shown(status) | {
            "output": [self._item(block) for block in self.blocks.all],
            "usage": _usage(end.usage),
        }
        if end.service_tier is not None:
            response["service_tier"] = end.service_tier
        if error is not None:
            response["error"] = {"code": error.code, "message": str(error), "type": error.kind}
        elif reason is not None:
            response["incomplete_details"] = {"reason": reason}
        elif is_whole:
            response["completed_at"] = int(datetime.now(UTC).timestamp())
        return response

    def _shown(self, status: str) -> Shown:
        return {
            "id": self._heading.named("resp"),
            "object": "response",
            "created_at": int(self._heading.requested_at.timestamp()),
            "status": status,
            "completed_at": None,
            "error": None,
            "incomplete_details": None,
            "model": self._heading.model,
            "output": [],
            "usage": None,
            **self._reply.repeated,
        }

    def _item(self, block: Block) -> Shown:
        """Return a block as the item that it is now."""
        item: Shown = {"id": self._id(block), "status": self._status(block)}
        content = [self._part(block)] if block.pieces else []
        match block.kind:
            case Kind.CALL:
                called = {"call_id": block.call_id, "name": block.name, "arguments": block.text}
                return item | {"type": "function_call", **called}
            case Kind.REASONING:
                return item | {"type": "reasoning", "summary": [], "content": content}
            case Kind.TEXT | Kind.REFUSAL:
                return item | {"type": "message", "role": "assistant", "content": content}

    def _status(self, block: Block) -> str:
        if not block.is_whole:
            return "incomplete" if self._is_over else "in_progress"
        return "incomplete" if self._is_cut_off and block is self.blocks.all[-1] else "completed"

    def _part(self, block: Block) -> Shown:
        match block.kind:
            case Kind.REASONING:
                return {"type": "reasoning_text", "text": block.text}
            case Kind.REFUSAL:
                return {"type": "refusal", "refusal": block.text}
            case _:
                logprobs = self._logprobs(block)
                return {"type": "output_text", "text": block.text, "annotations": [], "logprobs": logprobs}

    def _logprobs(self, block: Block) -> list[object]:
        return block.logprobs if self._reply.wants_logprobs else []

    def _id(self, block: Block) -> str:
        return f"{self._heading.named(_ID_PREFIXES[block.kind])}_{block.index}"


def _usage(usage: Usage) -> Shown:
    return {
        "input_tokens": usage.input,
        "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input + usage.output,
        **usage.priced,
    }
