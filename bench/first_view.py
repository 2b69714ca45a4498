"""What a first visit costs: bytes over the wire and requests of pages, with an empty cache, as Chromium counts them.

Against a portal that `make up` started. Goal: 100 kB for the first view. Compression is the server's own.
"""

import shutil

from playwright.sync_api import Browser, sync_playwright

from bench.tables import print_table
from dev.paths import VAR
from tests.chromium import FLAGS, chromium_path
from tests.running import RunningPortal

GOAL_KB = 100
PUBLIC = ("/", "/pricing/", "/models/", "/instance-types/")
CONSOLE = ("/", "/quickstart/", "/spend/", "/instances/launch/")


def main() -> None:
    folder = VAR / "bench" / "portal"
    shutil.rmtree(folder, ignore_errors=True)
    portal = RunningPortal(folder)
    portal.start()
    try:
        with sync_playwright() as playwright:
            chromium = playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS)
            rows = [_row(chromium, portal, path, signed_in=False) for path in PUBLIC]
            home = f"/o/{portal.demo['organization']}"
            rows += [_row(chromium, portal, home + path, signed_in=True) for path in CONSOLE]
            chromium.close()
    finally:
        portal.stop()
        shutil.rmtree(folder, ignore_errors=True)
    print_table(("page", "requests", "over the wire", "goal", "of another host"), rows)


def _row(chromium: Browser, portal: RunningPortal, path: str, *, signed_in: bool) -> tuple[object, ...]:
    context = chromium.new_context(base_url=portal.url)
    page = context.new_page()
    if signed_in:
        page.goto("/accounts/login/")
        page.fill("input[name=login]", portal.demo["email"])
        page.fill("input[name=password]", portal.demo["password"])
        page.click("main button[type=submit]")
        page.wait_for_load_state("networkidle")
    sizes: dict[str, int] = {}
    addresses: dict[str, str] = {}
    debugger = context.new_cdp_session(page)
    debugger.send("Network.enable")
    debugger.send("Network.clearBrowserCache")
    debugger.on(
        "Network.requestWillBeSent", lambda event: addresses.update({event["requestId"]: event["request"]["url"]})
    )
    debugger.on("Network.loadingFinished", lambda event: sizes.update({event["requestId"]: event["encodedDataLength"]}))
    page.goto(path)
    page.wait_for_load_state("networkidle")
    context.close()
    foreign = [address for address in addresses.values() if not address.startswith((portal.url, "data:"))]
    return path, len(sizes), f"{sum(sizes.values()) / 1000:.1f} kB", f"{GOAL_KB} kB", len(foreign)
