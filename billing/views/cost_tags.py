"""Pages of tags: those of all projects, and the form of one."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from accounts.access import OrganizationRequest, organization_required
from accounts.models import Permission, Project
from billing.forms.cost_tags import CostTagsForm
from billing.selectors.cost_tags import newest_tags, tagged_page
from billing.services.cost_tags import UnableToTag, set_cost_tags


@organization_required(Permission.VIEW_SPEND)
@require_safe
def tag_list(request: OrganizationRequest) -> HttpResponse:
    after = request.GET.get("after", "")
    context = {
        "page": tagged_page(request.organization, timezone.now(), after),
        "is_first": not after,
        "may_manage": request.membership.may(Permission.MANAGE_BILLING),
    }
    return render(request, "billing/tag_list.html", context)


@organization_required(Permission.MANAGE_BILLING)
@require_http_methods(["GET", "HEAD", "POST"])
def project_tags(request: OrganizationRequest, public_id: str) -> HttpResponse:
    """Change the tags of a project; the answer says from which day on they hold."""
    project = get_object_or_404(Project.objects.owned_by(request.organization), public_id=public_id)
    newest = newest_tags(project)
    form = CostTagsForm(request.POST or None, tags=newest.tags if newest else None)
    if form.is_valid():
        try:
            from_day = set_cost_tags(project=project, tags=form.chosen(), now=timezone.now())
        except UnableToTag as error:
            form.add_error("tags", str(error))
        else:
            words = _("%(name)s has these tags already.") % {"name": project.name}
            if from_day is not None:
                words = _("Saved. They hold from %(day)s on, in UTC.") % {"day": f"{from_day:%Y-%m-%d}"}
            messages.success(request, words)
            return redirect("billing:tag-list", request.organization.slug)
    context = {"form": form, "project": project}
    return render(request, "billing/tag_form.html", context, status=422 if form.is_bound else 200)
