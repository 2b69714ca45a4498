"""Buy credit: the row first, then the provider's page. What comes of it: billing.services.payments."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import ClassVar

import structlog
from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import Organization, User
from accounts.services.audit import record_event
from billing.gateways import payment_provider
from billing.gateways.payment_provider import Checkout, ProviderRefusal, ProviderTrouble
from billing.models import BillingAccount, Payment
from billing.selectors.disputes import is_disputed
from billing.services.customers import customer_of
from billing.services.payments import give_up_unopened, settle_payment
from billing.services.provider_keys import renewing_key_of
from portal.lib.crashpoints import crashpoint
from portal.lib.errors import DomainError
from portal.lib.money import NANO_PER_CENT, decimal_string, display_usd

log = structlog.get_logger(__name__)

SMALLEST_CENTS = 5_00
LARGEST_CENTS = 10_000_00
# Each may have a page open at the provider for a day.
MOST_UNFINISHED = 10
# A customer who comes back from the provider's page has told us so; others are looked after.
FIRST_LOOK = timedelta(minutes=10)


class UnableToTopUp(DomainError):
    status: ClassVar[HTTPStatus] = HTTPStatus.UNPROCESSABLE_ENTITY
    code: ClassVar[str] = "unable_to_top_up"


class ProviderUnavailable(DomainError):
    """The payment provider cannot be asked at the moment; nothing was charged."""

    code: ClassVar[str] = "payment_provider_unavailable"


@dataclass(frozen=True, slots=True)
class WaysBack:
    """Whole addresses to which the provider sends the customer."""

    paid: str
    canceled: str


@transaction.atomic
def start_top_up(*, organization: Organization, user: User, amount_cents: int, now: datetime) -> Payment:
    """Return a new payment for credit; nothing is charged before the customer pays on the provider's page.

    amount_cents: USD, $5 to $10,000. Raises UnableToTopUp for other amounts, with ten unfinished payments, while a
    payment is disputed, and where no provider is set up.
    """
    if not payment_provider.is_configured():
        raise UnableToTopUp(_("Payments by card are not set up on this portal."))
    if not SMALLEST_CENTS <= amount_cents <= LARGEST_CENTS:
        smallest, largest = (display_usd(cents * NANO_PER_CENT) for cents in (SMALLEST_CENTS, LARGEST_CENTS))
        raise UnableToTopUp(
            _("Add between %(smallest)s and %(largest)s at once.") % {"smallest": smallest, "largest": largest}
        )
    if is_disputed(organization):
        raise UnableToTopUp(_("A payment is disputed by its bank: credit can be bought again once that is decided."))
    # Two at once must not both be the tenth.
    Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
    if Payment.objects.owned_by(organization).unfinished().count() >= MOST_UNFINISHED:
        raise UnableToTopUp(_("There are ten unfinished payments: finish one, or cancel those that you do not want."))
    BillingAccount.objects.get_or_create(organization=organization, defaults={"created_at": now})
    payment = Payment.objects.create(
        organization=organization,
        purpose=Payment.Purpose.TOP_UP,
        amount_cents=amount_cents,
        created_by=user,
        created_at=now,
        look_at=now + FIRST_LOOK,
    )
    record_event(
        "payment.started",
        organization_id=organization.pk,
        target=("payment", payment.public_id),
        changes={"amount": (None, decimal_string(amount_cents * NANO_PER_CENT))},
        now=now,
    )
    return payment


def open_payment_page(*, payment: Payment, back: WaysBack) -> str | None:
    """Return the address of the provider's page for a payment, the same for every call; None once it is over.

    The payment must be committed: the provider is asked under a key of its row, and whoever dies on the way asks again
    and gets the same page. No row is locked meanwhile. Raises ProviderUnavailable, after which what was written here is
    to be committed too.
    """
    if payment.is_finished or payment.card_id is not None:
        return None
    try:
        if payment.stripe_session_id is not None:
            return payment_provider.read_checkout(payment.stripe_session_id)[0].url
        checkout = _open(payment, customer_of(payment.organization), back)
    except (ProviderTrouble, ProviderRefusal) as error:
        log.warning("billing.payment.not_opened", payment=payment.public_id, problem=str(error))
        raise ProviderUnavailable(
            _("The payment provider cannot be reached at the moment. Nothing was charged; try again in a minute.")
        ) from error
    crashpoint("payment_after_open")
    unopened = Payment.objects.filter(pk=payment.pk, state=Payment.State.CREATED)
    is_noted = unopened.update(stripe_session_id=checkout.session_id, state=Payment.State.PENDING)
    if not is_noted and not Payment.objects.filter(pk=payment.pk, stripe_session_id=checkout.session_id).exists():
        # Given up or canceled meanwhile: nobody is to pay on a page that no row knows, and nobody was shown it.
        with suppress(ProviderTrouble):
            payment_provider.close_checkout(checkout.session_id)
        return None
    return checkout.url


def cancel_payment(*, payment: Payment, now: datetime) -> Payment.State:
    """End a payment that the customer does not want; return what it has become, which may be paid.

    Raises ProviderUnavailable.
    """
    if payment.stripe_session_id is None:
        # One without the customer that has begun at the provider takes its course.
        return give_up_unopened(payment, now)
    try:
        payment_provider.close_checkout(payment.stripe_session_id)
        seen = payment_provider.read_checkout(payment.stripe_session_id)[1]
    except (ProviderTrouble, ProviderRefusal) as error:
        raise ProviderUnavailable(
            _("The payment provider cannot be reached at the moment. Try again later.")
        ) from error
    return settle_payment(payment_id=payment.pk, seen=seen, now=now)


def _open(payment: Payment, customer_id: str, back: WaysBack) -> Checkout:
    # An answer that it failed is no proof that nothing was made.
    found = payment.generation and payment_provider.find_checkout(payment_id=payment.public_id, customer_id=customer_id)
    if found:
        return found
    with renewing_key_of(payment):
        return payment_provider.open_checkout(
            payment_id=payment.public_id,
            customer_id=customer_id,
            amount_cents=payment.amount_cents,
            description=_described(payment),
            success_url=back.paid,
            cancel_url=back.canceled,
            idempotency_key=f"open:{payment.public_id}:{payment.generation}",
        )


def _described(payment: Payment) -> str:
    if payment.invoice is not None:
        return _("%(brand)s invoice %(number)s") % {"brand": settings.PORTAL_BRAND, "number": payment.invoice.number}
    if payment.purpose == Payment.Purpose.DEBT:
        return _("%(brand)s: owed for a payment that was taken back") % {"brand": settings.PORTAL_BRAND}
    return _("%(brand)s credit") % {"brand": settings.PORTAL_BRAND}
