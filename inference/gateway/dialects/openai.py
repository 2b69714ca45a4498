"""OpenAI's older addresses, which upstreams speak themselves: everything passes through."""

from collections.abc import Mapping
from dataclasses import dataclass

from inference.gateway.asgi import Scope, Send, header
from inference.gateway.dialects import Heading
from inference.gateway.errors import ApiError
from inference.gateway.exchange import Outlet
from inference.gateway.outlets import ProgramOutlet
from inference.gateway.repeats import replay
from inference.gateway.requests import Endpoint, ModelRequest, parse_request
from inference.models import Receipt


class Manners:
    """What all addresses in OpenAI's shape have in common."""

    def authorization(self, scope: Scope) -> str:
        return header(scope, b"authorization")

    def headers(self, request_id: str) -> dict[str, str]:
        return {"x-request-id": request_id}

    def error(self, error: ApiError, request_id: str) -> bytes:
        return error.body()

    def refusal(self, status: int, body: bytes, request_id: str) -> bytes:
        return body


@dataclass(frozen=True, slots=True)
class PlainReply:
    request: ModelRequest

    def whole(self, answer: bytes, heading: Heading) -> bytes:
        return answer

    def outlet(self, send: Send, headers: Mapping[str, str], heading: Heading) -> Outlet:
        return ProgramOutlet(send, headers, wants_usage=self.request.wants_usage)

    async def replay(self, earlier: Receipt, headers: Mapping[str, str], send: Send) -> None:
        await replay(earlier, self.request, headers, send)


class PlainDialect(Manners):
    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def read(self, body: bytes) -> PlainReply:
        return PlainReply(parse_request(self._endpoint, body))
