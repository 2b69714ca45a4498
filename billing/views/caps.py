"""Pages of spend caps: what limits the organization, its projects and its keys, and how full each is."""

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from accounts.access import OrganizationRequest, organization_required, recent_sign_in_required
from accounts.models import ApiKey, Permission, Project
from billing import selectors
from billing.forms.caps import CapForm
from billing.models import SpendCap
from billing.selectors.anomalies import unusual_days
from billing.selectors.terms import agreed_limits
from billing.services.caps import CapTarget, UnableToSetCap, remove_cap, set_cap
from portal.lib.money import nano_to_decimal


@organization_required(Permission.VIEW_SPEND)
@require_safe
def cap_list(request: OrganizationRequest) -> HttpResponse:
    after, now = request.GET.get("after", ""), timezone.now()
    budget = selectors.budget_of(request.organization)
    request.balance_nano = budget.remaining_nano
    context = {
        "budget": selectors.budget_meter(budget),
        "page": selectors.cap_page(request.organization, now, after),
        "agreed": agreed_limits(request.organization),
        "warnings": selectors.newest_warnings(request.organization),
        "is_first": not after,
        "unusual": unusual_days(request.organization),
        "may_manage": request.membership.may(Permission.MANAGE_BILLING),
    }
    return render(request, "billing/cap_list.html", context)


@organization_required(Permission.MANAGE_BILLING, open_while_stopped=False)
@recent_sign_in_required
@require_http_methods(["GET", "HEAD", "POST"])
def cap_create(request: OrganizationRequest) -> HttpResponse:
    """Set a cap over the organization, or over the project or API key that the address names."""
    target = _target(request)
    form = CapForm(request.POST or None, scope=target.scope, initial={"period": "month", "stops": True})
    if form.is_valid():
        try:
            set_cap(
                target=target,
                period=form.chosen_period(),
                limit_nano=form.limit_nano(),
                stops=form.cleaned_data["stops"],
                now=timezone.now(),
            )
        except UnableToSetCap as error:
            form.add_error("limit", str(error))
        else:
            messages.success(request, _("The cap holds from now on."))
            return redirect("billing:cap-list", request.organization.slug)
    context = {"form": form, "over": selectors.cap_words_of(target.project, target.api_key)}
    return render(request, "billing/cap_form.html", context, status=422 if form.is_bound else 200)


@organization_required(Permission.MANAGE_BILLING, open_while_stopped=False)
@recent_sign_in_required
@require_http_methods(["GET", "HEAD", "POST"])
def cap_change(request: OrganizationRequest, public_id: str) -> HttpResponse:
    cap = _cap(request, public_id)
    initial = {"limit": nano_to_decimal(cap.limit_nano), "stops": cap.stops}
    form = CapForm(request.POST or None, scope=SpendCap.Scope(cap.scope), period=cap.period, initial=initial)
    if form.is_valid():
        try:
            set_cap(
                target=CapTarget(request.organization, cap.project, cap.api_key),
                period=SpendCap.Period(cap.period),
                limit_nano=form.limit_nano(),
                stops=form.cleaned_data["stops"],
                now=timezone.now(),
            )
        except UnableToSetCap as error:
            form.add_error("limit", str(error))
        else:
            messages.success(request, _("The cap is changed."))
            return redirect("billing:cap-list", request.organization.slug)
    context = {"form": form, "cap": selectors.cap_row(cap, timezone.now())}
    return render(request, "billing/cap_change.html", context, status=422 if form.is_bound else 200)


@organization_required(Permission.MANAGE_BILLING, open_while_stopped=False)
@recent_sign_in_required
@require_http_methods(["GET", "HEAD", "POST"])
def cap_remove(request: OrganizationRequest, public_id: str) -> HttpResponse:
    """Ask once, then let the cap limit nothing any more."""
    cap = _cap(request, public_id)
    if request.method == "POST":
        remove_cap(cap=cap, now=timezone.now())
        messages.success(request, _("The cap is removed. What it counted stays in your spend."))
        return redirect("billing:cap-list", request.organization.slug)
    return render(request, "billing/cap_remove.html", {"cap": selectors.cap_row(cap, timezone.now())})


def _target(request: OrganizationRequest) -> CapTarget:
    """Return what the address asks a cap for. Raises Http404 for a project or key that is not the organization's."""
    project, key = request.GET.get("project", ""), request.GET.get("key", "")
    if "\0" in project + key or (project and key):
        raise Http404
    if project:
        mine = Project.objects.owned_by(request.organization)
        return CapTarget(request.organization, project=get_object_or_404(mine, public_id=project))
    if key:
        keys = ApiKey.objects.owned_by(request.organization).filter(revoked_at=None)
        return CapTarget(request.organization, api_key=get_object_or_404(keys, public_id=key))
    return CapTarget(request.organization)


def _cap(request: OrganizationRequest, public_id: str) -> SpendCap:
    caps = SpendCap.objects.owned_by(request.organization).limits().current().select_related("project", "api_key")
    return get_object_or_404(caps, public_id=public_id)
