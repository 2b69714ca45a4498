"""What row-level security costs a page: the same requests as the app's role, and as one that passes the policies.

Pages of the organization of `bench pages`, one request each in turn, so that drift of the machine hits both. Telling
the database whose rows to show (`set_config`) is part of both. Goal: at most 10 % at the median.
"""

import logging
import os
from typing import TYPE_CHECKING

from bench import database
from bench.pages import Page, load, timed
from bench.tables import percentile, print_table

if TYPE_CHECKING:
    from django.test import Client

ROUNDS = 40
SHARE = 0.2
GOAL = "1.10"


def main() -> None:
    services = database.start()
    logging.disable(logging.INFO)
    try:
        client, addresses = load("Benchmark", float(os.environ.get("BENCH_SHARE", SHARE)))
        rows = [_row(client, page, address) for page, address in addresses.items() if "{home}" in page.path]
    finally:
        database.stop(*services)
    print_table(("page", "policies on p50", "off p50", "ratio", "goal"), rows)


def _row(client: "Client", page: Page, address: str) -> tuple[object, ...]:
    from django.db import DEFAULT_DB_ALIAS, connections  # noqa: PLC0415  # Django is set up by now

    from portal.lib.tenancy import PLATFORM_ALIAS  # noqa: PLC0415

    headers = {"HX-Request": "true"} if page.partial else {}
    app, platform = connections[DEFAULT_DB_ALIAS], connections[PLATFORM_ALIAS]
    platform.settings_dict["ATOMIC_REQUESTS"] = True

    def ask() -> None:
        if client.get(address, headers=headers).status_code != 200:
            raise RuntimeError(f"{address} was refused")

    taken: dict[str, list[float]] = {"on": [], "off": []}
    for _ in range(ROUNDS):
        for name, connection in (("on", app), ("off", platform)):
            connections[DEFAULT_DB_ALIAS] = connection
            taken[name].append(timed(ask))
    connections[DEFAULT_DB_ALIAS] = app
    on, off = percentile(taken["on"], 0.5), percentile(taken["off"], 0.5)
    return page.name, f"{on:.1f} ms", f"{off:.1f} ms", f"{on / off:.2f}", GOAL
