"""Pages of rate limits: how fast the organization, its projects and its keys may call models."""

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from accounts.access import OrganizationRequest, organization_required, require_in
from accounts.forms.rate_limits import RatesForm
from accounts.models import ApiKey, Permission, Project
from accounts.selectors.rate_limits import (
    organization_rates,
    own_rates,
    rate_page,
    rate_words,
    rates_of_each_key,
)
from accounts.services.rate_limits import RateTarget, UnableToSetRates, set_rates


@organization_required(Permission.VIEW)
@require_safe
def rate_limit_list(request: OrganizationRequest) -> HttpResponse:
    after = request.GET.get("after", "")
    page = rate_page(request.organization, after)
    if page is None:
        raise Http404
    context = {
        "page": page,
        "is_first": not after,
        "whole": organization_rates(request.organization),
        "each_key": rates_of_each_key(),
    }
    return render(request, "accounts/rate_limit_list.html", context)


@organization_required(Permission.MANAGE_PROJECTS)
@require_http_methods(["GET", "HEAD", "POST"])
def of_project(request: OrganizationRequest, public_id: str) -> HttpResponse:
    project = get_object_or_404(Project.objects.owned_by(request.organization), public_id=public_id)
    return _set(request, RateTarget(request.organization, project=project))


@organization_required(Permission.MANAGE_KEYS, in_projects=True)
@require_http_methods(["GET", "HEAD", "POST"])
def of_key(request: OrganizationRequest, public_id: str) -> HttpResponse:
    api_key = get_object_or_404(ApiKey.objects.owned_by(request.organization), public_id=public_id)
    require_in(request, Permission.MANAGE_KEYS, api_key.project_id)
    return _set(request, RateTarget(request.organization, api_key=api_key))


def _set(request: OrganizationRequest, target: RateTarget) -> HttpResponse:
    """Set the rates over a project or key; empty ones are taken away."""
    before = own_rates(target.organization.pk, target.project, target.api_key)
    initial = {
        "requests_per_minute": before.requests_per_minute,
        "tokens_per_minute": before.tokens_per_minute,
        "concurrent_requests": before.concurrent_requests,
    }
    form = RatesForm(request.POST if request.method == "POST" else None, initial=initial)
    if form.is_valid():
        try:
            set_rates(target=target, rates=form.rates(), now=timezone.now())
        except UnableToSetRates as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, _("The limits hold from now on."))
            return redirect("accounts:rate-limit-list", request.organization.slug)
    context = {"form": form, "over": rate_words(target.project, target.api_key)}
    return render(request, "accounts/rate_limit_form.html", context, status=422 if form.is_bound else 200)
