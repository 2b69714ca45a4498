"""Ask the gateway's playground stream from a view, for readers without JavaScript: one request, one whole answer."""

from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

import msgspec
from django.conf import settings
from django.http import HttpRequest
from django.middleware.csrf import get_token

TIMEOUT_SECONDS = 60
UNREADABLE = "The answer could not be read. Try again in a moment."


@dataclass(frozen=True, slots=True)
class Answer:
    """What a run said and cost; `error` is a sentence, empty when all went well."""

    text: str = ""
    error: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost: str = ""  # exact decimal of USD
    request_id: str = ""


def ask(request: HttpRequest, organization_slug: str, *, model: str, prompt: str) -> Answer:
    """Run a prompt as the person who asks, through the same door as the page's own script."""
    address = urlsplit(settings.PORTAL_URL)
    connect = HTTPSConnection if address.scheme == "https" else HTTPConnection
    connection = connect(address.netloc, timeout=TIMEOUT_SECONDS)
    headers = {
        "Content-Type": "application/json",
        "Cookie": request.headers.get("Cookie", ""),
        "Origin": settings.PORTAL_URL,
        "X-CSRFToken": get_token(request),
    }
    body = msgspec.json.encode({"model": model, "prompt": prompt})
    try:
        connection.request("POST", f"/o/{organization_slug}/stream/playground", body, headers)
        response = connection.getresponse()
        content = response.read().decode()
    except (OSError, HTTPException, UnicodeDecodeError):
        return Answer(error=UNREADABLE)
    finally:
        connection.close()
    return _answer(content) if response.status == HTTPStatus.OK else Answer(error=_sentence(content))


class _Usage(msgspec.Struct):
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0


class _Event(msgspec.Struct):
    """Any of the stream's events: `delta` has text, `error` a message, `done` the rest."""

    text: str = ""
    message: str = ""
    usage: _Usage = msgspec.field(default_factory=_Usage)
    cost: str = ""
    request_id: str = ""


class _Refusal(msgspec.Struct):
    error: _Event


def _answer(content: str) -> Answer:
    blocks = (block.partition("\ndata: ") for block in content.split("\n\n"))
    try:
        events = [(name, msgspec.json.decode(data, type=_Event)) for name, _, data in blocks if data]
    except msgspec.DecodeError:
        return Answer(error=UNREADABLE)
    last = next((event for name, event in events if name == "event: done"), _Event())
    return Answer(
        text="".join(event.text for _, event in events),
        error=next((event.message for name, event in events if name == "event: error"), ""),
        input_tokens=last.usage.input_tokens + last.usage.cached_input_tokens,
        output_tokens=last.usage.output_tokens,
        cost=last.cost,
        request_id=last.request_id,
    )


def _sentence(content: str) -> str:
    try:
        return msgspec.json.decode(content, type=_Refusal).error.message or UNREADABLE
    except msgspec.DecodeError:
        return UNREADABLE
