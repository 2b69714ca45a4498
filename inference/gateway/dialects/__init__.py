"""The ways in which programs speak to a model: each address has one.

A dialect reads a request into what upstreams speak, which is chat completions, and writes what they answer in its own
words. What lies between is the same for all: keys, limits, holds, counting, receipts. The laws of the translations:
docs/algorithms/gateway.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from inference.gateway.asgi import Scope, Send
from inference.gateway.errors import ApiError
from inference.gateway.exchange import Outlet
from inference.gateway.requests import ModelRequest
from inference.models import Receipt


@dataclass(frozen=True, slots=True)
class Heading:
    """What stands over an answer: our id of the request, when it came, and the model as the client named it."""

    request_id: str
    requested_at: datetime
    model: str

    def named(self, prefix: str) -> str:
        """Return an id for the answer or a part of it, by which its receipt can be found."""
        return f"{prefix}_{self.request_id.removeprefix('req_')}"


class Reply(Protocol):
    """One request as its dialect read it, and how it is answered."""

    @property
    def request(self) -> ModelRequest: ...

    def whole(self, answer: bytes, heading: Heading) -> bytes:
        """Return the body of a whole answer. answer: a chat completion with its cost, as `Exchange.answer` gives it."""
        ...

    def outlet(self, send: Send, headers: Mapping[str, str], heading: Heading) -> Outlet:
        """Return where the stream of the answer goes."""
        ...

    async def replay(self, earlier: Receipt, headers: Mapping[str, str], send: Send) -> None:
        """Answer a repetition with the receipt of the first request: what it came to, but not what it said."""
        ...


class Dialect(Protocol):
    """How an address is spoken to and speaks."""

    def authorization(self, scope: Scope) -> str:
        """Return what stands for an Authorization header, or an empty string."""
        ...

    def headers(self, request_id: str) -> dict[str, str]:
        """Return what every answer carries. request_id: as the client is shown it."""
        ...

    def read(self, body: bytes) -> Reply:
        """Check a body. Raises ApiError 400 that names the field."""
        ...

    def error(self, error: ApiError, request_id: str) -> bytes:
        """Return the body of a refusal of ours."""
        ...

    def refusal(self, status: int, body: bytes, request_id: str) -> bytes:
        """Return the body of a refusal of the upstream's."""
        ...
