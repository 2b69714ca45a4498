"""The export of an invoice computes again without the portal, and whatever is changed in it is named."""

import ast
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from accounts.models import Project
from billing.models import Invoice
from billing.selectors.invoice_export import export_records
from billing.services.invoices import void_invoice
from billing.verify_invoice import main
from catalog.selectors import price_list
from dev.paths import ROOT
from portal.lib.exports import json_lines, json_of
from portal.lib.money import NANO_PER_USD
from portal.lib.periods import month_of
from tests.billing.test_services_invoices import (
    DOLLAR,
    DUE,
    NOVEMBER,
    OCTOBER,
    ON_TERMS,
    SKU,
    allow,
    close,
    take_back,
    use,
)
from tests.factories.accounts import make_organization, make_project
from tests.factories.catalog import make_price

pytestmark = pytest.mark.django_db
PROGRAM = ROOT / "billing/verify_invoice.py"
type Records = list[dict[str, Any]]


@pytest.fixture
def project() -> Project:
    make_price(SKU, NANO_PER_USD, DOLLAR, active_from=datetime(2026, 1, 1, tzinfo=UTC))
    return make_project(make_organization())


@pytest.fixture
def invoice(project: Project) -> Invoice:
    """November's, with an adjustment of October and a correction; later usage is not in it."""
    allow(project, 100)
    use(project, DOLLAR * 4, OCTOBER)
    close(project, terms=ON_TERMS)
    use(project, 333_333, OCTOBER, now=DUE + timedelta(days=2))
    for hour in range(4):
        use(project, DOLLAR + hour, NOVEMBER.start + timedelta(hours=hour))
    use(make_project(project.organization, "Second"), DOLLAR * 2 + 7, NOVEMBER.start)
    take_back(use(project, 5, NOVEMBER.start), NOVEMBER.start)
    made = close(project, NOVEMBER.end + timedelta(days=1), ON_TERMS)
    use(project, 77, NOVEMBER.start, now=NOVEMBER.end + timedelta(days=2))
    return made


def records_of(invoice: Invoice) -> Records:
    records = export_records(invoice.organization, invoice)
    return [json.loads(line) for line in b"".join(json_lines(records)).splitlines()]


@pytest.fixture
def verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    def run(records: Records, *, with_prices: bool = True) -> tuple[int, str]:
        export, prices = tmp_path / "invoice.jsonl", tmp_path / "prices.json"
        export.write_text("".join(json.dumps(record) + "\n" for record in records))
        rows = [json.loads(json_of(row)) for row in price_list(NOVEMBER.start)]
        prices.write_text(json.dumps({"prices": rows}))
        code = main([str(export), *(["--prices", str(prices)] if with_prices else [])])
        said = capsys.readouterr()
        return code, said.out + said.err

    return run


def test_an_export_comes_out(invoice, verified):
    code, said = verified(records_of(invoice))

    assert (code, said) == (0, f"HR-000002 comes out: 9 events, 3 lines, total {usd(invoice)}, due 6.34 USD\n")


def usd(invoice: Invoice) -> str:
    return f"{invoice.total_cents // 100}.{invoice.total_cents % 100:02}"


def test_the_program_needs_nothing_but_its_file(invoice, tmp_path):
    export = tmp_path / "invoice.jsonl"
    export.write_bytes(b"".join(json_lines(export_records(invoice.organization, invoice))))

    answer = subprocess.run(
        [sys.executable, "-I", PROGRAM, export], capture_output=True, text=True, check=False, cwd=tmp_path
    )

    assert answer.returncode == 0, answer.stdout + answer.stderr
    imported = {
        name.name.partition(".")[0] if isinstance(node, ast.Import) else str(node.module).partition(".")[0]
        for node in ast.walk(ast.parse(PROGRAM.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    assert imported <= sys.stdlib_module_names


def of(records: Records, kind: str, number: int = 0) -> dict[str, Any]:
    return [record for record in records if record["record"] == kind][number]


def changed(record: dict[str, Any], **values: Any) -> None:
    assert record | values != record
    record.update(values)


def remove(records: Records, kind: str, *, counted: bool) -> None:
    records.remove(of(records, kind))
    if counted:
        of(records, "end")[f"{kind}s"] -= 1


FIRST, SECOND, THIRD = "Line 1 (model.demo.input", "Line 2 (model.demo.input", "Line 3 (model.demo.input"
# What somebody could change -> how, and what is said of it.
CHANGES: dict[str, tuple[Callable[[Records], Any], str]] = {
    "an event's quantity": (
        lambda all_: changed(of(all_, "event", -1), quantity=3),
        "2026-11-01T03:00:00Z its events sum to 0",
    ),
    "an event billed before": (lambda all_: changed(of(all_, "event"), quantity=3), THIRD),
    "an event's project": (lambda all_: changed(of(all_, "event"), project="proj_x"), THIRD),
    "an event's hour": (lambda all_: changed(of(all_, "event", 3), occurred_at="2026-11-09T00:00:00Z"), "Line"),
    "an event twice": (lambda all_: of(all_, "event", 1).update(of(all_, "event")), "is there twice"),
    "an event less": (lambda all_: remove(all_, "event", counted=True), THIRD),
    "a cut file": (lambda all_: remove(all_, "event", counted=False), "9"),
    "no end": (lambda all_: all_.pop(), "not one whole export"),
    "a bucket's quantity": (lambda all_: changed(of(all_, "bucket"), after=9), THIRD),
    "a bucket's line": (lambda all_: changed(of(all_, "bucket"), line=9), "a line 9"),
    "a bucket's month": (lambda all_: changed(of(all_, "bucket"), line=1), "of another month"),
    "a line's quantity": (lambda all_: changed(of(all_, "line", 1), quantity=1), SECOND),
    "a line's exact amount": (lambda all_: changed(of(all_, "line", 1), exact="2.00"), SECOND),
    "a line's cents": (lambda all_: changed(of(all_, "line"), amount="4.01"), FIRST),
    "a line's parts": (lambda all_: changed(of(all_, "line"), parts=[]), FIRST),
    "a line's month": (lambda all_: changed(of(all_, "line", 2), is_adjustment=False), THIRD),
    "a line's number": (lambda all_: changed(of(all_, "line"), position=2), "numbered"),
    "a price": (lambda all_: changed(of(all_, "price"), unit_price="1.01"), f"{FIRST}"),
    "a price's SKU": (lambda all_: changed(of(all_, "price"), sku="other"), "no price"),
    "the total": (lambda all_: changed(of(all_, "invoice"), total="6.00"), "The total"),
    "the tax": (lambda all_: changed(of(all_, "invoice"), tax="0.01"), "What is tax"),
    "what is due": (lambda all_: changed(of(all_, "invoice"), due="0.00"), "What is due"),
    "a grant's balance": (lambda all_: changed(of(all_, "invoice")["grants"][0], balance="0.50"), "is paid by"),
    "the terms": (lambda all_: changed(of(all_, "invoice"), may_owe=False), "is paid by"),
}


def test_what_is_changed_is_named(invoice, verified):
    whole = json.dumps(records_of(invoice))
    for change, (spoil, named) in CHANGES.items():
        for with_prices in (True, False):
            records = json.loads(whole)
            spoil(records)

            code, said = verified(records, with_prices=with_prices)

            assert (code, said[:9]) == (1, "DIFFERS: "), (change, said)
            assert named in said, (change, said)


def test_a_price_of_a_contract_is_noted(invoice, verified):
    records = records_of(invoice)
    for record in (of(records, "price"), *(one for one in records if one["record"] == "line")):
        record["id" if record["record"] == "price" else "price"] = "price_contract"

    code, said = verified(records)

    assert code == 0
    assert said.count("price price_contract is not on the rate card; 1.00 USD per 1000000 by the export.") == 3


def test_a_file_that_is_no_export_is_said_to_be_none(tmp_path, capsys):
    other = tmp_path / "other.jsonl"
    other.write_text("{}\n")

    assert main([str(other)]) == 1
    assert "Line 1 of the file is no record" in capsys.readouterr().out
    assert main([str(tmp_path / "missing")]) == 2


def test_the_revision_of_a_void_invoice_comes_out(project, verified):
    allow(project, 100)
    use(project, DOLLAR * 9)
    void_invoice(invoice=close(project, terms=ON_TERMS), now=DUE)
    use(project, DOLLAR, now=DUE + timedelta(hours=1))
    again = close(project, DUE + timedelta(hours=2), ON_TERMS)

    code, said = verified(records_of(again))

    assert code == 0, said
    assert again.total_cents == 1000
    assert month_of(OCTOBER).start == again.period_start
