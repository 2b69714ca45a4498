"""The little of ASGI that the gateway speaks."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import cache
from typing import Any

from django.conf import settings

from inference.gateway.errors import ApiError
from portal.lib.addresses import client_address

# ASGI's own types are open dictionaries.
type Scope = dict[str, Any]
type Receive = Callable[[], Awaitable[Mapping[str, Any]]]
type Send = Callable[[Mapping[str, Any]], Awaitable[None]]
type Application = Callable[[Scope, Receive, Send], Awaitable[None]]
type Headers = list[tuple[bytes, bytes]]

MAXIMUM_BODY_BYTES = 8 * 1024 * 1024


def header(scope: Scope, name: bytes) -> str:
    """Return a request header's value, or an empty string; `name` in lower case."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value).decode("latin-1")
    return ""


def address_of(scope: Scope, *, proxy_count: int) -> str:
    """Return the address of the client, or "" when it cannot be known. proxy_count: of our own, in front of us."""
    peer = scope.get("client")
    forwarded = [bytes(value).decode("latin-1") for key, value in scope["headers"] if key == b"x-forwarded-for"]
    return client_address(peer[0] if peer else "", ",".join(forwarded), proxy_count=proxy_count)


async def read_body(scope: Scope, receive: Receive) -> bytes:
    """Return the whole body. Raises ApiError 413 as soon as it is known to be too large."""
    announced = header(scope, b"content-length")
    if announced.isdigit() and int(announced) > MAXIMUM_BODY_BYTES:
        raise _too_large()
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        size += len(part)
        if size > MAXIMUM_BODY_BYTES:
            raise _too_large()
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


class ClientGone(Exception):
    """The client closed its connection; nobody reads an answer."""


def _too_large() -> ApiError:
    return ApiError(
        413,
        f"The body may have {MAXIMUM_BODY_BYTES // 1024 // 1024} MiB. Send less, or split the request.",
        code="request_too_large",
        headers={"connection": "close"},
    )


def encode_headers(headers: Iterable[tuple[str, str]]) -> Headers:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]


@cache
def house_headers(hsts_seconds: int) -> Headers:
    """Return what every answer carries, as Django's middleware adds it to pages: not to be changed."""
    headers = [
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"cross-origin-resource-policy", b"same-origin"),
    ]
    if hsts_seconds:
        headers.append((b"strict-transport-security", b"max-age=%d; includeSubDomains; preload" % hsts_seconds))
    return headers


# Proxies must not collect a stream before they pass it on.
_STREAM = [(b"content-type", b"text/event-stream"), (b"x-accel-buffering", b"no")]


async def begin_stream(send: Send, headers: Mapping[str, str]) -> None:
    """Send what comes before server-sent events."""
    lines = encode_headers(headers.items()) + house_headers(settings.SECURE_HSTS_SECONDS) + _STREAM
    await send({"type": "http.response.start", "status": 200, "headers": lines})


async def send_answer(send: Send, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Send a whole JSON answer."""
    lines = encode_headers(headers.items()) + house_headers(settings.SECURE_HSTS_SECONDS)
    lines += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})
