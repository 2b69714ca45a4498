"""The three addresses of GitHub that signing in asks, on loopback."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs


@dataclass
class GitHub:
    """user: who signs in there, by number. emails: their addresses, as its API lists them."""

    port: int = 0
    user: dict[str, Any] = field(default_factory=lambda: {"id": 7, "login": "ada"})
    emails: list[dict[str, Any]] = field(default_factory=list)
    exchanges: list[dict[str, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"

    def do_GET(self) -> None:
        assert self.headers["Authorization"] == "token a-token"
        github = self.server.github
        self._say({"/user": github.user, "/user/emails": github.emails}[self.path])

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        self.server.github.exchanges.append(form)
        self._say({"access_token": "a-token", "token_type": "bearer", "scope": "user:email"})

    def _say(self, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """The test says what it wants to know."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    github: GitHub


@contextmanager
def running_github() -> Iterator[GitHub]:
    server = _Server(("127.0.0.1", 0), _Handler)
    server.github = GitHub(port=server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.github
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
