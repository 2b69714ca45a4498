"""Run the double: python -m billing.demo_stripe --port 8002."""

import argparse
import os
import signal
import threading
from pathlib import Path

from billing.demo_stripe.account import Account
from billing.demo_stripe.handlers.notices import new_endpoint
from billing.demo_stripe.keeping import Keeper
from billing.demo_stripe.server import DoubleServer, make_server
from billing.demo_stripe.spec.endpoints import endpoints

MADE_AT_START = "Made when the demonstration started"


def main() -> None:
    parser = argparse.ArgumentParser(description="A double of Stripe's API for demonstrations. It moves no money.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8002)
    parser.add_argument("--state", type=Path, help="a file that keeps everything from one run to the next")
    parser.add_argument(
        "--webhook-url", default="", help="where events go, signed with the first of STRIPE_WEBHOOK_SECRETS"
    )
    asked = parser.parse_args()
    server = make_server(
        asked.host,
        asked.port,
        key=os.environ.get("STRIPE_SECRET_KEY", ""),
        control_token=os.environ.get("DEMO_STRIPE_CONTROL_TOKEN", ""),
    )
    # Read before the first request, which would wait for it.
    endpoints()
    keeper = Keeper(server.double.account, asked.state) if asked.state else None
    if keeper:
        keeper.load()
        threading.Thread(target=keeper.keep_on, daemon=True).start()
    if asked.webhook_url:
        _point_webhooks(server.double.account, asked.webhook_url, os.environ["STRIPE_WEBHOOK_SECRETS"].split(",")[0])
    _serve(server)
    if keeper:
        keeper.end()


def _point_webhooks(account: Account, url: str, secret: str) -> None:
    """Send every event to this address, and no longer to that of an earlier run."""
    with account.lock:
        for endpoint in list(account.all_of("webhook_endpoint")):
            if endpoint["description"] == MADE_AT_START:
                del account.objects[endpoint["id"]], account.secrets.signing[endpoint["id"]]
        new_endpoint(account, {"url": url, "enabled_events": ["*"], "description": MADE_AT_START}, secret)


def _serve(server: DoubleServer) -> None:
    """Serve until somebody asks for the end."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ended.wait()
    server.shutdown()


if __name__ == "__main__":
    main()
