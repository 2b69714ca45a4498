"""Pages of invoices: the list, one of them, and its files."""

from importlib.resources import files
from typing import TYPE_CHECKING

import structlog
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from accounts.access import OrganizationRequest, organization_required
from accounts.models import Permission
from billing.models import Invoice
from billing.selectors import sells_credit
from billing.selectors.invoice_export import export_records
from billing.selectors.invoice_files import kept_file_of
from billing.selectors.invoices import invoice_page, invoice_row, invoice_rows
from billing.selectors.owed import payable_cents
from billing.services.invoice_payments import UnableToCollect, start_invoice_payment
from portal.lib.exports import json_lines
from portal.lib.money import NANO_PER_CENT, display_usd

if TYPE_CHECKING:
    from collections.abc import Callable

log = structlog.get_logger(__name__)

# How a PDF looks: paper has no themes, and no browser reads this.
_PRINTED = """
    @page { size: A4; margin: 18mm 16mm;
            @bottom-right { content: counter(page) " / " counter(pages); font: 8pt sans-serif; } }
    body { font: 9pt/1.45 sans-serif; }
    h1 { font-size: 16pt; }
    table { width: 100%; border-collapse: collapse; margin-top: 6mm; }
    th, td { text-align: left; padding: 1.2mm 2mm 1.2mm 0; border-bottom: .2mm solid; vertical-align: top;
             overflow-wrap: anywhere; }
    td.amount, th.amount { text-align: right; white-space: nowrap; }
    .parties { display: flex; gap: 20mm; }
"""


@organization_required(Permission.VIEW_SPEND)
@require_safe
def invoice_list(request: OrganizationRequest) -> HttpResponse:
    context = {
        "invoices": invoice_rows(request.organization),
        "may_manage": request.membership.may(Permission.MANAGE_BILLING),
    }
    return render(request, "billing/invoice_list.html", context)


@organization_required(Permission.VIEW_SPEND)
@require_safe
def invoice_detail(request: OrganizationRequest, public_id: str) -> HttpResponse:
    """Show an invoice; one that is being prepared says so."""
    invoice = get_object_or_404(Invoice.objects.owned_by(request.organization), public_id=public_id)
    page = None if invoice.issued_at is None else invoice_page(invoice)
    may_pay = request.membership.may(Permission.MANAGE_BILLING) and sells_credit()
    left_cents = payable_cents(invoice) if may_pay else 0
    context = {
        "invoice": invoice_row(invoice),
        "page": page,
        "left_to_pay": display_usd(left_cents * NANO_PER_CENT) if left_cents else "",
    }
    return render(request, "billing/invoice_detail.html", context)


@organization_required(Permission.MANAGE_BILLING)
@require_POST
def invoice_pay(request: OrganizationRequest, public_id: str) -> HttpResponse:
    """Start to pay what is left of an invoice by card. The row is committed with this answer; the next page asks."""
    invoice = _issued(request, public_id)
    try:
        payment = start_invoice_payment(invoice=invoice, user=request.user, now=timezone.now())
    except UnableToCollect as error:
        messages.error(request, str(error))
        return redirect("billing:invoice-detail", request.organization.slug, invoice.public_id)
    return redirect("billing:payment-checkout", request.organization.slug, payment.public_id)


@organization_required(Permission.VIEW_SPEND)
@require_safe
def invoice_pdf(request: OrganizationRequest, public_id: str) -> HttpResponse:
    """Answer with the invoice as PDF; where Pango is not installed, with a page that says so."""
    invoice = _issued(request, public_id)
    write = _pdf_writer()
    if write is None:
        return render(request, "billing/invoice_no_pdf.html", {"invoice": invoice_row(invoice)}, status=501)
    html = render_to_string("billing/invoice_print.html", {"page": invoice_page(invoice)}, request)
    answer = HttpResponse(write(html), content_type="application/pdf")
    answer["Content-Disposition"] = f'attachment; filename="{invoice.number}.pdf"'
    return answer


@organization_required(Permission.VIEW_SPEND)
@require_safe
def invoice_export(request: OrganizationRequest, public_id: str) -> HttpResponse:
    """Stream everything that the invoice is computed from, for `verify-invoice`."""
    invoice = _issued(request, public_id)
    kept = kept_file_of(invoice)
    lines = json_lines(export_records(request.organization, invoice)) if kept is None else kept.parts
    answer = StreamingHttpResponse(lines, content_type="application/jsonl")
    if kept is not None:
        answer["Repr-Digest"] = f"sha-256=:{kept.digest}:"
    answer["Content-Disposition"] = f'attachment; filename="{invoice.number}.jsonl"'
    # The door passes any answer on; its type only names the usual one.
    return answer  # type: ignore[return-value]


@require_safe
def verifier(request: HttpRequest) -> HttpResponse:
    """Serve the program that computes an invoice again: one file that needs Python and nothing of the portal."""
    source = files("billing").joinpath("verify_invoice.py").read_bytes()
    answer = HttpResponse(source, content_type="text/x-python; charset=utf-8")
    answer["Content-Disposition"] = 'attachment; filename="verify_invoice.py"'
    answer["Cache-Control"] = "public, max-age=300"
    return answer


def _issued(request: OrganizationRequest, public_id: str) -> Invoice:
    return get_object_or_404(Invoice.objects.owned_by(request.organization).issued(), public_id=public_id)


def _pdf_writer() -> "Callable[[str], bytes] | None":
    """Return what makes a PDF of a page, None where the library finds no Pango on this machine."""
    try:
        import weasyprint  # noqa: PLC0415  # it loads Pango when it is imported, and only here is it needed
    except (ImportError, OSError) as error:
        log.warning("billing.pdf_unavailable", reason=str(error)[:200])
        return None

    def refuse(url: str, *_args: object, **_options: object) -> dict[str, object]:
        # Nothing of an invoice is elsewhere: a name that a customer chose must make the portal fetch nothing.
        raise ValueError(_("An invoice fetches nothing: %(url)s") % {"url": url})

    def write(html: str) -> bytes:
        looks = [weasyprint.CSS(string=_PRINTED)]
        document: bytes = weasyprint.HTML(string=html, url_fetcher=refuse).write_pdf(stylesheets=looks)
        return document

    return write
