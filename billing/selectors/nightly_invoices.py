"""Issued invoices, computed again from their own exports by the program that customers have. For the platform role."""

from collections.abc import Iterable
from datetime import date, timedelta
from hashlib import sha256
from typing import Any

import msgspec

from billing.models import Invoice
from billing.reconcile import Findings, Found, Thing
from billing.selectors.invoice_export import export_records
from billing.verify_invoice import Differs, Export, verify
from portal.lib.money import NANO_PER_CENT, decimal_string
from portal.lib.periods import Period

# Beside those of the day: so many of all that were ever issued.
RANDOM_INVOICES = 10
# Events of these are all still there: they are kept 13 months.
LOOK_BACK = timedelta(days=365)
_encoder = msgspec.json.Encoder(decimal_format="string")


def invoices_to_verify(period: Period) -> list[Invoice]:
    """Return the invoices issued in a day and ten others; which ten follows from the day."""
    issued = Invoice.objects.issued().filter(period_start__gte=period.start - LOOK_BACK)
    issued = issued.select_related("organization")
    of_day = issued.filter(issued_at__gte=period.start, issued_at__lt=period.end)
    names = issued.filter(issued_at__lt=period.start).values_list("public_id", flat=True)
    drawn = _drawn(names.iterator(), period.start.date())
    return [*of_day.order_by("pk"), *issued.filter(public_id__in=drawn).order_by("pk")]


def _drawn(names: Iterable[str], day: date) -> list[str]:
    def lot(name: str) -> bytes:
        return sha256(f"{day} {name}".encode()).digest()

    return sorted(names, key=lot)[:RANDOM_INVOICES]


def verify_issued(invoices: Iterable[Invoice]) -> Findings:
    """Compute invoices again from their exports; name of each the first thing that does not come out."""
    checked, differing = 0, []
    for invoice in invoices:
        checked += 1
        records: Iterable[Any] = export_records(invoice.organization, invoice)
        try:
            # As a customer reads it: through the file.
            verify(Export(msgspec.json.decode(_encoder.encode(record)) for record in records), None)
        except (Differs, KeyError, ValueError) as difference:
            total_nano = invoice.total_cents * NANO_PER_CENT
            thing = Thing(f"invoice {invoice.number}", invoice.organization.public_id)
            ours = f"a total of {decimal_string(total_nano)} USD"
            differing.append(Found(thing, ours, str(difference), total_nano))
    return Findings(checked, tuple(differing))
