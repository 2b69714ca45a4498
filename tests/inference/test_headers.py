"""What the gateway's answers and streams carry beside their content, with the settings of production (security G7)."""

import json

import httpx2 as httpx
import pytest

from inference.gateway.asgi import house_headers
from inference.models import Receipt
from tests.inference.conftest import ServedGateway, wait_until
from tests.production import in_production

HOUSE = {
    "cache-control": ["no-store"],
    "x-content-type-options": ["nosniff"],
    "cross-origin-resource-policy": ["same-origin"],
    "strict-transport-security": ["max-age=31536000; includeSubDomains; preload"],
}
JSON, EVENTS = "application/json", "text/event-stream"
# Method, path, body, headers, and the status and type of what comes back.
type Asked = tuple[str, str, str | None, dict[str, str], int, str]
MODEL = "/v1/chat/completions"
ASKED = {"model": "demo-chat", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 5}
RESPONSES, MESSAGES = "/v1/responses", "/v1/messages"
INPUT = {"model": "demo-chat", "input": "hello", "max_output_tokens": 5}


@pytest.mark.asvs("3.4.1")
@pytest.mark.asvs("3.4.4")
@pytest.mark.asvs("4.1.1")
@pytest.mark.asvs("14.3.2")
def test_every_answer_and_stream_of_the_gateway_carries_the_headers_of_the_house(gateway: ServedGateway):
    gateway.start()
    key = {"authorization": f"Bearer {gateway.key.secret}"}
    stream = json.dumps(ASKED | {"stream": True})
    once = {**key, "idempotency-key": "once"}
    console = f"/o/{gateway.organization.slug}/stream/playground"
    asked: list[Asked] = [
        ("GET", "/v1/models", None, key, 200, JSON),
        ("GET", "/v1/models/demo-chat", None, key, 200, JSON),
        ("POST", MODEL, json.dumps(ASKED), key, 200, JSON),
        ("POST", MODEL, stream, once, 200, EVENTS),
        ("POST", MODEL, "{", key, 400, JSON),
        ("GET", "/v1/models", None, {}, 401, JSON),
        ("GET", "/v1/nowhere", None, key, 404, JSON),
        ("GET", MODEL, None, key, 405, JSON),
        ("POST", MODEL, "x" * (9 * 1024 * 1024), key, 413, JSON),
        ("POST", console, stream, {}, 401, JSON),
        ("POST", RESPONSES, json.dumps(INPUT), key, 200, JSON),
        ("POST", RESPONSES, json.dumps(INPUT | {"stream": True}), key, 200, EVENTS),
        ("POST", RESPONSES, json.dumps(INPUT | {"store": True}), key, 400, JSON),
        ("POST", MESSAGES, json.dumps(ASKED), {"x-api-key": gateway.key.secret}, 200, JSON),
        ("POST", MESSAGES, stream, key, 200, EVENTS),
        ("POST", MESSAGES, "{", key, 400, JSON),
        ("GET", MESSAGES, None, key, 405, JSON),
    ]
    with in_production(), httpx.Client(base_url=gateway.url) as client:

        def check(one: Asked) -> None:
            method, path, content, headers, status, kind = one
            answer = client.request(method, path, content=content, headers=headers)
            assert (answer.status_code, answer.headers["content-type"]) == (status, kind), path
            assert {name: list(answer.headers.get_list(name)) for name in HOUSE} == HOUSE, path

        for each in asked:
            check(each)
        wait_until(lambda: Receipt.objects.count() == 6)
        check(("POST", MODEL, stream, once, 200, EVENTS))


def test_development_promises_no_tls():
    assert b"strict-transport-security" not in dict(house_headers(0))
