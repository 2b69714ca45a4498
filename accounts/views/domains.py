"""Pages of verified domains: for who looks after the organization, and for who may join by their address."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from accounts import selectors
from accounts.access import OrganizationRequest, SignedInRequest, organization_required, recent_sign_in_required
from accounts.forms.sign_on import DomainForm, JoinRoleForm
from accounts.models import Domain, Permission
from accounts.services.domain_join import OfferNotFound, UnableToJoin, join_by_domain
from accounts.services.domains import (
    UnableToAddDomain,
    UnableToChangeDomain,
    UnableToVerifyDomain,
    add_domain,
    remove_domain,
    set_join_role,
    verify_domain,
)
from accounts.views.sign_in import landing
from portal.lib.http import page_or_partial


@organization_required(Permission.MANAGE_ORGANIZATION)
@recent_sign_in_required
@require_http_methods(["GET", "HEAD", "POST"])
def domain_list(request: OrganizationRequest) -> HttpResponse:
    form = DomainForm(request.POST or None)
    if form.is_valid():
        try:
            added = add_domain(name=form.cleaned_data["name"], by=request.membership, now=timezone.now())
        except UnableToAddDomain as error:
            form.add_error("name", str(error))
        else:
            return redirect("accounts:domain-detail", request.organization.slug, added.public_id)
    context = {"form": form, "domains": selectors.domain_rows(request.organization)}
    template = page_or_partial(request, "accounts/domain_list.html", "domain-form")
    return render(request, template, context, status=422 if form.is_bound else 200)


@organization_required(Permission.MANAGE_ORGANIZATION)
@recent_sign_in_required
@require_http_methods(["GET", "HEAD", "POST"])
def domain_detail(request: OrganizationRequest, public_id: str) -> HttpResponse:
    """Show the record to set and what the domain opens; take what people may join as."""
    domain = get_object_or_404(Domain.objects.owned_by(request.organization), public_id=public_id)
    form = JoinRoleForm(request.POST if request.method == "POST" else None, initial={"join_role": domain.join_role})
    if form.is_valid():
        try:
            set_join_role(domain=domain, role=form.chosen_role(), by=request.membership, now=timezone.now())
        except UnableToChangeDomain as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, _("Saved."))
            return redirect("accounts:domain-detail", request.organization.slug, public_id)
    context = {"form": form, "domain": domain, "state": domain.state()}
    return render(request, "accounts/domain_detail.html", context, status=422 if form.is_bound else 200)


@organization_required(Permission.MANAGE_ORGANIZATION)
@recent_sign_in_required
@require_POST
def verify(request: OrganizationRequest, public_id: str) -> HttpResponse:
    domain = get_object_or_404(Domain.objects.owned_by(request.organization), public_id=public_id)
    try:
        verify_domain(domain=domain, by=request.membership, now=timezone.now())
    except UnableToVerifyDomain as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("%(domain)s is verified.") % {"domain": domain.shown})
    return redirect("accounts:domain-detail", request.organization.slug, public_id)


@organization_required(Permission.MANAGE_ORGANIZATION)
@recent_sign_in_required
@require_http_methods(["GET", "HEAD", "POST"])
def remove(request: OrganizationRequest, public_id: str) -> HttpResponse:
    """Ask once, then take the domain out of the list."""
    domain = get_object_or_404(Domain.objects.owned_by(request.organization), public_id=public_id)
    if request.method == "POST":
        try:
            remove_domain(domain=domain, by=request.membership, now=timezone.now())
        except UnableToChangeDomain as error:
            messages.error(request, str(error))
        else:
            messages.success(request, _("%(domain)s is out of the list.") % {"domain": domain.shown})
        return redirect("accounts:domain-list", request.organization.slug)
    return render(request, "accounts/domain_remove.html", {"domain": domain})


@login_required
@require_POST
def join(request: SignedInRequest, public_id: str) -> HttpResponse:
    """Make whoever has a verified address of a domain a member of its organization."""
    try:
        membership = join_by_domain(public_id=public_id, user=request.user, now=timezone.now())
    except OfferNotFound as error:
        raise Http404 from error
    except UnableToJoin as error:
        messages.error(request, str(error))
        return redirect("accounts:organization-list")
    messages.success(request, _("You are a member of %(name)s now.") % {"name": membership.organization.name})
    return redirect(landing(membership.organization, is_new=False))
