"""A request and its answer, between the HTTP server and what answers."""

import json
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Request:
    """method: in small letters. headers: names in small letters. peer: the address at the other end."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    peer: str

    @property
    def bearer(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")


@dataclass(frozen=True, slots=True)
class Answer:
    """status 0 closes the connection without an answer."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def json_answer(status: int, content: object, headers: dict[str, str] | None = None) -> Answer:
    body = json.dumps(content).encode()
    return Answer(status, body, {"Content-Type": "application/json", **(headers or {})})


def redirect(url: str) -> Answer:
    """Lead a browser on, whatever the method was that brought it."""
    return Answer(303, headers={"Location": url})
