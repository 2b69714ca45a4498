"""Pages of a project's members: who leads it, who works in it."""

from http import HTTPStatus

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from accounts.access import OrganizationRequest, organization_required, require_in
from accounts.forms import ProjectRoleForm
from accounts.models import Membership, Permission, Project, ProjectMembership
from accounts.services.project_members import UnableToChangeProjectMember, remove_from_project, set_project_role


@organization_required(Permission.VIEW)
@require_safe
def project_detail(request: OrganizationRequest, public_id: str) -> HttpResponse:
    return _page(request, _project(request, public_id), None)


@organization_required(Permission.MANAGE_PROJECT_MEMBERS, in_projects=True)
@require_POST
def set_role(request: OrganizationRequest, public_id: str) -> HttpResponse:
    project = _project(request, public_id)
    require_in(request, Permission.MANAGE_PROJECT_MEMBERS, project.pk)
    form = ProjectRoleForm(request.POST, members=_members(request))
    if form.is_valid():
        try:
            part = set_project_role(
                project=project, membership=form.chosen_member(), role=form.chosen_role(), now=timezone.now()
            )
        except UnableToChangeProjectMember as error:
            form.add_error("member", str(error))
        else:
            words = {"name": form.chosen_member().user.get_full_name(), "role": part.get_role_display()}
            messages.success(request, _("%(name)s is in this project as %(role)s.") % words)
            return redirect("accounts:project-detail", request.organization.slug, project.public_id)
    return _page(request, project, form)


@organization_required(Permission.MANAGE_PROJECT_MEMBERS, in_projects=True)
@require_POST
def remove(request: OrganizationRequest, public_id: str, member: str) -> HttpResponse:
    project = _project(request, public_id)
    require_in(request, Permission.MANAGE_PROJECT_MEMBERS, project.pk)
    members = Membership.objects.owned_by(request.organization).select_related("user")
    membership = get_object_or_404(members, public_id=member)
    try:
        remove_from_project(project=project, membership=membership, now=timezone.now())
    except UnableToChangeProjectMember as error:
        messages.error(request, str(error))
    else:
        name = membership.user.get_full_name()
        messages.success(request, _("%(name)s is no longer in this project.") % {"name": name})
    return redirect("accounts:project-detail", request.organization.slug, project.public_id)


def _project(request: OrganizationRequest, public_id: str) -> Project:
    return get_object_or_404(Project.objects.owned_by(request.organization), public_id=public_id)


def _members(request: OrganizationRequest) -> list[Membership]:
    return list(Membership.objects.owned_by(request.organization).in_order())


def _page(request: OrganizationRequest, project: Project, form: ProjectRoleForm | None) -> HttpResponse:
    may_manage = request.membership.may_in(Permission.MANAGE_PROJECT_MEMBERS, project.pk)
    if form is None and may_manage:
        form = ProjectRoleForm(members=_members(request))
    is_refused = form is not None and form.is_bound
    context = {
        "project": project,
        "parts": ProjectMembership.objects.owned_by(request.organization).filter(project=project).in_order(),
        "form": form,
        "may_manage": may_manage,
        "may_rename": request.membership.may(Permission.MANAGE_PROJECTS),
        "may_cap": request.membership.may(Permission.MANAGE_BILLING),
    }
    status = HTTPStatus.UNPROCESSABLE_ENTITY if is_refused else HTTPStatus.OK
    return render(request, "accounts/project_detail.html", context, status=status)
