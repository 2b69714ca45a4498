"""Asking the gateway from a view, against a small server that answers as the gateway does."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from django.test import RequestFactory, override_settings

from portal import playground
from portal.playground import UNREADABLE, Answer, ask

STREAM = (
    b'event: delta\ndata: {"text":"Good "}\n\n'
    b'event: delta\ndata: {"text":"day"}\n\n'
    b'event: done\ndata: {"request_id":"req_1","status":"completed","finish_reason":"stop",'
    b'"usage":{"input_tokens":5,"cached_input_tokens":2,"output_tokens":3},"cost":"0.0000012","price_version":"price_1"}'
    b"\n\n"
)


class Gateway(HTTPServer):
    """Gives one answer to everything and remembers what it was asked."""

    status = 200
    body = STREAM
    asked: list[tuple[str, dict[str, str], bytes]]


class Handler(BaseHTTPRequestHandler):
    server: Gateway

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, dict(self.headers), body))
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    server = Gateway(("127.0.0.1", 0), Handler)
    server.asked = []
    thread = Thread(target=server.serve_forever)
    thread.start()
    with override_settings(PORTAL_URL=f"http://127.0.0.1:{server.server_port}"):
        yield server
    server.shutdown()
    thread.join()
    server.server_close()


def run() -> Answer:
    request = RequestFactory().post("/o/acme/quickstart/run/", headers={"Cookie": "sessionid=abc"})
    return ask(request, "acme", model="bge-m3", prompt="Hello")


def test_the_stream_becomes_one_answer_with_its_exact_cost(gateway):
    assert run() == Answer(text="Good day", input_tokens=7, output_tokens=3, cost="0.0000012", request_id="req_1")


def test_it_asks_as_the_person_who_asks(gateway):
    run()

    path, headers, body = gateway.asked[0]
    assert path == "/o/acme/stream/playground"
    assert headers["Cookie"] == "sessionid=abc"
    assert headers["X-CSRFToken"]
    assert body == b'{"model":"bge-m3","prompt":"Hello"}'


def test_a_refusal_is_passed_on_in_its_own_words(gateway):
    gateway.status = 402
    gateway.body = b'{"error":{"message":"Your budget is spent.","code":"budget_exceeded","param":null}}'

    assert run() == Answer(error="Your budget is spent.")


def test_a_stream_that_breaks_off_keeps_what_it_said(gateway):
    gateway.body = b'event: delta\ndata: {"text":"Good "}\n\nevent: error\ndata: {"message":"The model stopped."}\n\n'

    assert run() == Answer(text="Good ", error="The model stopped.")


@pytest.mark.parametrize("body", [b"<html>", b"event: delta\ndata: {\n\n", b"\xff"])
def test_what_cannot_be_read_is_said_so(gateway, body):
    gateway.body = body
    gateway.status = 500 if body == b"<html>" else 200

    assert run() == Answer(error=UNREADABLE)


def test_a_gateway_that_is_away_is_said_so():
    with override_settings(PORTAL_URL="http://127.0.0.1:9"):
        assert run() == Answer(error=UNREADABLE)


def test_the_wait_is_limited():
    assert 0 < playground.TIMEOUT_SECONDS <= 60
