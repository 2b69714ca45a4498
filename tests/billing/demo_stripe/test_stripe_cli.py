"""An independent judge: Stripe's own command line tool runs its scripted requests against the double.

It is installed from the npm package into var/ when it can be had; nobody here wrote its requests.
"""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dev.paths import ROOT
from tests.doubles.stripe_double import KEY, StripeDouble

PACKAGE = "@stripe/cli@1.52.0"
FOLDER = ROOT / "var" / "stripe-cli"

# Each is a script of one or more requests that make Stripe send the event.
TRIGGERS = (
    "balance.available",
    "billing_portal.configuration.created",
    "billing_portal.configuration.updated",
    "billing_portal.session.created",
    "charge.captured",
    "charge.dispute.closed",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.failed",
    "charge.refund.updated",
    "charge.refunded",
    "charge.succeeded",
    "checkout.session.completed",
    "checkout.session.expired",
    "customer.created",
    "customer.deleted",
    "customer.updated",
    "payment_intent.amount_capturable_updated",
    "payment_intent.canceled",
    "payment_intent.created",
    "payment_intent.payment_failed",
    "payment_intent.requires_action",
    "payment_intent.succeeded",
    "payment_method.attached",
    "payment_method.detached",
    "payment_method.updated",
    "payout.created",
    "payout.updated",
    "product.created",
    "setup_intent.canceled",
    "setup_intent.created",
    "setup_intent.requires_action",
    "setup_intent.setup_failed",
    "setup_intent.succeeded",
    "tax_rate.created",
    "tax_rate.updated",
)
# Stripe makes the event from its own clock; the double has none of that name.
WITHOUT_EVENT = {"balance.available"}


@pytest.fixture(scope="module")
def tool() -> Path:
    """Return the tool, installed if need be; skips where it cannot be had."""
    program = FOLDER / "node_modules" / ".bin" / "stripe"
    if not program.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("npm is not installed, which brings Stripe's command line tool")
        FOLDER.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [npm, "install", "--no-audit", "--no-fund", "--prefix", str(FOLDER), PACKAGE],
            capture_output=True,
            timeout=300,
        )
        if done.returncode != 0:
            pytest.skip("Stripe's command line tool cannot be had here")
    return program


@pytest.mark.prove
@pytest.mark.skipif(not os.environ.get("PROVE"), reason="asks a package registry: in the full proof")
def test_stripes_own_scripts_run_against_the_double(
    double: StripeDouble, tool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
        "STRIPE_CLI_TELEMETRY_OPTOUT": "1",
    }

    def trigger(event: str) -> tuple[str, str]:
        command = [str(tool), "trigger", event, "--api-base", double.url, "--api-key", KEY]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        return event, "" if done.returncode == 0 else done.stderr or done.stdout

    with ThreadPoolExecutor(2) as pool:
        failed = {event: said for event, said in pool.map(trigger, TRIGGERS) if said}

    with capsys.disabled():
        sys.stdout.write(f"\n{len(TRIGGERS) - len(failed)} of {len(TRIGGERS)} scripts of Stripe's tool ran\n")
    assert failed == {}
    told = {event.type for event in double.v1.events.list({"limit": 100}).auto_paging_iter()}
    assert set(TRIGGERS) - WITHOUT_EVENT <= told
