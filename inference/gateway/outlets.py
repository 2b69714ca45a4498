"""Where streams go: server-sent events in OpenAI's dialect for programs, and in ours for the console's pages."""

from collections.abc import Mapping

import msgspec

from inference.gateway.answers import DONE, Event
from inference.gateway.asgi import Send, begin_stream
from inference.gateway.errors import ApiError
from inference.gateway.exchange import Summary
from inference.rating import usd_string


class EventStream:
    """A stream of server-sent events, whatever they say; the first one sends the headers before."""

    def __init__(self, send: Send, headers: Mapping[str, str]) -> None:
        self._send = send
        self._headers = headers
        self.has_begun = False

    async def _write(self, data: bytes, *, is_last: bool = False) -> None:
        if not self.has_begun:
            self.has_begun = True
            await begin_stream(self._send, self._headers)
        await self._send({"type": "http.response.body", "body": data, "more_body": not is_last})


class ProgramOutlet(EventStream):
    """Passes chunks through untouched; the usage chunk, with its cost, only to those who asked."""

    def __init__(self, send: Send, headers: Mapping[str, str], *, wants_usage: bool) -> None:
        super().__init__(send, headers)
        self._wants_usage = wants_usage

    async def send(self, events: list[Event]) -> None:
        await self._write(b"".join(event.raw for event in events))

    async def end(self, summary: Summary, usage: Event | None, error: ApiError | None) -> None:
        last = b""
        if error is not None:
            last = b"data: " + error.body() + b"\n\n"
        elif usage is not None and self._wants_usage:
            last = usage.priced(summary.cost, summary.price_version)
        await self._write(last + DONE, is_last=True)


class PageOutlet(EventStream):
    """Sends text as `delta` events and ends with one `done` event that says what it cost, or one `error` event."""

    def __init__(self, send: Send, headers: Mapping[str, str], *, request_id: str) -> None:
        super().__init__(send, headers)
        self._request_id = request_id

    async def send(self, events: list[Event]) -> None:
        texts = (event.text for event in events)
        await self._write(b"".join(named("delta", {"text": text}) for text in texts if text))

    async def end(self, summary: Summary, usage: Event | None, error: ApiError | None) -> None:
        tokens = summary.cost.tokens
        last = b""
        if error is not None:
            last = named("error", {"code": error.code, "message": str(error)})
        last += named(
            "done",
            {
                "request_id": self._request_id,
                "status": summary.status.value,
                "finish_reason": summary.finish_reason,
                "usage": {
                    "input_tokens": tokens.input,
                    "cached_input_tokens": tokens.cached_input,
                    "output_tokens": tokens.output,
                },
                "cost": usd_string(summary.cost.usd),
                "price_version": summary.price_version,
            },
        )
        await self._write(last, is_last=True)


def named(name: str, data: object) -> bytes:
    """Return an event that has a name; data becomes JSON."""
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"
