"""Pages of spend."""

from collections.abc import Iterator
from http import HTTPStatus
from itertools import chain

from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.access import OrganizationRequest, organization_required
from accounts.models import Permission
from billing import selectors
from billing.forms.spend import SpendForm
from billing.selectors import EventRow
from portal.lib.exports import csv_lines, json_lines
from portal.lib.http import page_or_partial

# The part of the spend page that lists SKUs, by its id in the page.
LINES = "spend-lines"


@organization_required(Permission.VIEW_SPEND)
@require_safe
def spend(request: OrganizationRequest) -> HttpResponse:
    """Show what the organization spends; range and grouping are in the address."""
    form = SpendForm(request.GET)
    is_valid = form.is_valid()
    now = timezone.now()
    chosen = form.chosen_range()
    # The lines of the SKUs follow the range alone: another grouping leaves them where they are.
    partial = LINES if request.htmx.target == LINES else "spend"
    template = page_or_partial(request, "billing/spend.html", partial)
    context: dict[str, object] = {"form": form, "range": chosen.value, "grouping": form.chosen_grouping(), "now": now}
    if not template.endswith("#spend"):
        context["lines"] = selectors.sku_lines(request.organization, chosen, now)
    if not template.endswith(f"#{LINES}"):
        budget = selectors.budget_of(request.organization)
        request.balance_nano = budget.remaining_nano
        context["view"] = selectors.spend_view(request.organization, budget, chosen, form.chosen_grouping(), now)
    return render(
        request,
        template,
        context,
        status=HTTPStatus.OK if is_valid else HTTPStatus.UNPROCESSABLE_ENTITY,
    )


@organization_required(Permission.VIEW_SPEND)
@require_safe
def usage_export(request: OrganizationRequest, form: str) -> HttpResponse:
    """Stream every usage event of a range, oldest first, as CSV or JSON lines."""
    chosen = SpendForm(request.GET)
    if not chosen.is_valid():
        raise Http404
    span = chosen.chosen_range()
    rows = chain.from_iterable(selectors.event_batches(request.organization, span.period(timezone.now())))
    answer = _csv(rows) if form == "csv" else _json_lines(rows)
    answer["Content-Disposition"] = f'attachment; filename="{request.organization.slug}-usage-{span.value}.{form}"'
    # The door passes any answer on; its type only names the usual one.
    return answer  # type: ignore[return-value]


def _csv(rows: Iterator[EventRow]) -> StreamingHttpResponse:
    return StreamingHttpResponse(csv_lines(EventRow, rows), content_type="text/csv; charset=utf-8")


def _json_lines(rows: Iterator[EventRow]) -> StreamingHttpResponse:
    return StreamingHttpResponse(json_lines(rows), content_type="application/jsonl")
