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
from billing.forms import SpendForm
from billing.selectors import EventRow
from portal.lib.exports import csv_lines, json_lines
from portal.lib.http import page_or_partial


@organization_required(Permission.VIEW_SPEND)
@require_safe
def spend(request: OrganizationRequest) -> HttpResponse:
    """Show what the organization spends; range and grouping are in the address."""
    form = SpendForm(request.GET)
    is_valid = form.is_valid()
    now = timezone.now()
    chosen = form.chosen_range()
    budget = selectors.budget_of(request.organization)
    request.balance_nano = budget.remaining_nano
    return render(
        request,
        page_or_partial(request, "billing/spend.html", "spend"),
        {
            "form": form,
            "view": selectors.spend_view(request.organization, budget, chosen, form.chosen_grouping(), now),
            "range": chosen.value,
            "grouping": form.chosen_grouping(),
            "now": now,
        },
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
