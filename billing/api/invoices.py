"""/api/v1/invoices: what was billed."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import F
from django.http import HttpResponse
from rest_framework.request import Request

from accounts.access import KeyAPIView
from accounts.models import Scope
from billing.api.reading import CURRENCY
from billing.models import Invoice
from billing.selectors.invoice_export import usd
from portal.lib.api import CursorList, JsonResponse, PageInput, cut, query_of
from portal.lib.openapi import described


@dataclass(frozen=True, slots=True)
class InvoiceView:
    """An issued invoice. total: of the lines; it is paid by credit, by us (house) and by what is owed; due: owed + tax.

    status: open, paid, void or uncollectible. period_end: not included.
    """

    id: str
    number: str | None
    status: str
    revision: int
    period_start: datetime
    period_end: datetime
    currency: str
    total: str
    credit: str
    house: str
    owed: str
    tax: str
    due: str
    purchase_order: str
    issued_at: datetime | None
    due_at: datetime | None
    paid_at: datetime | None


class InvoiceList(KeyAPIView):
    """The invoices of the organization that are issued."""

    scope = Scope.BILLING_READ

    @described(CursorList[InvoiceView], query=PageInput)
    def get(self, request: Request) -> HttpResponse:
        issued = Invoice.objects.owned_by(self.request.organization).issued().annotate(created_at=F("drafted_at"))
        page = cut(issued, query_of(request))
        return JsonResponse(page.of([_invoice(invoice) for invoice in page.objects]))


def _invoice(invoice: Invoice) -> InvoiceView:
    return InvoiceView(
        id=invoice.public_id,
        number=invoice.number,
        status=invoice.status,
        revision=invoice.revision,
        period_start=invoice.period_start,
        period_end=invoice.period_end,
        currency=CURRENCY,
        total=usd(invoice.total_cents),
        credit=usd(invoice.credit_cents),
        house=usd(invoice.house_cents),
        owed=usd(invoice.owed_cents),
        tax=usd(invoice.tax_cents),
        due=usd(invoice.due_cents),
        purchase_order=invoice.terms["purchase_order"],
        issued_at=invoice.issued_at,
        due_at=invoice.due_at,
        paid_at=invoice.paid_at,
    )
