"""An invoice as a file of records from which anybody computes it again: billing/verify_invoice.py reads it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from accounts.models import Organization, Project
from billing.models import Invoice, InvoiceLine
from billing.selectors.cost_tags import TagHistory, tag_history
from billing.selectors.events import BATCH
from portal.lib.context import remember_organization
from portal.lib.money import NANO_PER_CENT, decimal_string
from portal.lib.periods import month_of
from portal.lib.tenancy import set_organization

# One record of the file, ready to be printed; `record` says which kind.
type Record = dict[str, Any]


def usd(cents: int) -> str:
    """Return whole cents as a decimal string."""
    return decimal_string(cents * NANO_PER_CENT)


def invoice_record(invoice: Invoice) -> Record:
    """Return an issued invoice with everything that its lines are computed from. Amounts: decimals in USD."""
    return {
        "record": "invoice",
        "number": invoice.number,
        "id": invoice.public_id,
        "revision": invoice.revision,
        "period_start": invoice.period_start,
        "period_end": invoice.period_end,
        "issued_at": invoice.issued_at,
        "due_at": invoice.due_at,
        "currency": "USD",
        "total": usd(invoice.total_cents),
        "credit": usd(invoice.credit_cents),
        "house": usd(invoice.house_cents),
        "owed": usd(invoice.owed_cents),
        "tax": usd(invoice.tax_cents),
        "due": usd(invoice.due_cents),
        "tax_treatment": invoice.tax_treatment,
        "tax_rate_millionths": invoice.tax_rate_millionths,
        "may_owe": invoice.terms["credit_limit_nano"] > 0,
        "overrun": decimal_string(invoice.overrun_nano),
        "seller": invoice.terms["seller"],
        "buyer": invoice.terms["buyer"],
        "purchase_order": invoice.terms["purchase_order"],
        "grants": [_grant(grant) for grant in invoice.grants],
        "commitments": [_commitment(one) for one in invoice.commitments],
    }


def _grant(frozen: Mapping[str, Any]) -> Record:
    rest = {name: value for name, value in frozen.items() if name != "balance_nano"}
    return rest | {"balance": decimal_string(frozen["balance_nano"])}


def _commitment(frozen: Mapping[str, Any]) -> Record:
    terms = {name: frozen[name] for name in ("contract", "starts_at", "ends_at")}
    amounts = {name: decimal_string(frozen[f"{name}_nano"]) for name in ("amount", "drawn", "booked")}
    return terms | amounts


def export_records(organization: Organization, invoice: Invoice) -> Iterator[Record]:
    """Yield the records of an issued invoice's file.

    For streaming answers, which are sent after the request's transaction has ended: every read has a transaction of its
    own. What was issued does not change, so they agree.
    """
    with reading(organization):
        lines = list(InvoiceLine.objects.of_invoice(invoice).select_related("contract"))
        projects = dict(Project.objects.owned_by(organization).values_list("pk", "public_id"))
        buckets = _buckets(invoice, lines, tag_history(organization.pk))
    yield invoice_record(invoice)
    prices = _prices(invoice, lines)
    yield from prices
    yield from (_line(line, projects) for line in lines)
    uses = [_use(use) for use in invoice.tiered]
    yield from uses
    yield from buckets
    count = 0
    for batch in _event_batches(organization, invoice):
        count += len(batch)
        yield from batch
    yield {
        "record": "end",
        "prices": len(prices),
        "lines": len(lines),
        "uses": len(uses),
        "buckets": len(buckets),
        "events": count,
    }


def _prices(invoice: Invoice, lines: list[InvoiceLine]) -> list[Record]:
    """Return every price once: of lines, and of what was billed before where tiers count on from it."""
    found = {
        line.price_id: _price(line.price_id, line.sku, line.price_nano, line.unit_size)
        for line in lines
        if not line.contract
    }
    for use in invoice.tiered:
        price = _price(use["price"], use["sku"], use["price_nano"], use["unit_size"])
        steps = [{"above": above, "price": decimal_string(nano)} for above, nano in use["tiers"]]
        found[use["price"]] = price | {"tier_mode": use["tier_mode"], "tiers": steps}
    return list(found.values())


def _price(price_id: str, sku: str, price_nano: int, unit_size: int) -> Record:
    return {
        "record": "price",
        "id": price_id,
        "sku": sku,
        "unit_price": decimal_string(price_nano),
        "unit_size": unit_size,
        "tier_mode": "flat",
        "tiers": [],
    }


def _use(use: Mapping[str, Any]) -> Record:
    """Return what was used of a SKU at one price version in a month, of which tiers depend."""
    return {
        "record": "use",
        "month": use["month"],
        "sku": use["sku"],
        "price": use["price"],
        "first_before": use["first_before"],
        "first_after": use["first_after"],
        "projects": [
            {"project": project, "before": before, "after": after} for project, before, after in use["projects"]
        ],
    }


def _line(line: InvoiceLine, projects: Mapping[int, str]) -> Record:
    return {
        "record": "line",
        "position": line.position,
        "month": line.month,
        "is_adjustment": line.is_adjustment,
        "project": None if line.project_id is None else projects[line.project_id],
        "contract": line.contract and line.contract.public_id,
        "product": line.product,
        "sku": line.sku,
        "price": line.price_id,
        "quantity": line.quantity,
        "tiers": decimal_string(line.tier_nano),
        "exact": decimal_string(line.amount_nano),
        "amount": usd(line.amount_cents),
        "parts": [
            {"payer": part["payer"], "grant": part["grant"], "amount": usd(part["cents"])} for part in line.parts
        ],
    }


_BUCKETS = """
    SELECT step.hour, step.project_id, step.sku, b.price_id, step.quantity_before, step.quantity_after
    FROM billing_invoicedbucket AS step
    JOIN billing_usagebyhour AS b USING (organization_id, hour, project_id, sku)
    WHERE step.organization_id = %s AND step.invoice_id = %s
    ORDER BY step.hour, step.project_id, step.sku
"""


def _buckets(invoice: Invoice, lines: list[InvoiceLine], history: TagHistory) -> list[Record]:
    position_of = {
        (line.is_adjustment, line.month, line.project_id, line.sku, line.price_id): line.position
        for line in lines
        if not line.contract
    }
    with connection.cursor() as cursor:
        cursor.execute(_BUCKETS, [invoice.organization_id, invoice.pk])
        return [
            {
                "record": "bucket",
                "line": position_of[hour < invoice.period_start, month_of(hour).start, project_id, sku, price_id],
                "hour": hour,
                "before": before,
                "after": after,
                "cost_center": history.center(project_id, hour) or None,
            }
            for hour, project_id, sku, price_id, before, after in cursor.fetchall()
        ]


# The events that the invoice's buckets had counted when it was issued. New are those behind what an invoice before it
# had counted of the same bucket. What was counted before there were numbers for it is behind nothing.
_EVENTS = """
    WITH step AS (
        SELECT step.hour, step.project_id, step.sku, (
            SELECT max(i.counted_below) FROM billing_invoicedbucket AS former
            JOIN billing_invoice AS i ON i.id = former.invoice_id
            WHERE (former.organization_id, former.hour, former.project_id, former.sku)
                = (step.organization_id, step.hour, step.project_id, step.sku)
                AND i.status <> 'void' AND i.counted_below < %(below)s
        ) AS billed_below
        FROM billing_invoicedbucket AS step
        WHERE step.organization_id = %(organization)s AND step.invoice_id = %(invoice)s
    )
    SELECT e.event_id, e.occurred_at, p.public_id, e.sku, e.quantity, e.resource_id, e.request_id, e.corrects,
           step.billed_below IS NULL OR coalesce(e.counted_order, 0) >= step.billed_below
    FROM billing_usageevent AS e
    JOIN step ON (step.hour, step.project_id, step.sku)
        = (date_trunc('hour', e.occurred_at, 'UTC'), e.project_id, e.sku)
    JOIN accounts_project AS p ON p.id = e.project_id
    WHERE e.organization_id = %(organization)s
        AND e.occurred_at >= (SELECT min(hour) FROM step) AND e.occurred_at < %(end)s
        AND coalesce(e.counted_order, 0) < %(below)s
        AND (e.occurred_at, e.event_id) > (%(after_at)s, %(after_id)s)
    ORDER BY e.occurred_at, e.event_id
    LIMIT %(limit)s
"""
_FIRST = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def _event_batches(organization: Organization, invoice: Invoice) -> Iterator[list[Record]]:
    after_at, after_id = _FIRST, UUID(int=0)
    while True:
        values = {
            "organization": organization.pk,
            "invoice": invoice.pk,
            "below": invoice.counted_below,
            "end": invoice.period_end,
            "after_at": after_at,
            "after_id": after_id,
            "limit": BATCH,
        }
        with reading(organization), connection.cursor() as cursor:
            cursor.execute(_EVENTS, values)
            rows = cursor.fetchall()
        if rows:
            yield [_event(*row) for row in rows]
            after_id, after_at = rows[-1][:2]
        if len(rows) < BATCH:
            return


def _event(  # noqa: PLR0913, PLR0917  # one parameter per column of the statement, in its order
    event_id: UUID,
    occurred_at: datetime,
    project: str,
    sku: str,
    quantity: int,
    resource: str,
    request_id: str,
    corrects: UUID | None,
    is_new: bool,
) -> Record:
    return {
        "record": "event",
        "id": event_id,
        "occurred_at": occurred_at,
        "project": project,
        "sku": sku,
        "quantity": quantity,
        "resource": resource,
        "request_id": request_id or None,
        "corrects": corrects,
        "is_new": is_new,
    }


@contextmanager
def reading(organization: Organization) -> Iterator[None]:
    """Open a transaction that sees the organization's rows, and forget it afterwards."""
    with transaction.atomic():
        set_organization(organization.pk)
        yield
    remember_organization(None)
