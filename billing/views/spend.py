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
from billing.selectors.center_spend import center_spans, center_spend
from billing.selectors.cost_tags import tag_history
from portal.lib.exports import csv_lines, json_lines
from portal.lib.http import page_or_partial

# The part of the spend page that lists SKUs, by its id in the page.
LINES = "spend-lines"


@organization_required(Permission.VIEW_SPEND)
@require_safe
def spend(request: OrganizationRequest) -> HttpResponse:
    """Show what the organization or one cost center of it spends; range, grouping and center are in the address."""
    form = SpendForm(request.GET, tag_history(request.organization.pk).centers())
    is_valid = form.is_valid()
    now = timezone.now()
    chosen = form.chosen_range()
    name = form.chosen_center()
    center = None if name is None else center_spend(request.organization, name, chosen.period(now))
    # The lines of the SKUs follow range and cost center: another grouping leaves them where they are.
    partial = LINES if request.htmx.target == LINES else "spend"
    template = page_or_partial(request, "billing/spend.html", partial)
    context: dict[str, object] = {"form": form, "range": chosen.value, "grouping": form.chosen_grouping(), "now": now}
    context["chosen_center"] = "" if name is None else form.cleaned_data["center"]
    if not template.endswith("#spend"):
        context["lines"] = selectors.sku_lines(request.organization, chosen, now, center=center)
    if not template.endswith(f"#{LINES}"):
        budget = selectors.budget_of(request.organization)
        request.balance_nano = budget.remaining_nano
        grouping = form.chosen_grouping()
        context["view"] = selectors.spend_view(request.organization, budget, chosen, grouping, now, center=center)
    return render(
        request,
        template,
        context,
        status=HTTPStatus.OK if is_valid else HTTPStatus.UNPROCESSABLE_ENTITY,
    )


@organization_required(Permission.VIEW_SPEND)
@require_safe
def usage_export(request: OrganizationRequest, form: str) -> HttpResponse:
    """Stream every usage event of a range, or those of one cost center in it, oldest first, as CSV or JSON lines."""
    chosen = SpendForm(request.GET, tag_history(request.organization.pk).centers())
    if not chosen.is_valid():
        raise Http404
    span = chosen.chosen_range()
    period, center = span.period(timezone.now()), chosen.chosen_center()
    spans = None if center is None else center_spans(request.organization, center, period)
    rows = chain.from_iterable(selectors.event_batches(request.organization, period, spans))
    answer = _csv(rows) if form == "csv" else _json_lines(rows)
    answer["Content-Disposition"] = f'attachment; filename="{request.organization.slug}-usage-{span.value}.{form}"'
    # The door passes any answer on; its type only names the usual one.
    return answer  # type: ignore[return-value]


def _csv(rows: Iterator[EventRow]) -> StreamingHttpResponse:
    return StreamingHttpResponse(csv_lines(EventRow, rows), content_type="text/csv; charset=utf-8")


def _json_lines(rows: Iterator[EventRow]) -> StreamingHttpResponse:
    return StreamingHttpResponse(json_lines(rows), content_type="application/jsonl")
