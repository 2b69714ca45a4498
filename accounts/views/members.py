"""Pages of members: who belongs to an organization, as what, and how that ends."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import selectors
from accounts.access import OrganizationRequest, organization_required, recent_sign_in_required
from accounts.forms import RemovalForm, RoleForm, TransferForm
from accounts.models import Membership, Permission
from accounts.services.members import (
    UnableToChangeRole,
    UnableToLeave,
    UnableToRemoveMember,
    UnableToTransferOwnership,
    change_role,
    leave_organization,
    remove_member,
    transfer_ownership,
)
from accounts.services.service_accounts import UnableToHandOverKeys


@organization_required(Permission.VIEW)
@require_safe
def member_list(request: OrganizationRequest) -> HttpResponse:
    after = request.GET.get("after", "")
    context = {
        "page": selectors.member_page(request.organization, request.membership, after),
        "is_first": not after,
        "roles": selectors.grantable_roles(request.membership),
        "invitations": selectors.invitation_rows(request.organization, request.membership, timezone.now()),
        "may_manage": request.membership.may(Permission.MANAGE_MEMBERS),
        "may_transfer": request.membership.may(Permission.OWN),
    }
    return render(request, "accounts/member_list.html", context)


@organization_required(Permission.MANAGE_MEMBERS)
@recent_sign_in_required
@require_POST
def role(request: OrganizationRequest, public_id: str) -> HttpResponse:
    member = get_object_or_404(Membership.objects.owned_by(request.organization), public_id=public_id)
    form = RoleForm(request.POST)
    if form.is_valid():
        try:
            member = change_role(membership=member, role=form.chosen_role(), by=request.membership, now=timezone.now())
        except UnableToChangeRole as error:
            messages.error(request, str(error))
        else:
            words = {"name": member.user.get_full_name(), "role": member.get_role_display()}
            messages.success(request, _("%(name)s is %(role)s now.") % words)
    else:
        messages.error(request, _("There is no such role."))
    return redirect("accounts:member-list", request.organization.slug)


@organization_required(Permission.MANAGE_MEMBERS)
@require_http_methods(["GET", "HEAD", "POST"])
def remove(request: OrganizationRequest, public_id: str) -> HttpResponse:
    """Ask once, then end the membership. Ending access never waits for a new proof of who one is."""
    members = Membership.objects.owned_by(request.organization).select_related("user", "organization")
    member = get_object_or_404(members, public_id=public_id)
    left = selectors.keys_left_by(member)
    form = RemovalForm(request.POST if request.method == "POST" else None, left=left)
    if form.is_valid():
        try:
            remove_member(membership=member, by=request.membership, now=timezone.now(), heirs=form.chosen_heirs())
        except UnableToHandOverKeys as error:
            form.add_error(None, str(error))
        except UnableToRemoveMember as error:
            messages.error(request, str(error))
            return redirect("accounts:member-list", request.organization.slug)
        else:
            messages.success(request, _("%(name)s is no longer a member.") % {"name": member.user.get_full_name()})
            return redirect("accounts:member-list", request.organization.slug)
    status = 422 if form.is_bound else 200
    return render(request, "accounts/member_remove.html", {"member": member, "left": left, "form": form}, status=status)


@organization_required(Permission.VIEW)
@require_http_methods(["GET", "HEAD", "POST"])
def leave(request: OrganizationRequest) -> HttpResponse:
    if request.method == "POST":
        try:
            leave_organization(membership=request.membership, now=timezone.now())
        except UnableToLeave as error:
            messages.error(request, str(error))
            return redirect("accounts:member-list", request.organization.slug)
        messages.success(request, _("You have left %(name)s.") % {"name": request.organization.name})
        return redirect("accounts:organization-list")
    context = {
        "is_only_owner": selectors.is_only_owner(request.membership),
        "may_transfer": request.membership.may(Permission.OWN),
    }
    return render(request, "accounts/member_leave.html", context)


@organization_required(Permission.OWN)
@recent_sign_in_required
@require_http_methods(["GET", "HEAD", "POST"])
def transfer(request: OrganizationRequest) -> HttpResponse:
    others = list(Membership.objects.owned_by(request.organization).in_order().exclude(pk=request.membership.pk))
    form = TransferForm(request.POST or None, members=others)
    if form.is_valid():
        try:
            heir = transfer_ownership(to=form.chosen_member(), by=request.membership, now=timezone.now())
        except UnableToTransferOwnership as error:
            form.add_error("member", str(error))
        else:
            messages.success(
                request, _("%(name)s is the owner now, and you are an admin.") % {"name": heir.user.get_full_name()}
            )
            return redirect("accounts:member-list", request.organization.slug)
    status = 422 if form.is_bound else 200
    return render(request, "accounts/ownership_transfer.html", {"form": form, "others": others}, status=status)
