"""The double behind HTTP: the API, its hosted pages, and the control of both, on a thread per connection."""

import re
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from billing.demo_stripe.account import Account
from billing.demo_stripe.api import Api
from billing.demo_stripe.control import Control
from billing.demo_stripe.delivery import Deliverer
from billing.demo_stripe.pages.site import Site
from billing.demo_stripe.web import Answer, Request, json_answer

LONGEST_BODY = 1_000_000  # bytes
_LENGTH = re.compile(r"\d{1,9}")


@dataclass(slots=True)
class Double:
    """Everything that answers, by the beginning of the address."""

    account: Account
    api: Api
    control: Control
    deliverer: Deliverer
    site: Site

    def answer(self, request: Request) -> Answer:
        if request.path.startswith("/v1/"):
            return self.api.answer(request)
        if request.path.startswith("/_control/"):
            return self.control.answer(request)
        if request.path == "/healthz":
            return json_answer(200, {"status": "ok"})
        return self.site.answer(request)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # One write per answer, sent at once: otherwise each answer waits 40 ms for the last one's acknowledgment.
    disable_nagle_algorithm = True
    wbufsize = -1
    server: "DoubleServer"

    def handle_any(self) -> None:
        given = self.headers.get("Content-Length", "0")
        if not _LENGTH.fullmatch(given) or int(given) > LONGEST_BODY:
            self.close_connection = True
            return self._send(json_answer(413, {"error": {"message": "The body is too long."}}))
        parts = urlsplit(self.path)
        request = Request(
            method=self.command.lower(),
            path=parts.path,
            query=parts.query,
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(int(given)),
            peer=self.client_address[0],
        )
        answer = self.server.double.answer(request)
        if answer.status == 0:
            self.close_connection = True
            return None
        return self._send(answer)

    # The names that http.server looks for.
    do_GET = do_POST = do_DELETE = handle_any  # noqa: N815

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)
        self.wfile.flush()

    def log_message(self, *_: Any) -> None:
        """Who asks keeps their own log; /_control/requests tells what came."""


class DoubleServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    double: Double

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is nobody's failure."""


def make_server(
    host: str, port: int, *, key: str = "", control_token: str = "", first_wait_ms: int = 1000
) -> DoubleServer:
    """Return a server that is bound and does not serve yet. port: 0 for any free one."""
    server = DoubleServer((host, port), _Handler)
    account = Account(f"http://{host}:{server.server_port}")
    api = Api(account, key)
    deliverer = Deliverer(account, first_wait_ms)
    control = Control(api, deliverer, control_token)
    server.double = Double(account, api, control, deliverer, Site(account))
    return server
