"""The first page of an organization that is at work: what burns, what is left, what runs, what to do next."""

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.access import OrganizationRequest, organization_required
from accounts.models import Permission
from portal.selectors.overview import overview_of


@organization_required(Permission.VIEW)
@require_safe
def overview(request: OrganizationRequest) -> HttpResponse:
    view = overview_of(request.membership, timezone.now())
    request.balance_nano = view.budget.remaining_nano
    context = {
        "view": view,
        "may_see_spend": request.membership.may(Permission.VIEW_SPEND),
        "may_launch": request.membership.may_somewhere(Permission.MANAGE_INSTANCES),
        "may_call": request.membership.may(Permission.USE_MODELS),
    }
    return render(request, "portal/overview.html", context)
