"""Costs as FOCUS 1.2 (docs/how-to/read-costs-as-focus.md): of an invoice, and of a range of the spend page."""

from collections.abc import Iterator

from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.access import OrganizationRequest, organization_required
from accounts.models import Permission
from billing.forms.spend import SpendForm
from billing.invoicing.focus import FocusRow
from billing.models import Invoice
from billing.selectors.focus import focus_of_days, focus_of_invoice
from portal.lib.exports import csv_lines


@organization_required(Permission.VIEW_SPEND)
@require_safe
def invoice_focus(request: OrganizationRequest, public_id: str) -> HttpResponse:
    """Stream the charges of an issued invoice; of a void one there are none."""
    live = Invoice.objects.owned_by(request.organization).issued().live()
    invoice = get_object_or_404(live, public_id=public_id)
    return _file(focus_of_invoice(request.organization, invoice), f"{invoice.number}-focus.csv")


@organization_required(Permission.VIEW_SPEND)
@require_safe
def spend_focus(request: OrganizationRequest) -> HttpResponse:
    """Stream the charges of a range, billed or not. Of all cost centers: a column says which."""
    form = SpendForm(request.GET, centers=())
    if not form.is_valid() or form.chosen_center() is not None:
        raise Http404
    chosen = form.chosen_range()
    rows = focus_of_days(request.organization, chosen.period(timezone.now()))
    return _file(rows, f"{request.organization.slug}-focus-{chosen.value}.csv")


def _file(rows: Iterator[FocusRow], name: str) -> HttpResponse:
    answer = StreamingHttpResponse(csv_lines(FocusRow, rows), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    # The door passes any answer on; its type only names the usual one.
    return answer  # type: ignore[return-value]
