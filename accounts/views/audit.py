"""Pages of the audit log: read it, take it along, check that nobody rewrote it."""

from http import HTTPStatus
from itertools import chain

from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts import selectors
from accounts.access import OrganizationRequest, organization_required
from accounts.chain import Link
from accounts.forms.audit import AuditFilterForm
from accounts.models import Permission
from accounts.services.audit_anchors import verify_audit_log
from portal.lib.exports import csv_lines, json_lines
from portal.lib.http import page_or_partial


@organization_required(Permission.VIEW_AUDIT_LOG)
@require_safe
def audit_log(request: OrganizationRequest) -> HttpResponse:
    """Show who did what, newest first; filters and the place in the log are in the address."""
    form = AuditFilterForm(request.GET)
    is_valid = form.is_valid()
    before = form.cleaned_data.get("before")
    page = selectors.audit_page(request.organization, form.filters(), before)
    context = {
        "form": form,
        "rows": page.rows,
        "next_query": form.address_query(page.next_before) if page.next_before else "",
        "is_first": before is None,
        "may_send": request.membership.may(Permission.MANAGE_ORGANIZATION),
        "is_filtered": form.filters() != selectors.AuditFilters(),
    }
    template = page_or_partial(request, "accounts/audit_log.html", "audit-table")
    return render(request, template, context, status=HTTPStatus.OK if is_valid else HTTPStatus.UNPROCESSABLE_ENTITY)


@organization_required(Permission.VIEW_AUDIT_LOG)
@require_safe
def audit_export(request: OrganizationRequest, form: str) -> HttpResponse:
    """Stream the whole log, oldest first, with every digest: enough to verify it elsewhere."""
    links = chain.from_iterable(selectors.link_batches(request.organization))
    content, kind = (
        (csv_lines(Link, links), "text/csv; charset=utf-8")
        if form == "csv"
        else (json_lines(links), "application/jsonl")
    )
    answer = StreamingHttpResponse(content, content_type=kind)
    answer["Content-Disposition"] = f'attachment; filename="{request.organization.slug}-audit-log.{form}"'
    # The door passes any answer on; its type only names the usual one.
    return answer  # type: ignore[return-value]


@organization_required(Permission.VIEW_AUDIT_LOG)
@require_safe
def audit_verify(request: OrganizationRequest) -> HttpResponse:
    """Recompute the log's chain now, against what was kept elsewhere, and show what came of it."""
    now = timezone.now()
    context = {"result": verify_audit_log(organization=request.organization, now=now), "now": now}
    return render(request, "accounts/audit_verify.html", context)
