"""The whole main job, as a stranger does it: sign up, key, tokens, machine, SSH, stop, and what it cost.

Against a portal started by `make up`'s own code: real processes, the real `openai` package, a real `ssh`.
"""

import json
import re
import subprocess
import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from openai import OpenAI
from playwright.sync_api import Page, expect

from portal.lib.money import divide_half_even, nano_to_decimal
from tests.browser import assert_accessible, assert_no_sideways_scroll
from tests.running import RunningPortal

pytestmark = [pytest.mark.processes, pytest.mark.browser]

BOOT_SECONDS = 60
SETTLE_SECONDS = 20


def sign_up(page: Page, portal: RunningPortal, email: str) -> str:
    """Sign up with an address and the mailed code; return the organization's slug."""
    page.goto("/")
    page.get_by_role("link", name="Start", exact=True).first.click()
    page.get_by_label("E-mail address").fill(email)
    page.locator("main form").first.get_by_role("button").first.click()
    page.wait_for_url("**/confirm-email/**")
    code = re.search(r"^\s*(\d{6})\s*$", portal.newest_mail(email), re.MULTILINE)
    assert code is not None
    page.get_by_label("Code").first.fill(code[1])
    page.get_by_role("button", name="Continue").click()
    page.wait_for_url("**/quickstart/**")
    slug = re.search(r"/o/([^/]+)/", page.url)
    assert slug is not None
    return slug[1]


def run_in_page(page: Page) -> None:
    """Press Run and see tokens stream into the page, with what they cost."""
    page.get_by_role("button", name="Run", exact=True).click()
    answer = page.locator("#answer")
    expect(answer).to_contain_text("demonstration", timeout=20_000)
    expect(answer).to_contain_text("$", timeout=20_000)
    assert answer.get_attribute("aria-busy") == "false"


def make_ssh_key(folder: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True)
    return (folder / "key.pub").read_text().strip()


def launch(page: Page, slug: str, public_key: str) -> None:
    page.goto(f"/o/{slug}/instances/launch/")
    page.locator("input[name=instance_type][value=cpu_8x_generic]").or_(
        page.locator("input[name=instance_type]").first
    ).first.check(force=True)
    page.locator("textarea[name=new_public_key]").fill(public_key)
    page.get_by_role("button", name=re.compile("^Launch for")).click()
    page.wait_for_url(re.compile(r"/instances/inst_"))


def ssh(command: str, folder: Path, run: str) -> str:
    """Log in with a real client, as the page says, and return what the command printed."""
    options = ["-i", str(folder / "key"), "-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={folder}/known"]
    options += ["-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "LogLevel=ERROR"]
    words = command.split()
    done = subprocess.run([words[0], *options, *words[1:], run], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass(frozen=True)
class Books:
    """Nano-dollars by the cap, by the hourly buckets and by rating the events; billed and healthy seconds."""

    settled: int
    reserved: int
    buckets: int
    rated: int
    seconds: int
    healthy: int


def spend(portal: RunningPortal, slug: str) -> Books:
    """Read the books: what is settled, what the buckets say, and what rating the raw events gives."""
    password = json.loads((portal.folder / "secrets.json").read_text())["postgres-postgres"]
    port = (portal.folder / "run" / "postgres" / "port").read_text()
    with psycopg.connect(f"postgres://postgres:{password}@127.0.0.1:{port}/headroom") as books:

        def number(query: str, *values: object) -> int:
            row = books.execute(query, values).fetchone()
            assert row is not None
            return int(row[0])

        organization = number("SELECT id FROM accounts_organization WHERE slug = %s", slug)
        settled = number("SELECT settled_nano FROM billing_spendcap WHERE organization_id = %s", organization)
        reserved = number("SELECT reserved_nano FROM billing_spendcap WHERE organization_id = %s", organization)
        buckets = number(
            "SELECT coalesce(sum(amount_nano), 0) FROM billing_usagebyhour WHERE organization_id = %s", organization
        )
        seconds = number(
            "SELECT coalesce(sum(quantity), 0) FROM billing_usageevent"
            " WHERE organization_id = %s AND sku LIKE 'instance.%%'",
            organization,
        )
        healthy = number(
            "SELECT coalesce(sum(extract(epoch FROM ended_at - started_at)), 0) FROM compute_healthinterval"
            " WHERE organization_id = %s",
            organization,
        )
        events = books.execute(
            """
            SELECT sum(e.quantity)::bigint, b.price_nano, b.unit_size
            FROM billing_usageevent AS e
            JOIN billing_usagebyhour AS b USING (organization_id, project_id, sku)
            WHERE e.organization_id = %s AND b.hour = date_trunc('hour', e.occurred_at, 'UTC')
            GROUP BY e.sku, b.hour, e.project_id, b.price_nano, b.unit_size
            """,
            [organization],
        ).fetchall()
    rated = sum(divide_half_even(quantity * price, unit) for quantity, price, unit in events)
    return Books(settled, reserved, buckets, rated, seconds, healthy)


def wait_for_books(portal: RunningPortal, slug: str) -> Books:
    """Return the books once nothing is held any more: leases of model calls are given back within seconds."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while (books := spend(portal, slug)).reserved and time.monotonic() < deadline:
        time.sleep(0.5)
    return books


def test_a_stranger_does_the_whole_main_job(wide: Page, portal: RunningPortal, tmp_path: Path):
    slug = sign_up(wide, portal, "stranger@lab.example")
    secret = wide.locator("#secret").inner_text().strip()
    assert re.fullmatch(r"hr_live_[0-9A-Za-z]{40}", secret)

    # A token in the page, then tokens from a program, plain and streaming.
    run_in_page(wide)
    client = OpenAI(base_url=f"{portal.url}/v1", api_key=secret, max_retries=0)
    model = portal.demo["model"]
    plain = client.chat.completions.with_raw_response.create(
        model=model, messages=[{"role": "user", "content": "Say hello."}]
    )
    usage = plain.parse().usage
    assert usage is not None
    assert Decimal(plain.headers["x-cost"]) > 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    chunks = list(
        client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": "Say hello."}],
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0

    # The secret was shown once.
    wide.reload()
    expect(wide.locator("#secret")).to_have_count(0)

    # A machine: launch, wait until it answers, log in as the page says, stop, end.
    launch(wide, slug, make_ssh_key(tmp_path))
    command = wide.locator("#ssh-command code, #ssh-command").first
    expect(command).to_contain_text("ssh ", timeout=BOOT_SECONDS * 1000)
    assert ssh(command.inner_text().strip(), tmp_path, "echo $((6 * 7))").strip() == "42"
    wide.get_by_role("button", name="Stop").click()
    expect(wide.locator("#instance-body")).to_contain_text("Stopped", timeout=BOOT_SECONDS * 1000)
    wide.get_by_role("link", name="Terminate…").click()
    wide.locator("main form").get_by_role("button").first.click()
    wide.goto(f"/o/{slug}/instances/")
    expect(wide.locator("main")).to_contain_text("Terminated", timeout=BOOT_SECONDS * 1000)

    # What it cost: the cap, the buckets and the rated events say the same to the nano-dollar, and so does the page.
    books = wait_for_books(portal, slug)
    assert books.reserved == 0
    assert books.settled == books.buckets == books.rated
    assert books.seconds == books.healthy > 0
    wide.goto(f"/o/{slug}/spend/")
    total = str(nano_to_decimal(books.rated).normalize())
    expect(wide.locator("main")).to_contain_text(total)


def test_the_main_job_fits_a_very_small_phone(narrow: Page, portal: RunningPortal, tmp_path: Path):
    def look() -> None:
        assert_no_sideways_scroll(narrow)
        assert_accessible(narrow)

    slug = sign_up(narrow, portal, "pocket@lab.example")
    look()
    run_in_page(narrow)
    look()
    launch(narrow, slug, make_ssh_key(tmp_path))
    look()
    command = narrow.locator("#ssh-command code, #ssh-command").first
    expect(command).to_contain_text("ssh ", timeout=BOOT_SECONDS * 1000)
    look()
    assert ssh(command.inner_text().strip(), tmp_path, "whoami").strip()
    narrow.get_by_role("link", name="Terminate…").click()
    look()
    narrow.locator("main form").get_by_role("button").first.click()
    narrow.goto(f"/o/{slug}/spend/")
    look()
    narrow.goto(f"/o/{slug}/")
    look()
    books = wait_for_books(portal, slug)
    assert books.settled == books.buckets == books.rated
