"""Pages of the directory: the tokens it comes with, what it has provisioned, and which role its groups give."""

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from accounts import selectors
from accounts.access import OrganizationRequest, organization_required, recent_sign_in_required
from accounts.forms.directory import DirectoryTokenForm, GroupRoleForm
from accounts.models import DirectoryGroup, DirectoryToken, Permission
from accounts.models.directory import GIVEN_ROLES
from accounts.services.directory_groups import UnableToSetGroupRole, set_group_role
from accounts.services.directory_tokens import UnableToIssueToken, issue_directory_token, revoke_directory_token
from portal.lib.http import page_or_partial


@organization_required(Permission.MANAGE_MEMBERS)
@recent_sign_in_required
@require_http_methods(["GET", "HEAD", "POST"])
def directory(request: OrganizationRequest) -> HttpResponse:
    """Show what the directory has provisioned; make a token, whose secret is on this one answer."""
    now = timezone.now()
    form = DirectoryTokenForm(request.POST or None)
    if form.is_valid():
        try:
            life = form.chosen_life()
            issued = issue_directory_token(name=form.cleaned_data["name"], life=life, by=request.membership, now=now)
        except UnableToIssueToken as error:
            form.add_error(None, str(error))
        else:
            # Shown in this answer and never again; RequestMiddleware forbids storing it.
            context = {"token": issued.token, "secret": issued.secret, "base_url": _base_url()}
            return render(request, "accounts/directory_token_created.html", context)
    after = request.GET.get("after", "")
    context = {
        "form": form,
        "base_url": _base_url(),
        "tokens": selectors.directory_token_rows(request.organization, now),
        "groups": selectors.directory_group_rows(request.organization),
        "roles": GIVEN_ROLES,
        "page": selectors.directory_person_page(request.organization, after),
        "is_first": not after,
    }
    template = page_or_partial(request, "accounts/directory.html", "token-form")
    return render(request, template, context, status=422 if form.is_bound else 200)


def _base_url() -> str:
    return f"{settings.PORTAL_URL}/scim/v2"


@organization_required(Permission.MANAGE_MEMBERS)
@require_http_methods(["GET", "HEAD", "POST"])
def token_revoke(request: OrganizationRequest, public_id: str) -> HttpResponse:
    """Ask once, then end the token. Ending access never waits for a new proof of who one is."""
    token = get_object_or_404(DirectoryToken.objects.owned_by(request.organization), public_id=public_id)
    if request.method == "POST":
        revoke_directory_token(token=token, now=timezone.now())
        messages.success(request, _("%(name)s is revoked and opens nothing any more.") % {"name": token.name})
        return redirect("accounts:directory", request.organization.slug)
    return render(request, "accounts/directory_token_revoke.html", {"token": token})


@organization_required(Permission.MANAGE_MEMBERS)
@recent_sign_in_required
@require_POST
def group_role(request: OrganizationRequest, public_id: str) -> HttpResponse:
    """Choose what the people of a group are here."""
    group = get_object_or_404(DirectoryGroup.objects.owned_by(request.organization), public_id=public_id)
    form = GroupRoleForm(request.POST)
    if form.is_valid():
        try:
            group = set_group_role(group=group, role=form.chosen_role(), by=request.membership, now=timezone.now())
        except UnableToSetGroupRole as error:
            messages.error(request, str(error))
        else:
            words = {"name": group.display_name, "role": group.get_role_display() or _("no role")}
            messages.success(request, _("%(name)s gives: %(role)s.") % words)
    else:
        messages.error(request, _("There is no such role."))
    return redirect("accounts:directory", request.organization.slug)
