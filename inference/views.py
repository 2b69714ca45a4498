"""Pages of requests to models: what each came to. What was said is nowhere."""

from http import HTTPStatus

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from accounts.access import OrganizationRequest, organization_required
from accounts.models import Permission, Project
from accounts.services.organizations import pin_project
from inference import selectors
from inference.forms import ProjectRegionForm, ReceiptFilterForm
from inference.models import Receipt
from portal.lib.http import page_or_partial


@organization_required(Permission.VIEW)
@require_safe
def receipt_list(request: OrganizationRequest) -> HttpResponse:
    """Show requests, newest first; filters and the place in the list are in the address."""
    form = ReceiptFilterForm(request.GET, request.organization)
    is_valid = form.is_valid()
    after = request.GET.get("after", "")
    page = selectors.receipt_page(request.organization, form.filters(), after)
    if page is None:
        raise Http404
    return render(
        request,
        page_or_partial(request, "inference/receipt_list.html", "receipt-table"),
        {
            "form": form,
            "rows": page.rows,
            "next_query": form.address_query(page.next_cursor) if page.next_cursor else "",
            "is_first_page": not after,
            "is_filtered": any(form.cleaned_data.values()),
        },
        status=HTTPStatus.OK if is_valid else HTTPStatus.UNPROCESSABLE_ENTITY,
    )


@organization_required(Permission.VIEW)
@require_safe
def receipt_detail(request: OrganizationRequest, request_id: str) -> HttpResponse:
    receipts = Receipt.objects.owned_by(request.organization).with_names()
    receipt = get_object_or_404(receipts, request_id=request_id)
    context = {
        "receipt": receipt,
        "view": selectors.receipt_view(receipt),
        "caller": selectors.caller_of(receipt),
        "duration": selectors.duration_words(receipt.duration_ms),
    }
    return render(request, "inference/receipt_detail.html", context)


@organization_required(Permission.MANAGE_PROJECTS)
@require_http_methods(["GET", "HEAD", "POST"])
def project_region(request: OrganizationRequest, public_id: str) -> HttpResponse:
    """Say in which region a project's requests to models are served."""
    project = get_object_or_404(Project.objects.owned_by(request.organization), public_id=public_id)
    form = ProjectRegionForm(request.POST or None, current=project.region_name)
    if form.is_valid():
        pin_project(project=project, region_name=form.cleaned_data["region"], now=timezone.now())
        messages.success(request, _("Saved. It holds from now on."))
        return redirect("accounts:project-detail", request.organization.slug, project.public_id)
    context = {"form": form, "project": project}
    return render(request, "inference/project_region.html", context, status=422 if form.is_bound else 200)
