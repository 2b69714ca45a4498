"""Pages of credit: what there is, and buying more of it on the payment provider's page."""

from urllib.parse import urljoin

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from accounts.access import OrganizationRequest, organization_required, recent_sign_in_required
from accounts.models import Permission
from billing import selectors
from billing.forms.credit import TopUpForm
from billing.models import Payment
from billing.selectors import debts, disputes, refunds
from billing.services.debts import UnableToPayDebt, start_debt_payment
from billing.services.refunds import UnableToRefund, ask_for_refund
from billing.services.retries import UnableToCollect, start_again
from billing.services.top_ups import (
    ProviderUnavailable,
    UnableToTopUp,
    WaysBack,
    cancel_payment,
    open_payment_page,
    start_top_up,
)
from portal.lib.http import page_or_partial
from portal.lib.jobs import enqueue
from portal.lib.money import NANO_PER_CENT, display_usd


@organization_required(Permission.VIEW_SPEND)
@require_safe
def credit(request: OrganizationRequest) -> HttpResponse:
    return _credit_page(request, TopUpForm())


@organization_required(Permission.MANAGE_BILLING)
@require_POST
def top_up(request: OrganizationRequest) -> HttpResponse:
    """Start a payment. Its row is committed with this answer; the next page asks the provider."""
    form = TopUpForm(request.POST)
    if form.is_valid():
        try:
            payment = start_top_up(
                organization=request.organization,
                user=request.user,
                amount_cents=form.amount_cents(),
                now=timezone.now(),
            )
        except UnableToTopUp as error:
            form.add_error("amount", str(error))
        else:
            return redirect("billing:payment-checkout", request.organization.slug, payment.public_id)
    return _credit_page(request, form)


@organization_required(Permission.MANAGE_BILLING)
@require_POST
def debt_pay(request: OrganizationRequest) -> HttpResponse:
    """Start to pay what lost disputes leave owed. The row is committed with this answer; the next page asks."""
    try:
        payment = start_debt_payment(organization=request.organization, user=request.user, now=timezone.now())
    except UnableToPayDebt as error:
        messages.error(request, str(error))
        return redirect("billing:credit", request.organization.slug)
    return redirect("billing:payment-checkout", request.organization.slug, payment.public_id)


@organization_required(Permission.MANAGE_BILLING)
@require_safe
def checkout(request: OrganizationRequest, public_id: str) -> HttpResponse:
    """Lead on to the provider's page: by a page of ours, since a form may not be redirected to another site."""
    payment = _payment(request, public_id)
    detail = reverse("billing:payment-detail", args=[request.organization.slug, payment.public_id])
    credit_page = reverse("billing:credit", args=[request.organization.slug])
    back = WaysBack(paid=urljoin(settings.PORTAL_URL, detail), canceled=urljoin(settings.PORTAL_URL, credit_page))
    try:
        address = open_payment_page(payment=payment, back=back)
    except ProviderUnavailable as error:
        context = {"payment": selectors.payment_row(payment), "problem": str(error)}
        return render(request, "billing/payment_leave.html", context, status=error.status)
    if address is None:
        return redirect(detail)
    context = {"payment": selectors.payment_row(payment), "address": address}
    return render(request, "billing/payment_leave.html", context)


@organization_required(Permission.VIEW_SPEND)
@require_safe
def payment_detail(request: OrganizationRequest, public_id: str) -> HttpResponse:
    """Show a payment; while it is unfinished the page asks again by itself."""
    payment = _payment(request, public_id)
    if not payment.is_finished and not request.htmx:
        # Who comes back from the provider is not to wait for its message.
        enqueue("billing.read_payment", payment_id=payment.pk)
    budget = selectors.budget_of(request.organization)
    request.balance_nano = budget.remaining_nano
    context = {
        "payment": selectors.payment_row(payment),
        "budget": selectors.budget_meter(budget),
        "may_manage": request.membership.may(Permission.MANAGE_BILLING),
        "refunds": refunds.refund_rows_of(payment),
        "may_be_unspent": refunds.may_be_unspent(payment),
        "disputes": disputes.dispute_rows_of(payment),
    }
    answer = render(request, page_or_partial(request, "billing/payment_detail.html", "payment"), context)
    if payment.is_finished and request.htmx and not request.htmx.boosted:
        # The balance stands in the frame of the page too.
        answer["HX-Refresh"] = "true"
    return answer


@organization_required(Permission.MANAGE_BILLING)
@require_POST
def payment_cancel(request: OrganizationRequest, public_id: str) -> HttpResponse:
    payment = _payment(request, public_id)
    if not payment.is_finished:
        try:
            became = cancel_payment(payment=payment, now=timezone.now())
        except ProviderUnavailable as error:
            messages.error(request, str(error))
        else:
            if became == Payment.State.CANCELED:
                messages.success(request, _("The payment is canceled. Nothing was charged."))
    return redirect("billing:payment-detail", request.organization.slug, payment.public_id)


@organization_required(Permission.MANAGE_BILLING)
@recent_sign_in_required
@require_POST
def refund(request: OrganizationRequest, public_id: str) -> HttpResponse:
    """Ask for what is unspent of a payment; staff decides, and the page says how it stands."""
    payment = _payment(request, public_id)
    try:
        asked = ask_for_refund(payment=payment, by=request.user, now=timezone.now())
    except UnableToRefund as error:
        messages.error(request, str(error))
    else:
        amount = display_usd(asked.amount_cents * NANO_PER_CENT)
        messages.success(
            request, _("You have asked for %(amount)s back. We mail when it is sent.") % {"amount": amount}
        )
    return redirect("billing:payment-detail", request.organization.slug, payment.public_id)


@organization_required(Permission.MANAGE_BILLING)
@require_POST
def payment_again(request: OrganizationRequest, public_id: str) -> HttpResponse:
    """Pay with the customer there what could not be paid without them."""
    payment = _payment(request, public_id)
    if not payment.is_finished or payment.card_id is None or payment.state == Payment.State.SUCCEEDED:
        return redirect("billing:payment-detail", request.organization.slug, payment.public_id)
    try:
        begun = start_again(payment=payment, user=request.user, now=timezone.now())
    except (UnableToTopUp, UnableToCollect) as error:
        messages.error(request, str(error))
        return redirect("billing:payment-detail", request.organization.slug, payment.public_id)
    return redirect("billing:payment-checkout", request.organization.slug, begun.public_id)


def _credit_page(request: OrganizationRequest, form: TopUpForm) -> HttpResponse:
    after = request.GET.get("after", "")
    budget = selectors.budget_of(request.organization)
    request.balance_nano = budget.remaining_nano
    context = {
        "form": form,
        "budget": selectors.budget_meter(budget),
        "grants": selectors.newest_grants(request.organization),
        "commitments": selectors.burn_downs(request.organization, timezone.now()),
        "page": selectors.payment_page(request.organization, after if "\0" not in after else ""),
        "is_first": not after,
        "may_buy": request.membership.may(Permission.MANAGE_BILLING) and selectors.sells_credit(),
        "is_disputed": disputes.is_disputed(request.organization),
        "owed": debts.owed_of(request.organization),
    }
    return render(request, "billing/credit.html", context, status=422 if form.is_bound else 200)


def _payment(request: OrganizationRequest, public_id: str) -> Payment:
    payments = Payment.objects.owned_by(request.organization).select_related("organization")
    return get_object_or_404(payments, public_id=public_id)
