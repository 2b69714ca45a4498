"""Pages of data: what is kept of an organization or a person, and taking all of it along."""

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from accounts.access import OrganizationRequest, SignedInRequest, organization_required, recent_sign_in_required
from accounts.models import Permission
from accounts.services.organizations import record_export
from portal.lib.exports import zip_parts
from portal.selectors import exports


@organization_required(Permission.OWN)
@require_safe
def organization_data(request: OrganizationRequest) -> HttpResponse:
    return render(request, "portal/organization_data.html", {"rows": exports.organization_rows()})


@organization_required(Permission.OWN)
@recent_sign_in_required
@require_POST
def organization_export(request: OrganizationRequest) -> HttpResponse:
    """Stream an archive of everything that the organization has; the log says who took it."""
    now = timezone.now()
    record_export(organization=request.organization, now=now)
    answer = StreamingHttpResponse(
        zip_parts(exports.organization_files(request.organization, now)), content_type="application/zip"
    )
    answer["Content-Disposition"] = f'attachment; filename="{request.organization.slug}-data.zip"'
    # The door passes any answer on; its type only names the usual one.
    return answer  # type: ignore[return-value]


@require_safe
@login_required
def your_data(request: SignedInRequest) -> HttpResponse:
    return render(request, "portal/your_data.html", {"rows": exports.person_rows()})


@require_POST
@login_required
@recent_sign_in_required
def your_export(request: SignedInRequest) -> HttpResponse:
    """Stream everything that is about the person."""
    answer = StreamingHttpResponse(
        exports.person_document(request.user, timezone.now()), content_type="application/json"
    )
    answer["Content-Disposition"] = 'attachment; filename="your-data.json"'
    return answer  # type: ignore[return-value]  # as above
