"""What an invoice and a credit note write into the ledger. Codes and pairs: docs/algorithms/ledger.md."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from billing.invoicing import Bill, Part, Payer
from billing.models import AccountKind, Invoice, LedgerEntry, Route
from billing.selectors.unbilled import Grants
from billing.services.ledger import Journal, Line, post
from portal.lib.money import NANO_PER_CENT

Code = LedgerEntry.Code
RECEIVABLE = Route(AccountKind.RECEIVABLE)
WRITE_OFF = Route(AccountKind.WRITE_OFF)
TAX = Route(AccountKind.TAX)


def invoice_source(invoice: Invoice) -> str:
    """Return under which source an invoice is posted."""
    return f"invoice:{invoice.public_id}"


def post_invoice(invoice: Invoice, made: Bill, grants: Grants, *, now: datetime) -> None:
    """Post what an invoice bills: usage burns credit or is owed, what we pay is written off, tax is owed.

    It counts from the end of its month. An invoice over less than a cent posts nothing.
    """
    routes = {name: Route(kind, grant_id=pk) for name, (kind, pk) in grants.routes.items()}
    of_product: dict[tuple[str, Payer, str], int] = {}
    for one in made.lines:
        for part in one.parts:
            key = one.line.product, part.payer, part.grant
            of_product[key] = of_product.get(key, 0) + part.cents
    lines = [
        entry
        for (product, payer, grant), cents in of_product.items()
        for entry in _entries(product, Part(payer, grant, cents), routes)
    ]
    if made.tax.tax_cents:
        lines.append(Line(Code.TAX, RECEIVABLE, TAX, made.tax.tax_cents * NANO_PER_CENT))
    if lines:
        post(Journal(invoice.organization_id, invoice_source(invoice), invoice.period_end, tuple(lines)), now=now)


def _entries(product: str, part: Part, routes: Mapping[str, Route]) -> Iterable[Line]:
    revenue = Route(AccountKind.REVENUE, product=product)
    amount_nano = abs(part.cents) * NANO_PER_CENT
    if not part.cents:
        return
    if part.cents < 0:
        # Set off: what one product takes back pays for others, through what is owed.
        yield Line(Code.CREDIT_NOTE, revenue, RECEIVABLE, amount_nano)
        return
    payer = routes[part.grant] if part.payer is Payer.CREDIT else RECEIVABLE
    yield Line(Code.USAGE, payer, revenue, amount_nano)
    if part.payer is Payer.HOUSE:
        yield Line(Code.WRITE_OFF, WRITE_OFF, RECEIVABLE, amount_nano)


def note_entries(parts: Iterable[tuple[str, Part]], tax_cents: int, routes: Mapping[str, Route]) -> tuple[Line, ...]:
    """Return what takes parts of products back from revenue to whoever paid them, and tax with them.

    What we paid ourselves goes back to nobody.
    """
    lines = [
        Line(
            Code.CREDIT_NOTE,
            Route(AccountKind.REVENUE, product=product),
            routes[part.grant] if part.payer is Payer.CREDIT else RECEIVABLE,
            part.cents * NANO_PER_CENT,
        )
        for product, part in parts
        if part.payer in (Payer.CREDIT, Payer.OWED)
    ]
    if tax_cents:
        lines.append(Line(Code.CREDIT_NOTE, TAX, RECEIVABLE, tax_cents * NANO_PER_CENT))
    return tuple(lines)
