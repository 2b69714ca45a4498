"""Pages of payment methods: cards that the provider keeps, added and looked after on its own pages."""

from urllib.parse import urljoin

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import OrganizationRequest, organization_required, recent_sign_in_required
from accounts.models import Permission
from billing import selectors
from billing.forms.credit import AutoReloadForm
from billing.models import PaymentMethod
from billing.selectors import cards
from billing.selectors.auto_reload import reload_view
from billing.services.auto_reload import UnableToReload, set_auto_reload
from billing.services.cards import (
    UnableToKeepCard,
    make_default,
    open_card_page,
    open_portal,
    remove_card,
    start_card_setup,
)
from billing.services.top_ups import ProviderUnavailable, WaysBack
from portal.lib.jobs import enqueue


@organization_required(Permission.VIEW_SPEND)
@require_safe
def card_list(request: OrganizationRequest) -> HttpResponse:
    if "back" in request.GET and selectors.sells_credit():
        # Who comes back from the provider is not to wait for its message.
        enqueue("billing.read_cards", organization_id=request.organization.pk)
    context = {
        "cards": cards.card_rows(request.organization, timezone.now()),
        "may_manage": request.membership.may(Permission.MANAGE_BILLING) and selectors.sells_credit(),
        "is_known": cards.is_known_to_provider(request.organization),
    }
    return render(request, "billing/card_list.html", context)


@organization_required(Permission.MANAGE_BILLING)
@require_POST
def card_add(request: OrganizationRequest) -> HttpResponse:
    """Begin to add a card. That is committed with this answer; the next page asks the provider."""
    try:
        start_card_setup(organization=request.organization, now=timezone.now())
    except UnableToKeepCard as error:
        messages.error(request, str(error))
        return redirect("billing:card-list", request.organization.slug)
    return redirect("billing:card-page", request.organization.slug)


@organization_required(Permission.MANAGE_BILLING)
@require_safe
def card_page(request: OrganizationRequest) -> HttpResponse:
    """Lead on to the provider's page: by a page of ours, since a form may not be redirected to another site."""
    back = _way_back(request)
    try:
        address = open_card_page(organization=request.organization, back=WaysBack(paid=back, canceled=back))
    except UnableToKeepCard as error:
        messages.error(request, str(error))
        return redirect("billing:card-list", request.organization.slug)
    except ProviderUnavailable as error:
        return _leave(request, problem=str(error), status=error.status)
    if address is None:
        return redirect(back)
    return _leave(request, address=address)


@organization_required(Permission.MANAGE_BILLING)
@recent_sign_in_required
@require_POST
def customer_portal(request: OrganizationRequest) -> HttpResponse:
    """Lead on to the provider's own pages for this customer."""
    try:
        return _leave(request, address=open_portal(organization=request.organization, back=_way_back(request)))
    except (UnableToKeepCard, ProviderUnavailable) as error:
        messages.error(request, str(error))
        return redirect("billing:card-list", request.organization.slug)


@organization_required(Permission.MANAGE_BILLING)
@recent_sign_in_required
@require_POST
def card_default(request: OrganizationRequest, public_id: str) -> HttpResponse:
    try:
        make_default(card=_card(request, public_id), now=timezone.now())
    except UnableToKeepCard as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("Payments without you use this card from now on."))
    return redirect("billing:card-list", request.organization.slug)


@organization_required(Permission.MANAGE_BILLING)
@require_POST
def card_remove(request: OrganizationRequest, public_id: str) -> HttpResponse:
    remove_card(card=_card(request, public_id), by=request.user, now=timezone.now())
    messages.success(request, _("The card is removed. It is not charged any more."))
    return redirect("billing:card-list", request.organization.slug)


@organization_required(Permission.MANAGE_BILLING)
@recent_sign_in_required
@require_http_methods(["GET", "HEAD", "POST"])
def auto_reload(request: OrganizationRequest) -> HttpResponse:
    view = reload_view(request.organization, timezone.now())
    form = AutoReloadForm(request.POST or None, initial=view.initial)
    if request.method == "POST" and form.is_valid():
        try:
            set_auto_reload(organization=request.organization, terms=form.terms(), by=request.user, now=timezone.now())
        except UnableToReload as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, _("Saved."))
            return redirect("billing:auto-reload", request.organization.slug)
    status = 422 if request.method == "POST" else 200
    return render(request, "billing/auto_reload.html", {"form": form, "reload": view}, status=status)


def _way_back(request: OrganizationRequest) -> str:
    return urljoin(settings.PORTAL_URL, reverse("billing:card-list", args=[request.organization.slug])) + "?back=1"


def _leave(request: OrganizationRequest, *, address: str = "", problem: str = "", status: int = 200) -> HttpResponse:
    context = {"address": address, "problem": problem}
    return render(request, "billing/card_leave.html", context, status=status)


def _card(request: OrganizationRequest, public_id: str) -> PaymentMethod:
    return get_object_or_404(PaymentMethod.objects.owned_by(request.organization), public_id=public_id)
