"""Pages of SSH keys."""

from http import HTTPStatus

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import OrganizationRequest, organization_required
from accounts.models import Permission
from compute.forms import SshKeyForm, refuse_key
from compute.models import SshKey
from compute.services.ssh_keys import DuplicateSshKey, InvalidSshKey, add_ssh_key, delete_ssh_key
from portal.lib.http import page_or_partial, redirect_after_post


@organization_required(Permission.VIEW)
@require_safe
def ssh_key_list(request: OrganizationRequest) -> HttpResponse:
    context = {
        "keys": SshKey.objects.owned_by(request.organization).by_name(),
        "may_add": request.membership.may_somewhere(Permission.MANAGE_INSTANCES),
        "may_manage": request.membership.may(Permission.MANAGE_INSTANCES),
    }
    return render(request, "compute/ssh_key_list.html", context)


@organization_required(Permission.MANAGE_INSTANCES, in_projects=True)
@require_http_methods(["GET", "HEAD", "POST"])
def ssh_key_create(request: OrganizationRequest) -> HttpResponse:
    form = SshKeyForm(request.POST or None)
    if form.is_valid():
        try:
            ssh_key = add_ssh_key(
                organization=request.organization,
                name=form.cleaned_data["name"],
                public_key=form.cleaned_data["public_key"],
                created_by=request.user,
                now=timezone.now(),
            )
        except (InvalidSshKey, DuplicateSshKey) as error:
            refuse_key(form, "public_key", error)
        else:
            messages.success(request, _("%(name)s is saved.") % {"name": ssh_key.name})
            return redirect_after_post(request, "compute:ssh-key-list", request.organization.slug)
    template = page_or_partial(request, "compute/ssh_key_form.html", "ssh-key-form")
    status = HTTPStatus.UNPROCESSABLE_ENTITY if form.is_bound else HTTPStatus.OK
    return render(request, template, {"form": form}, status=status)


@organization_required(Permission.MANAGE_INSTANCES, open_while_stopped=True)
@require_POST
def ssh_key_delete(request: OrganizationRequest, public_id: str) -> HttpResponse:
    ssh_key = get_object_or_404(SshKey.objects.owned_by(request.organization), public_id=public_id)
    delete_ssh_key(ssh_key=ssh_key, now=timezone.now())
    messages.success(request, _("%(name)s is deleted. Running instances keep it.") % {"name": ssh_key.name})
    return redirect("compute:ssh-key-list", request.organization.slug)
