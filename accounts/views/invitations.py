"""Pages of invitations: for who invites, and for who was invited."""

from http import HTTPStatus

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from accounts import selectors
from accounts.access import OrganizationRequest, SignedInRequest, organization_required, recent_sign_in_required
from accounts.forms import InviteForm
from accounts.models import Invitation, InvitationState, Permission, Project
from accounts.services.invitations import (
    WHY_NOT,
    InvitationNotFound,
    UnableToAcceptInvitation,
    UnableToChangeInvitation,
    UnableToInvite,
    accept_invitation,
    invite_member,
    resend_invitation,
    revoke_invitation,
)
from accounts.views.sign_in import landing
from portal.lib.http import page_or_partial
from portal.lib.tenancy import set_user


@organization_required(Permission.MANAGE_MEMBERS)
@recent_sign_in_required
@require_http_methods(["GET", "HEAD", "POST"])
def invite(request: OrganizationRequest) -> HttpResponse:
    projects = list(Project.objects.owned_by(request.organization).in_order())
    roles = selectors.grantable_roles(request.membership)
    form = InviteForm(request.POST or None, roles=roles, projects=projects)
    if form.is_valid():
        try:
            invitation = invite_member(
                email=form.cleaned_data["email"],
                role=form.chosen_role(),
                project=form.chosen_project(),
                by=request.membership,
                now=timezone.now(),
            )
        except UnableToInvite as error:
            form.add_error("email", str(error))
        else:
            messages.success(request, _("%(email)s gets a mail with a link to join.") % {"email": invitation.email})
            return redirect("accounts:member-list", request.organization.slug)
    status = 422 if form.is_bound else 200
    template = page_or_partial(request, "accounts/invitation_form.html", "invitation-form")
    return render(request, template, {"form": form}, status=status)


@organization_required(Permission.MANAGE_MEMBERS)
@recent_sign_in_required
@require_POST
def resend(request: OrganizationRequest, public_id: str) -> HttpResponse:
    invitation = get_object_or_404(Invitation.objects.owned_by(request.organization), public_id=public_id)
    try:
        resend_invitation(invitation=invitation, by=request.membership, now=timezone.now())
    except UnableToChangeInvitation as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("%(email)s gets a new link; it ends the old one.") % {"email": invitation.email})
    return redirect("accounts:member-list", request.organization.slug)


@organization_required(Permission.MANAGE_MEMBERS)
@require_POST
def revoke(request: OrganizationRequest, public_id: str) -> HttpResponse:
    """End an invitation, which never waits for a new proof of who one is."""
    invitation = get_object_or_404(Invitation.objects.owned_by(request.organization), public_id=public_id)
    try:
        revoke_invitation(invitation=invitation, by=request.membership, now=timezone.now())
    except UnableToChangeInvitation as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("The invitation of %(email)s is revoked.") % {"email": invitation.email})
    return redirect("accounts:member-list", request.organization.slug)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def invitation(request: SignedInRequest, token: str) -> HttpResponse:
    """Show who was invited what they were invited to, and let them join."""
    set_user(request.user.pk)
    refusal = ""
    if request.method == "POST":
        try:
            membership = accept_invitation(token=token, user=request.user, now=timezone.now())
        except InvitationNotFound:
            return _no_invitation(request)
        except UnableToAcceptInvitation as error:
            refusal = str(error)
        else:
            messages.success(request, _("You are a member of %(name)s now.") % {"name": membership.organization.name})
            return HttpResponseRedirect(landing(membership.organization, is_new=False))
    found = selectors.invitation_view(request.user, token, timezone.now())
    if found is None:
        return _no_invitation(request)
    if found.state is not InvitationState.OPEN:
        refusal = refusal or WHY_NOT[found.state]
    status = HTTPStatus.UNPROCESSABLE_ENTITY if request.method == "POST" else HTTPStatus.OK
    return render(request, "accounts/invitation.html", {"invitation": found, "refusal": refusal}, status=status)


def _no_invitation(request: SignedInRequest) -> HttpResponse:
    # One answer for a link that was never mailed and for one that went to somebody else.
    return render(request, "accounts/invitation_missing.html", status=HTTPStatus.NOT_FOUND)
