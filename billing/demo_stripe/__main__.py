"""Run the double: python -m billing.demo_stripe --port 8002."""

import argparse
import os

from billing.demo_stripe.handlers.notices import new_endpoint
from billing.demo_stripe.server import make_server
from billing.demo_stripe.spec.endpoints import endpoints


def main() -> None:
    parser = argparse.ArgumentParser(description="A double of Stripe's API for demonstrations. It moves no money.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8002)
    parser.add_argument("--webhook-url", default="", help="where events go, signed with STRIPE_WEBHOOK_SECRET")
    asked = parser.parse_args()
    server = make_server(
        asked.host,
        asked.port,
        key=os.environ.get("STRIPE_SECRET_KEY", ""),
        control_token=os.environ.get("DEMO_STRIPE_CONTROL_TOKEN", ""),
    )
    if asked.webhook_url:
        with server.double.account.lock:
            given = {"url": asked.webhook_url, "enabled_events": ["*"]}
            new_endpoint(server.double.account, given, os.environ["STRIPE_WEBHOOK_SECRET"])
    # Read before the first request, which would wait for it.
    endpoints()
    server.serve_forever()


if __name__ == "__main__":
    main()
