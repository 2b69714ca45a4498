"""Pages about organizations and projects."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from accounts import selectors
from accounts.access import OrganizationRequest, SignedInRequest, organization_required
from accounts.forms import OrganizationForm, ProjectForm
from accounts.models import Organization, Permission, Project
from accounts.services.organizations import (
    UnableToChangeOrganization,
    UnableToCreateOrganization,
    UnableToCreateProject,
    UnableToRenameProject,
    change_organization,
    create_organization,
    create_project,
    rename_project,
)
from accounts.views.sign_in import landing
from portal.lib.http import page_or_partial
from portal.lib.tenancy import set_user


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def organization_list(request: SignedInRequest) -> HttpResponse:
    """Switch to another organization, or create one more."""
    set_user(request.user.pk)
    form = OrganizationForm(request.POST or None)
    if form.is_valid():
        try:
            organization = create_organization(
                owner=request.user,
                name=form.cleaned_data["name"],
                kind=Organization.Kind(form.cleaned_data["kind"]),
                now=timezone.now(),
            )
        except UnableToCreateOrganization as error:
            form.add_error("name", str(error))
        else:
            return HttpResponseRedirect(landing(organization, is_new=True))
    choices = [
        (membership, landing(membership.organization, is_new=False))
        for membership in selectors.memberships_of(request.user)
    ]
    status = 422 if form.is_bound else 200
    context = {"choices": choices, "form": form, "offers": selectors.join_offers(request.user)}
    return render(request, "accounts/organization_list.html", context, status=status)


@organization_required(Permission.MANAGE_ORGANIZATION)
@require_http_methods(["GET", "HEAD", "POST"])
def organization_settings(request: OrganizationRequest) -> HttpResponse:
    organization = request.organization
    form = OrganizationForm(request.POST or None, initial={"name": organization.name, "kind": organization.kind})
    if form.is_valid():
        try:
            change_organization(
                organization=organization,
                name=form.cleaned_data["name"],
                kind=Organization.Kind(form.cleaned_data["kind"]),
                now=timezone.now(),
            )
        except UnableToChangeOrganization as error:
            form.add_error("name", str(error))
        else:
            messages.success(request, _("Saved."))
            return redirect("accounts:organization-settings", organization.slug)
    status = 422 if form.is_bound else 200
    template = page_or_partial(request, "accounts/organization_settings.html", "organization-form")
    return render(request, template, {"form": form}, status=status)


@organization_required(Permission.VIEW)
@require_safe
def project_list(request: OrganizationRequest) -> HttpResponse:
    after = request.GET.get("after", "")
    context = {
        "page": selectors.project_page(request.organization, after),
        "is_first": not after,
        "may_manage": request.membership.may(Permission.MANAGE_PROJECTS),
    }
    return render(request, "accounts/project_list.html", context)


@organization_required(Permission.MANAGE_PROJECTS)
@require_http_methods(["GET", "HEAD", "POST"])
def project_create(request: OrganizationRequest) -> HttpResponse:
    form = ProjectForm(request.POST or None)
    if form.is_valid():
        try:
            project = create_project(
                organization=request.organization, name=form.cleaned_data["name"], now=timezone.now()
            )
        except UnableToCreateProject as error:
            form.add_error("name", str(error))
        else:
            messages.success(request, _("Project %(name)s is ready.") % {"name": project.name})
            return redirect("accounts:project-list", request.organization.slug)
    status = 422 if form.is_bound else 200
    template = page_or_partial(request, "accounts/project_form.html", "project-form")
    return render(request, template, {"form": form, "project": None}, status=status)


@organization_required(Permission.MANAGE_PROJECTS)
@require_http_methods(["GET", "HEAD", "POST"])
def project_rename(request: OrganizationRequest, public_id: str) -> HttpResponse:
    project = get_object_or_404(Project.objects.owned_by(request.organization), public_id=public_id)
    form = ProjectForm(request.POST or None, initial={"name": project.name})
    if form.is_valid():
        try:
            rename_project(project=project, name=form.cleaned_data["name"], now=timezone.now())
        except UnableToRenameProject as error:
            form.add_error("name", str(error))
        else:
            messages.success(request, _("Saved."))
            return redirect("accounts:project-list", request.organization.slug)
    status = 422 if form.is_bound else 200
    template = page_or_partial(request, "accounts/project_form.html", "project-form")
    return render(request, template, {"form": form, "project": project}, status=status)
