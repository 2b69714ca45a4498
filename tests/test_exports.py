"""What is exported for spreadsheets opens as text, whichever column a customer's words came into (security G3)."""

import ast
import csv
import io
import json
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db.models import F, Value
from django.db.models.functions import Concat
from django.test import Client

from accounts.chain import Link
from accounts.models import ApiKey, AuditEvent, Organization, Project, Role
from billing.models import UsageByHour
from billing.selectors.events import EventRow
from billing.services.usage import record_usage
from catalog.models import Meter, Sku
from dev.paths import ROOT
from tests.factories.accounts import make_key, make_membership, make_project
from tests.factories.billing import make_cost_tags, make_record
from tests.factories.catalog import make_price

pytestmark = pytest.mark.django_db

APPS = ["portal", "accounts", "catalog", "billing", "compute", "inference"]
# What spreadsheets take for a formula or a command, alone or behind blanks.
STARTS = ["=", "+", "-", "@", "|", "%", "\t", "\r", "\n", " =", "\t@", "\u00a0+"]
# Columns whose content nobody writes: numbers, times, and words of a list.
MADE_BY_US = {
    EventRow: {"id", "unit_price", "amount", "currency", "corrects"},
    Link: {"actor_kind", "via", "previous", "digest"},
}


def users_of_csv() -> dict[str, set[str]]:
    """Return the modules that write CSV, each with the kinds of row that it writes."""
    found: dict[str, set[str]] = {}
    for path in (path for app in APPS for path in sorted((ROOT / app).rglob("*.py"))):
        place, text = path.relative_to(ROOT), path.read_text()
        for node in ast.walk(ast.parse(text)) if "csv" in text else ():
            match node:
                case ast.Call(func=ast.Name(id="csv_lines"), args=[ast.Name(id=kind), *_]):
                    found.setdefault(str(place), set()).add(kind)
                case ast.Import(names=[ast.alias(name="csv")]):
                    found.setdefault(str(place), set())
    return found


def test_whoever_writes_csv_is_looked_at_here():
    assert users_of_csv() == {
        "accounts/views/audit.py": {"Link"},
        # Its cells: tests/billing/test_focus.py.
        "billing/views/focus.py": {"FocusRow"},
        "billing/views/spend.py": {"EventRow"},
        "portal/lib/exports.py": set(),
    }
    assert {kind.__name__ for kind in MADE_BY_US} == {"Link", "EventRow"}


def usage(organization: Organization) -> None:
    """Make one event for each start, with it in every column that is not made of numbers."""
    for start in STARTS:
        project = make_project(organization)
        key = make_key(project).api_key
        sku = f"{start}model.demo.input"
        make_price(sku, 1_000_000_000, 1_000_000)
        record = make_record(
            project, sku=sku, occurred_at=datetime.now(UTC), resource_id=f"{start}demo", api_key_id=key.pk
        )
        record_usage([replace(record, request_id=f"{start}request")], reservation_id=None, now=record.occurred_at)
        make_cost_tags(project, f"{start}center", now=record.occurred_at)
        before = Value(start)
        Project.objects.filter(pk=project.pk).update(public_id=Concat(before, F("public_id")))
        ApiKey.objects.filter(pk=key.pk).update(public_id=Concat(before, F("public_id")))
        UsageByHour.objects.filter(sku=sku).update(price_id=Concat(before, F("price_id")))
        meter = Meter.objects.create(code=f"{start}tokens", unit=f"{start}token", description="x")
        Sku.objects.filter(code=sku).update(meter=meter)


def audit(organization: Organization) -> None:
    for start in STARTS:
        words = {
            name: f"{start}{name}"
            for name in ("actor_id", "impersonator_id", "action", "target_kind", "target_id", "changes")
        }
        AuditEvent.objects.create(
            organization=organization,
            at=datetime.now(UTC),
            actor_kind=AuditEvent.ActorKind.USER,
            via=AuditEvent.Via.SUPPORT,
            origin_id=f"{start}origin",
            request_id=f"{start}request",
            **words,
        )


EXPORTS = {
    "spend/usage": (EventRow, usage),
    "audit-log/export": (Link, audit),
}


def exported(client: Client, address: str) -> str:
    answer: Any = client.get(address)
    assert answer.status_code == 200
    return b"".join(answer.streaming_content).decode()


@pytest.mark.parametrize("name", EXPORTS)
def test_no_cell_of_an_export_is_run_by_a_spreadsheet(name: str, client: Client):
    kind, plant = EXPORTS[name]
    member = make_membership(make_project().organization, role=Role.OWNER)
    plant(member.organization)
    client.force_login(member.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    address = f"/o/{member.organization.slug}/{name}"

    cells = list(csv.DictReader(io.StringIO(exported(client, f"{address}.csv"), newline="")))
    values = [json.loads(line) for line in exported(client, f"{address}.jsonl").split("\n") if line]

    assert len(cells) == len(values) >= len(STARTS)
    texts = [field.name for field in fields(kind) if "str" in str(field.type) and field.name not in MADE_BY_US[kind]]
    for column in texts:
        planted = [
            (cell[column], value[column])
            for cell, value in zip(cells, values, strict=True)
            if str(value[column]).startswith(tuple(STARTS))
        ]
        assert {start for start in STARTS for _, value in planted if value.startswith(start)} == set(STARTS), column
        assert all(cell == f"'{value}" for cell, value in planted), column
    for cell in (cell for row in cells for cell in row.values()):
        assert not cell.lstrip().startswith(("=", "+", "@", "|", "%")), cell
