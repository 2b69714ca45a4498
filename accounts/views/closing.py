"""Pages on which an owner deletes an organization, and keeps it after all."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from accounts.access import OrganizationRequest, organization_required, recent_sign_in_required
from accounts.forms import DeleteOrganizationForm
from accounts.models import Permission
from accounts.services.closing import (
    UnableToDeleteOrganization,
    UnableToKeepOrganization,
    keep_organization,
    request_deletion,
)
from accounts.views.sign_in import landing


@organization_required(Permission.OWN)
@recent_sign_in_required
@require_http_methods(["GET", "HEAD", "POST"])
def organization_delete(request: OrganizationRequest) -> HttpResponse:
    """Say what is lost and when, and take the name of the organization for a yes."""
    form = DeleteOrganizationForm(request.POST or None, organization=request.organization)
    if form.is_valid():
        try:
            request_deletion(organization=request.organization, now=timezone.now())
        except UnableToDeleteOrganization as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, _("It closes in 30 days. Until then any owner can keep it."))
            return redirect(landing(request.organization, is_new=False))
    return render(request, "accounts/organization_delete.html", {"form": form}, status=422 if form.is_bound else 200)


@organization_required(Permission.OWN)
@require_POST
def organization_keep(request: OrganizationRequest) -> HttpResponse:
    try:
        keep_organization(organization=request.organization, now=timezone.now())
    except UnableToKeepOrganization as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("The organization stays."))
    return redirect(landing(request.organization, is_new=False))
