"""A web server on loopback that plays whoever is sent to: it keeps what came and answers as it is told."""

import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

type Reply = Callable[["_Handler"], None]


@dataclass(frozen=True, slots=True)
class Received:
    method: str
    path: str
    headers: dict[str, str]  # names in small letters
    body: bytes


def status(code: int, body: bytes = b"", **headers: str) -> Reply:
    """Answer with a status, a body and headers such as Location."""

    def reply(handler: "_Handler") -> None:
        handler.send_response(code)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return reply


def hang(released: threading.Event) -> Reply:
    """Say nothing until the test lets go."""

    def reply(handler: "_Handler") -> None:
        released.wait(30)
        handler.close_connection = True

    return reply


def drip(released: threading.Event) -> Reply:
    """Send a header for ever, a letter at a time: never silent, never done."""

    def reply(handler: "_Handler") -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not released.wait(0.1):
            handler.wfile.write(b"x")
            handler.wfile.flush()
        handler.close_connection = True

    return reply


def in_pieces(size: str, content: bytes) -> Reply:
    """Say that a piece of this size follows, such as -1, and send the content until nobody reads it."""

    def reply(handler: "_Handler") -> None:
        handler.close_connection = True
        head = f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{size}\r\n".encode()
        # A reader that has had enough hangs up.
        with suppress(OSError):
            handler.wfile.write(head + content)

    return reply


def hang_up(handler: "_Handler") -> None:
    """End the connection without a word."""
    handler.close_connection = True


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        replies = self.server.receiver.replies
        self.server.receiver.received.append(Received(self.command, self.path, headers, body))
        reply = replies.popleft() if replies else self.server.receiver.usual
        try:
            reply(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    # The names that http.server looks for.
    do_GET = do_POST = handle_any  # noqa: N815

    def log_message(self, *_: Any) -> None:
        """The test says what it wants to know."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    receiver: "Receiver"

    def get_request(self) -> Any:
        self.receiver.connection_count += 1
        return super().get_request()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is part of the test."""


@dataclass
class Receiver:
    """What came, in order, and what is answered: `replies` first, then `usual`."""

    port: int = 0
    received: list[Received] = field(default_factory=list)
    replies: deque[Reply] = field(default_factory=deque)
    usual: Reply = field(default_factory=lambda: status(204))
    connection_count: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def wait_for(self, count: int, seconds: float = 30) -> list[Received]:
        """Return the first `count` requests, once so many came. Raises AssertionError when they do not."""
        deadline = time.monotonic() + seconds
        while len(self.received) < count:
            assert time.monotonic() < deadline, f"{len(self.received)} of {count} requests came"
            time.sleep(0.02)
        return self.received[:count]


@contextmanager
def receiving(port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """Listen on loopback, on any free port or on a given one."""
    server = _Server(("127.0.0.1", port), _Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.receiver = Receiver(port=server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
