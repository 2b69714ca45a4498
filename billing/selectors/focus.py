"""The charges of an invoice, or of a span of days, as rows of FOCUS. Rules: docs/how-to/read-costs-as-focus.md."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from django.conf import settings
from django.db import connection

from accounts.models import Organization, Project
from billing.invoicing import Bucket, Payer
from billing.invoicing.focus import Account, Charge, ChargeKind, FocusRow, Grant, Labeled, Rate, unit_of
from billing.models import CreditNote, Invoice, InvoicedBucket, InvoiceLine
from billing.selectors.closing import closed_until
from billing.selectors.cost_tags import TagHistory, tag_history
from billing.selectors.invoice_export import reading
from billing.selectors.spend import DAY
from catalog.models import Sku
from portal.lib.money import NANO_PER_CENT, decimal_string
from portal.lib.periods import Period, day_of, month_of

type _Make = Callable[[ChargeKind, int, str, InvoiceLine | None], Charge]

# The steps of a day's buckets that invoices billed, of one invoice or of all; and, with all, what none billed yet.
# An hour that several invoices billed comes in the order of their months, what none billed last.
_STEPS = """
    WITH billed AS (
        SELECT step.hour, step.project_id, step.sku, step.quantity_before, step.quantity_after, i.number, i.period_start
        FROM billing_invoicedbucket AS step JOIN billing_invoice AS i ON i.id = step.invoice_id
        WHERE step.organization_id = %(organization)s AND step.hour >= %(start)s AND step.hour < %(end)s
            AND i.issued_at IS NOT NULL AND i.status <> 'void' AND i.id = coalesce(%(invoice)s::bigint, i.id)
    ), taken AS (
        SELECT hour, project_id, sku, sum(quantity_after - quantity_before)::bigint AS quantity
        FROM billed GROUP BY hour, project_id, sku
    ), step AS (
        SELECT * FROM billed
        UNION ALL
        SELECT b.hour, b.project_id, b.sku, coalesce(taken.quantity, 0), b.quantity, NULL, NULL
        FROM billing_usagebyhour AS b LEFT JOIN taken USING (hour, project_id, sku)
        WHERE b.organization_id = %(organization)s AND b.hour >= %(start)s AND b.hour < %(end)s
            AND %(invoice)s::bigint IS NULL AND b.quantity <> coalesce(taken.quantity, 0)
    )
    SELECT step.project_id, step.number, step.period_start, coalesce(b.list_price_nano, b.price_nano), step.hour,
           p.public_id, s.product, step.sku, b.price_id, b.price_nano, b.unit_size, step.quantity_before,
           step.quantity_after
    FROM step
    JOIN billing_usagebyhour AS b USING (hour, project_id, sku)
    JOIN accounts_project AS p ON p.id = step.project_id
    JOIN catalog_sku AS s ON s.code = step.sku
    WHERE b.organization_id = %(organization)s
    ORDER BY step.project_id, step.sku, step.hour, step.period_start
"""


class _Group(NamedTuple):
    """What the usage of a day that becomes one row has in common."""

    project_id: int
    product: str
    sku: str
    price_id: str
    price_nano: int
    list_price_nano: int
    unit_size: int
    invoice: str | None
    is_correction: bool
    billed_from: datetime  # an hour of the month that is billed


@dataclass(slots=True)
class _Sum:
    quantity: int = 0
    billed_nano: int = 0
    list_nano: int = 0

    def add(self, step: Bucket, list_price_nano: int) -> None:
        listed = Bucket(
            step.hour, step.project, step.product, step.sku, step.price, list_price_nano, step.unit_size,
            step.before, step.after,
        )  # fmt: skip
        self.quantity += step.after - step.before
        self.billed_nano += step.amount_nano
        self.list_nano += listed.amount_nano


@dataclass(frozen=True, slots=True)
class _Names:
    """How things of an organization are called, by key."""

    account: Account
    projects: Mapping[int, Labeled]
    tags: TagHistory
    skus: dict[str, tuple[str, str, str]] = field(default_factory=dict)  # name, meter, unit

    def tags_on(self, project_id: int, day: datetime) -> str | None:
        """Return the tags of a project on a UTC day as FOCUS writes them, None where it has none."""
        tags = self.tags.on(project_id, day)
        return json.dumps(tags, sort_keys=True, ensure_ascii=False) if tags else None

    def learn(self, codes: Iterable[str]) -> None:
        """Look up the SKUs that are not known yet."""
        if missing := set(codes) - self.skus.keys():
            rows = Sku.objects.filter(code__in=missing).values_list("code", "name", "meter__code", "meter__unit")
            self.skus.update({code: (name, meter, unit) for code, name, meter, unit in rows})


def focus_of_invoice(organization: Organization, invoice: Invoice) -> Iterator[FocusRow]:
    """Yield the rows of an issued invoice that is not void, usage first, and of the credit notes that take of it back.

    The BilledCost of those with the invoice's number sums to what is due, of those with a note's to what it takes off.

    For streaming answers, which are sent after the request's transaction has ended: every read has a transaction of its
    own.
    """
    with reading(organization):
        names = _names(organization)
        hours = InvoicedBucket.objects.of_invoice(invoice).order_by("hour").values_list("hour", flat=True).distinct()
        days = sorted({day_of(hour) for hour in hours})
        rest = [*_charges_of_invoice(invoice, names), *_charges_of_notes(invoice, names)]
    for day in days:
        yield from _usage(organization, names, day, invoice)
    yield from (charge.row() for charge in rest)


def focus_of_days(organization: Organization, period: Period) -> Iterator[FocusRow]:
    """Yield every row whose charge period begins within whole UTC days, usage first; streaming as above."""
    with reading(organization):
        names = _names(organization)
        issued = Invoice.objects.owned_by(organization).issued().live()
        invoices = issued.filter(period_start__gte=month_of(period.start).start).order_by("period_start")
        rest = [
            charge
            for invoice in invoices
            for charge in (*_charges_of_invoice(invoice, names), *_charges_of_notes(invoice, names))
            if period.contains(charge.period.start)
        ]
    for day in period.days():
        yield from _usage(organization, names, day, None)
    yield from (charge.row() for charge in rest)


def _names(organization: Organization) -> _Names:
    projects = Project.objects.owned_by(organization).values_list("pk", "public_id", "name")
    seller = settings.SELLER_NAME or settings.PORTAL_BRAND
    return _Names(
        Account(organization.public_id, organization.name, seller, settings.PORTAL_BRAND),
        {pk: Labeled(public_id, name) for pk, public_id, name in projects},
        tag_history(organization.pk),
    )


def _usage(organization: Organization, names: _Names, day: datetime, invoice: Invoice | None) -> list[FocusRow]:
    """Return what was used on a UTC day: a row for each project, SKU, price and invoice."""
    with reading(organization):
        until = closed_until(organization_id=organization.pk)
        sums: defaultdict[_Group, _Sum] = defaultdict(_Sum)
        with connection.cursor() as cursor:
            bounds = {"start": day, "end": day + DAY}
            cursor.execute(
                _STEPS, bounds | {"organization": organization.pk, "invoice": None if invoice is None else invoice.pk}
            )
            for project_id, number, period_start, list_price_nano, *values in cursor.fetchall():
                step = Bucket(*values)
                # What nobody billed yet belongs to the next invoice, which begins where the last one ended.
                begin = until if period_start is None else period_start
                group = _Group(
                    project_id,
                    step.product,
                    step.sku,
                    step.price,
                    step.price_nano,
                    list_price_nano,
                    step.unit_size,
                    number,
                    # What comes late within the month that is billed is none, says FOCUS.
                    step.hour < month_of(begin).start,
                    month_of(max(step.hour, begin)).start,
                )
                sums[group].add(step, list_price_nano)
        names.learn(group.sku for group in sums)
        return [_usage_charge(names, Period(day, day + DAY), group, total).row() for group, total in sums.items()]


def _usage_charge(names: _Names, day: Period, group: _Group, total: _Sum) -> Charge:
    name, meter, unit = names.skus[group.sku]
    per = unit_of(unit, group.unit_size)
    return Charge(
        account=names.account,
        kind=ChargeKind.USAGE,
        billed_nano=total.billed_nano,
        description=f"{name}, at ${decimal_string(group.price_nano)} per {per}",
        month=month_of(group.billed_from),
        period=day,
        invoice=group.invoice,
        is_correction=group.is_correction,
        product=group.product,
        project=names.projects[group.project_id],
        tags=names.tags_on(group.project_id, day.start),
        rate=Rate(
            group.sku,
            name,
            meter,
            unit,
            group.price_id,
            group.price_nano,
            group.list_price_nano,
            group.unit_size,
            total.quantity,
            total.list_nano,
        ),
    )


def _charges_of_invoice(invoice: Invoice, names: _Names) -> Iterator[Charge]:
    """Yield what an invoice has beside usage, line by line; then rounding and tax."""
    bought = _bought(invoice)
    own = Period(invoice.period_start, invoice.period_end)

    def charge(kind: ChargeKind, billed_nano: int, description: str, line: InvoiceLine | None) -> Charge:
        return Charge(
            account=names.account,
            kind=kind,
            billed_nano=billed_nano,
            description=description,
            month=month_of(own.start),
            period=own,
            invoice=invoice.number,
            product=line.product if line else "",
            project=names.projects[line.project_id] if line and line.project_id else None,
        )

    for line in InvoiceLine.objects.of_invoice(invoice).select_related("contract"):
        yield from _changes(line, charge)
        for part in line.parts:
            nano, grant = -part["cents"] * NANO_PER_CENT, part["grant"]
            if part["payer"] == Payer.CREDIT:
                paid = charge(ChargeKind.CREDIT, nano, f"Line {line.position}, paid from credit", line)
                yield replace(paid, grant=Grant(grant, bought[grant]))
            elif part["payer"] == Payer.HOUSE:
                yield charge(ChargeKind.HOUSE, nano, f"Line {line.position}, paid by us", line)
    if rounding_nano := invoice.total_cents * NANO_PER_CENT - invoice.exact_nano:
        yield charge(ChargeKind.ROUNDING, rounding_nano, "The sum of all lines, rounded to a cent", None)
    if invoice.tax_cents:
        percent = decimal_string(invoice.tax_rate_millionths * 100_000)
        yield charge(ChargeKind.TAX, invoice.tax_cents * NANO_PER_CENT, f"Tax, {percent} %", None)


def _changes(line: InvoiceLine, charge: _Make) -> Iterator[Charge]:
    """Yield what is in a line's amount beside its usage: a true-up, or what tiers change."""
    if line.contract:
        contract = Labeled(line.contract.public_id, line.contract.name)
        words = f"Not used of what was committed to: {contract.name}"
        yield replace(charge(ChargeKind.TRUE_UP, line.amount_nano, words, line), contract=contract)
    elif line.tier_nano:
        made = charge(ChargeKind.TIERS, line.tier_nano, f"What tiers change of {line.sku} at {line.price_id}", line)
        caused = _caused(line, made.period)
        yield replace(made, is_correction=caused != made.period, period=caused)


def _charges_of_notes(invoice: Invoice, names: _Names) -> Iterator[Charge]:
    """Yield what issued credit notes take back of an invoice's lines, who had paid it, and the tax on it.

    They are charged in the month of the note, of the time that the lines are of.
    """
    issued = CreditNote.objects.of_invoice(invoice).filter(status=CreditNote.Status.ISSUED).order_by("pk")
    bought, own = _bought(invoice), Period(invoice.period_start, invoice.period_end)
    lines = {line.position: line for line in InvoiceLine.objects.of_invoice(invoice)} if issued else {}
    for note in issued:
        month = month_of(note.decided_at or own.end)

        def of(line: InvoiceLine | None, note: CreditNote = note, month: Period = month) -> Charge:
            caused = own if line is None else _caused(line, own)
            return Charge(
                account=names.account,
                kind=ChargeKind.NOTE,
                billed_nano=0,
                description=f"Tax of {invoice.number}" if line is None else f"Line {line.position} of {invoice.number}",
                month=month,
                period=caused,
                invoice=note.number,
                is_correction=month_of(caused.start).end <= month.start,
                product=line.product if line else "",
                project=names.projects[line.project_id] if line and line.project_id else None,
            )

        for position in note.positions:
            yield from _taken_back(lines[position], of(lines[position]), note.reason, bought)
        if note.tax_cents:
            yield replace(of(None), kind=ChargeKind.TAX, billed_nano=-note.tax_cents * NANO_PER_CENT)


def _taken_back(line: InvoiceLine, made: Charge, reason: str, bought: Mapping[str, bool]) -> Iterator[Charge]:
    """Yield what a note takes back of a line, and what grants get of it."""
    parts = [part for part in line.parts if part["payer"] in (Payer.CREDIT, Payer.OWED)]
    taken_nano = sum(part["cents"] for part in parts) * NANO_PER_CENT
    yield replace(made, billed_nano=-taken_nano, description=f"{made.description}, taken back: {reason}")
    for part in parts:
        if part["payer"] == Payer.CREDIT:
            yield replace(
                made,
                kind=ChargeKind.CREDIT,
                billed_nano=part["cents"] * NANO_PER_CENT,
                description=f"{made.description}, given back to credit",
                grant=Grant(part["grant"], bought[part["grant"]]),
            )


def _bought(invoice: Invoice) -> dict[str, bool]:
    """Return whether they were bought, by the name of the grants that paid."""
    return {grant["grant"]: grant["is_bought"] for grant in invoice.grants}


def _caused(line: InvoiceLine, own: Period) -> Period:
    """Return the time that a line is of: the earlier month of what came late, else the invoice's."""
    earlier = month_of(line.month)
    return earlier if earlier.end <= own.start else own
