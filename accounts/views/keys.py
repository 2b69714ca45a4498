"""Pages of API keys. A secret is on one answer only, and nowhere after."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from accounts import selectors
from accounts.access import OrganizationRequest, organization_required, recent_sign_in_required, require_in
from accounts.forms.keys import KeyForm, KeyLimitsForm, RotationForm, limits_of
from accounts.models import ApiKey, Permission, Project, Scope, ServiceAccount
from accounts.selectors.rate_limits import rates_of_key
from accounts.services.api_keys import UnableToIssueKey, change_key, issue_key, kind_for, revoke_key
from accounts.services.key_rotation import UnableToRotateKey, rotate_key
from portal.lib.http import page_or_partial


@organization_required(Permission.VIEW)
@require_safe
def key_list(request: OrganizationRequest) -> HttpResponse:
    after = request.GET.get("after", "")
    context = {
        "page": selectors.key_page(request.organization, request.membership, timezone.now(), after),
        "is_first": not after,
        "may_manage": request.membership.may_somewhere(Permission.MANAGE_KEYS),
    }
    return render(request, "accounts/key_list.html", context)


@organization_required(Permission.MANAGE_KEYS, in_projects=True)
@recent_sign_in_required
@require_http_methods(["GET", "HEAD", "POST"])
def key_create(request: OrganizationRequest) -> HttpResponse:
    projects = _projects_for_keys(request)
    accounts = list(
        ServiceAccount.objects.owned_by(request.organization).enabled().filter(project__in=projects).in_order()
    )
    form = KeyForm(
        request.POST or None,
        membership=request.membership,
        projects=projects,
        accounts=accounts,
        initial=_asked_for(request, accounts),
    )
    if form.is_valid():
        now = timezone.now()
        try:
            issued = issue_key(
                project=form.chosen_project(),
                name=form.cleaned_data["name"],
                scopes=form.chosen_scopes(),
                created_by=request.user,
                now=now,
                kind=kind_for(form.chosen_scopes()),
                expires_at=form.expires_at(now),
                limits=form.limits(),
                is_personal=form.cleaned_data["is_personal"],
                service_account=form.chosen_service_account(),
            )
        except UnableToIssueKey as error:
            form.add_error(None, str(error))
        else:
            # Shown in this answer and never again; RequestMiddleware forbids storing it.
            context = {"key": issued.api_key, "secret": issued.secret, "api_url": f"{settings.PORTAL_URL}/v1"}
            return render(request, "accounts/key_created.html", context)
    status = 422 if form.is_bound else 200
    template = page_or_partial(request, "accounts/key_form.html", "key-form")
    return render(request, template, {"form": form}, status=status)


def _projects_for_keys(request: OrganizationRequest) -> list[Project]:
    projects = Project.objects.owned_by(request.organization).in_order()
    return [project for project in projects if request.membership.may_in(Permission.MANAGE_KEYS, project.pk)]


def _key_to_manage(request: OrganizationRequest, public_id: str) -> ApiKey:
    """Return a key that the member may widen or see a new secret of: one that may do no more than they."""
    key = get_object_or_404(ApiKey.objects.owned_by(request.organization).with_projects(), public_id=public_id)
    if not _may_manage(request, key):
        raise PermissionDenied
    return key


def _may_manage(request: OrganizationRequest, key: ApiKey) -> bool:
    may_in_project = request.membership.may_in(Permission.MANAGE_KEYS, key.project_id)
    return may_in_project and request.membership.may_give(key.scopes, key.project_id)


def _asked_for(request: OrganizationRequest, accounts: Sequence[ServiceAccount]) -> dict[str, Any]:
    """Return what the form starts with on the way from a service account's page: its project, and all it may do."""
    asked = request.GET.get("service_account")
    account = next((account for account in accounts if account.public_id == asked), None)
    if account is None:
        return {}
    # A key that manages keys cannot call models, so the form does not propose it.
    scopes = [scope for scope in account.scopes if scope != Scope.KEYS_WRITE] or list(account.scopes)
    return {"service_account": account.public_id, "project": account.project.public_id, "scopes": scopes}


@organization_required(Permission.VIEW)
@require_safe
def key_detail(request: OrganizationRequest, public_id: str) -> HttpResponse:
    keys = ApiKey.objects.owned_by(request.organization).with_projects()
    key = get_object_or_404(keys, public_id=public_id)
    now = timezone.now()
    state = key.state(now)
    context = {
        "key": key,
        "now": now,
        "state": state,
        "rates": rates_of_key(key),
        "may_revoke": not key.has_ended(now) and request.membership.may_in(Permission.MANAGE_KEYS, key.project_id),
        "former_secrets": [] if key.has_ended(now) else key.former_secrets_at(now),
        "leaks": list(key.leaks.order_by("-reported_at", "-pk")[:5]),
        "api_url": f"{settings.PORTAL_URL}/v1",
        "may_manage": not key.has_ended(now) and _may_manage(request, key),
        "may_cap": request.membership.may(Permission.MANAGE_BILLING),
    }
    return render(request, "accounts/key_detail.html", context)


@organization_required(Permission.MANAGE_KEYS, in_projects=True)
@recent_sign_in_required
@require_http_methods(["GET", "HEAD", "POST"])
def key_change(request: OrganizationRequest, public_id: str) -> HttpResponse:
    """Give the key another name and other limits."""
    key = _key_to_manage(request, public_id)
    form = KeyLimitsForm(request.POST or None, initial=limits_of(key))
    if form.is_valid():
        try:
            change_key(api_key=key, name=form.cleaned_data["name"], limits=form.limits(), now=timezone.now())
        except UnableToIssueKey as error:
            form.add_error("name", str(error))
        else:
            messages.success(request, _("Saved. It holds everywhere within a second."))
            return redirect("accounts:key-detail", request.organization.slug, key.public_id)
    status = 422 if form.is_bound else 200
    template = page_or_partial(request, "accounts/key_change.html", "key-change")
    return render(request, template, {"form": form, "key": key}, status=status)


@organization_required(Permission.MANAGE_KEYS, in_projects=True)
@recent_sign_in_required
@require_http_methods(["GET", "HEAD", "POST"])
def key_rotate(request: OrganizationRequest, public_id: str) -> HttpResponse:
    """Give the key a new secret, shown in this answer and never again."""
    key = _key_to_manage(request, public_id)
    form = RotationForm(request.POST or None)
    if form.is_valid():
        try:
            issued = rotate_key(api_key=key, overlap=form.chosen_overlap(), now=timezone.now())
        except UnableToRotateKey as error:
            form.add_error(None, str(error))
        else:
            context = {"key": key, "secret": issued.secret, "api_url": f"{settings.PORTAL_URL}/v1", "is_rotated": True}
            return render(request, "accounts/key_created.html", context)
    status = 422 if form.is_bound else 200
    return render(request, "accounts/key_rotate.html", {"form": form, "key": key}, status=status)


@organization_required(Permission.MANAGE_KEYS, in_projects=True, open_while_stopped=True)
@require_http_methods(["GET", "HEAD", "POST"])
def key_revoke(request: OrganizationRequest, public_id: str) -> HttpResponse:
    """Ask once, then end the key. Ending access never waits for a new proof of who one is."""
    key = get_object_or_404(ApiKey.objects.owned_by(request.organization), public_id=public_id)
    require_in(request, Permission.MANAGE_KEYS, key.project_id)
    if request.method == "POST":
        revoke_key(api_key=key, now=timezone.now())
        messages.success(request, _("%(name)s is revoked and stops working within a second.") % {"name": key.name})
        return redirect("accounts:key-list", request.organization.slug)
    return render(request, "accounts/key_revoke.html", {"key": key})
