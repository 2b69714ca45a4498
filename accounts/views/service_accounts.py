"""Pages of service accounts: programs that are members of a project, and their keys."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import selectors
from accounts.access import OrganizationRequest, organization_required, recent_sign_in_required, require_in
from accounts.forms.keys import ServiceAccountForm
from accounts.models import Permission, Project, ServiceAccount
from accounts.services.service_accounts import (
    UnableToChangeServiceAccount,
    UnableToCreateServiceAccount,
    create_service_account,
    delete_service_account,
    disable_service_account,
    enable_service_account,
)


@organization_required(Permission.VIEW)
@require_safe
def service_account_list(request: OrganizationRequest) -> HttpResponse:
    after = request.GET.get("after", "")
    context = {
        "page": selectors.service_account_page(request.organization, after),
        "is_first": not after,
        "may_manage": request.membership.may_somewhere(Permission.MANAGE_SERVICE_ACCOUNTS),
    }
    return render(request, "accounts/service_account_list.html", context)


@organization_required(Permission.MANAGE_SERVICE_ACCOUNTS, in_projects=True)
@recent_sign_in_required
@require_http_methods(["GET", "HEAD", "POST"])
def service_account_create(request: OrganizationRequest) -> HttpResponse:
    projects = [
        project
        for project in Project.objects.owned_by(request.organization).in_order()
        if request.membership.may_in(Permission.MANAGE_SERVICE_ACCOUNTS, project.pk)
    ]
    form = ServiceAccountForm(request.POST or None, membership=request.membership, projects=projects)
    if form.is_valid():
        try:
            account = create_service_account(
                project=form.chosen_project(),
                name=form.cleaned_data["name"],
                description=form.cleaned_data["description"],
                scopes=form.chosen_scopes(),
                created_by=request.user,
                now=timezone.now(),
            )
        except UnableToCreateServiceAccount as error:
            form.add_error("name", str(error))
        else:
            messages.success(request, _("%(name)s is ready: give it a key.") % {"name": account.name})
            return redirect("accounts:service-account-detail", request.organization.slug, account.public_id)
    status = 422 if form.is_bound else 200
    return render(request, "accounts/service_account_form.html", {"form": form}, status=status)


@organization_required(Permission.VIEW)
@require_safe
def service_account_detail(request: OrganizationRequest, public_id: str) -> HttpResponse:
    account = _account(request, public_id)
    context = {
        "account": account,
        "keys": selectors.service_account_keys(account, request.membership, timezone.now()),
        "is_enabled": account.state is ServiceAccount.State.ENABLED,
        "may_manage": request.membership.may_in(Permission.MANAGE_SERVICE_ACCOUNTS, account.project_id),
        "may_enable": request.membership.may_give(account.scopes, account.project_id),
        "may_manage_keys": request.membership.may_in(Permission.MANAGE_KEYS, account.project_id),
    }
    return render(request, "accounts/service_account_detail.html", context)


@organization_required(Permission.MANAGE_SERVICE_ACCOUNTS, in_projects=True, open_while_stopped=True)
@require_POST
def service_account_disable(request: OrganizationRequest, public_id: str) -> HttpResponse:
    """Let its keys rest. Ending access never waits for a new proof of who one is."""
    account = _account_to_manage(request, public_id)
    try:
        disable_service_account(account=account, now=timezone.now())
    except UnableToChangeServiceAccount as error:
        messages.error(request, str(error))
        return redirect("accounts:service-account-list", request.organization.slug)
    messages.success(request, _("%(name)s is disabled: its keys are refused within a second.") % {"name": account.name})
    return redirect("accounts:service-account-detail", request.organization.slug, account.public_id)


@organization_required(Permission.MANAGE_SERVICE_ACCOUNTS, in_projects=True)
@recent_sign_in_required
@require_POST
def service_account_enable(request: OrganizationRequest, public_id: str) -> HttpResponse:
    account = _account_to_manage(request, public_id)
    if not request.membership.may_give(account.scopes, account.project_id):
        # Giving it back is giving it.
        raise PermissionDenied
    try:
        enable_service_account(account=account, now=timezone.now())
    except UnableToChangeServiceAccount as error:
        messages.error(request, str(error))
        return redirect("accounts:service-account-list", request.organization.slug)
    messages.success(request, _("%(name)s is enabled: its keys work again.") % {"name": account.name})
    return redirect("accounts:service-account-detail", request.organization.slug, account.public_id)


@organization_required(Permission.MANAGE_SERVICE_ACCOUNTS, in_projects=True, open_while_stopped=True)
@require_http_methods(["GET", "HEAD", "POST"])
def service_account_delete(request: OrganizationRequest, public_id: str) -> HttpResponse:
    """Ask once, then end the account and its keys."""
    account = _account_to_manage(request, public_id)
    if request.method == "POST":
        delete_service_account(account=account, now=timezone.now())
        messages.success(request, _("%(name)s is deleted, and its keys have ended.") % {"name": account.name})
        return redirect("accounts:service-account-list", request.organization.slug)
    return render(request, "accounts/service_account_delete.html", {"account": account})


def _account_to_manage(request: OrganizationRequest, public_id: str) -> ServiceAccount:
    account = _account(request, public_id)
    require_in(request, Permission.MANAGE_SERVICE_ACCOUNTS, account.project_id)
    return account


def _account(request: OrganizationRequest, public_id: str) -> ServiceAccount:
    accounts = ServiceAccount.objects.owned_by(request.organization).present()
    return get_object_or_404(accounts.select_related("project", "created_by"), public_id=public_id)
