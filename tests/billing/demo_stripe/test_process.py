"""The double as a process of its own, as `make up` starts it: what it keeps from one run to the next."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import stripe

from dev.paths import ROOT
from dev.services import free_port
from tests.doubles.receiver import receiving
from tests.doubles.stripe_double import KEY, SIGNING_SECRET, TOKEN, StripeDouble


@contextmanager
def process(folder: Path, port: int, webhook_url: str) -> Iterator[StripeDouble]:
    command = [sys.executable, "-m", "billing.demo_stripe", "--port", str(port)]
    command += ["--state", str(folder / "stripe.json"), "--webhook-url", webhook_url]
    known = {"STRIPE_SECRET_KEY": KEY, "STRIPE_WEBHOOK_SECRETS": SIGNING_SECRET, "DEMO_STRIPE_CONTROL_TOKEN": TOKEN}
    running = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **known})
    double = StripeDouble(f"http://127.0.0.1:{port}")
    try:
        deadline = time.monotonic() + 30
        while not answers(double.url):
            assert running.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield double
    finally:
        double.close()
        running.terminate()
        assert running.wait(20) == 0


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=5) as answer:
            return bool(answer.status == 200)
    except urllib.error.URLError:
        return False


def test_a_restart_forgets_nothing(tmp_path: Path):
    port = free_port()
    with receiving() as first, process(tmp_path, port, first.url) as double:
        customer = double.customer("pm_card_authenticationRequired")
        dispute = double.pay(double.customer("pm_card_createDispute"))
        assert double.client.construct_event(
            first.wait_for(1)[0].body, first.received[0].headers["stripe-signature"], SIGNING_SECRET
        )
        with pytest.raises(stripe.AuthenticationError):
            double.client_with(key="sk_test_other").v1.customers.list()
    assert (tmp_path / "stripe.json").stat().st_mode & 0o777 == 0o600

    with receiving() as second, process(tmp_path, port, second.url) as double:
        # The card still is what it was, and what was to come still comes.
        with pytest.raises(stripe.CardError) as refused:
            double.pay(double.v1.customers.retrieve(customer.id))
        assert refused.value.code == "authentication_required"
        double.control("clock", seconds=30 * 86_400)
        assert double.v1.disputes.list({"payment_intent": dispute.id}).data[0].status == "lost"
        # Events go to the new address and to it alone.
        assert [endpoint.url for endpoint in double.v1.webhook_endpoints.list().data] == [second.url]
        double.control("settle")
        assert second.received
        assert double.look("drift") == []
