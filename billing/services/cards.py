"""Keep cards for later payments: added on the provider's page, and read from the provider ever after.

The provider's list is the truth: it changes on its own pages too. Rules: docs/algorithms/payments.md.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

import structlog
from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext as _

from accounts.models import Organization, User
from accounts.services.audit import record_event
from accounts.services.members import lock_organization
from billing.gateways import payment_provider
from billing.gateways.payment_provider import CardSeen, ProviderRefusal, ProviderTrouble
from billing.models import BillingAccount, PaymentMethod
from billing.services.customers import customer_of
from billing.services.top_ups import ProviderUnavailable, WaysBack
from portal.lib.context import PORTAL
from portal.lib.errors import DomainError
from portal.lib.jobs import enqueue

log = structlog.get_logger(__name__)

MOST_CARDS = 10
MOST_AT_ONCE = 100


class UnableToKeepCard(DomainError):
    code: ClassVar[str] = "unable_to_keep_card"


@transaction.atomic
def start_card_setup(*, organization: Organization, now: datetime) -> None:
    """Begin to add a card: the next page asks the provider for its own. Raises UnableToKeepCard."""
    if not payment_provider.is_configured():
        raise UnableToKeepCard(_("Payments by card are not set up on this portal."))
    lock_organization(organization.pk)
    if PaymentMethod.objects.owned_by(organization).usable().count() >= MOST_CARDS:
        raise UnableToKeepCard(_("There are ten cards: remove one that is not needed."))
    account, _made = BillingAccount.objects.get_or_create(organization=organization, defaults={"created_at": now})
    BillingAccount.objects.filter(pk=account.pk).update(setup_number=F("setup_number") + 1)
    record_event(
        "card.setup_started", organization_id=organization.pk, target=("organization", organization.public_id), now=now
    )


def open_card_page(*, organization: Organization, back: WaysBack) -> str | None:
    """Return the address of the provider's page for a card, the same for every call; None once it is over.

    What was begun must be committed; nothing is locked meanwhile. Raises ProviderUnavailable, UnableToKeepCard where
    nobody began.
    """
    account = BillingAccount.objects.owned_by(organization).first()
    if account is None or not account.setup_number:
        raise UnableToKeepCard(_("Begin on the page of payment methods."))
    try:
        return payment_provider.open_setup(
            customer_id=customer_of(organization),
            organization_id=organization.public_id,
            success_url=back.paid,
            cancel_url=back.canceled,
            idempotency_key=f"setup:{organization.public_id}:{account.setup_number}",
        )
    except (ProviderTrouble, ProviderRefusal) as error:
        if isinstance(error, ProviderTrouble) and error.is_answer:
            # The provider would answer this key with the same failure for a day; a page more does no harm.
            BillingAccount.objects.filter(pk=account.pk).update(setup_number=F("setup_number") + 1)
        raise _unavailable(error) from error


def open_portal(*, organization: Organization, back: str) -> str:
    """Return the address of the provider's own pages for a customer, good for some minutes.

    Raises ProviderUnavailable, UnableToKeepCard for an organization that the provider does not know yet.
    """
    account = BillingAccount.objects.owned_by(organization).first()
    if account is None or account.stripe_customer_id is None:
        raise UnableToKeepCard(_("The payment provider does not know this organization yet: add a card first."))
    try:
        return payment_provider.open_portal(customer_id=account.stripe_customer_id, return_url=back)
    except (ProviderTrouble, ProviderRefusal) as error:
        raise _unavailable(error) from error


def read_cards(*, organization_id: int, now: datetime) -> int:
    """Ask the provider which cards it keeps for an organization, bring ours to that; return how many can be charged.

    For the platform role, outside a transaction. Raises ProviderTrouble, ProviderRefusal.
    """
    account = BillingAccount.objects.filter(organization_id=organization_id).first()
    if account is None or account.stripe_customer_id is None:
        return 0
    return settle_cards(
        organization_id=organization_id, seen=payment_provider.cards_of(account.stripe_customer_id), now=now
    )


@transaction.atomic
def settle_cards(*, organization_id: int, seen: Sequence[CardSeen], now: datetime) -> int:
    """Bring an organization's cards to what was seen; return how many can be charged. Safe to repeat.

    A card that a person removed here stays removed, whatever an older view says.
    """
    lock_organization(organization_id)
    mine = PaymentMethod.objects.of_organization(organization_id)
    before = set(mine.usable().values_list("public_id", flat=True))
    for card in seen:
        mine.filter(stripe_payment_method_id=card.stripe_id).update(
            is_attached=True, expires_month=card.expires_month, expires_year=card.expires_year
        )
    known = set(mine.values_list("stripe_payment_method_id", flat=True))
    PaymentMethod.objects.bulk_create(_row(organization_id, card, now) for card in seen if card.stripe_id not in known)
    gone = mine.exclude(stripe_payment_method_id__in=[card.stripe_id for card in seen])
    gone.update(is_attached=False, is_default=False)
    _keep_a_default(organization_id)
    after = set(mine.usable().values_list("public_id", flat=True))
    for action, changed in (("card.added", after - before), ("card.gone", before - after)):
        for public_id in sorted(changed):
            record_event(action, organization_id=organization_id, target=("card", public_id), actor=PORTAL, now=now)
    return len(after)


@transaction.atomic
def make_default(*, card: PaymentMethod, now: datetime) -> None:
    """Let payments without the customer use this card. Raises UnableToKeepCard for one that is removed."""
    lock_organization(card.organization_id)
    mine = PaymentMethod.objects.of_organization(card.organization_id)
    if not mine.usable().filter(pk=card.pk).exists():
        raise UnableToKeepCard(_("This card is removed."))
    if mine.filter(pk=card.pk, is_default=True).exists():
        return
    former = mine.filter(is_default=True).values_list("public_id", flat=True).first()
    mine.filter(is_default=True).update(is_default=False)
    mine.filter(pk=card.pk).update(is_default=True)
    record_event(
        "card.default_changed",
        organization_id=card.organization_id,
        target=("card", card.public_id),
        changes={"default": (former, card.public_id)},
        now=now,
    )


@transaction.atomic
def remove_card(*, card: PaymentMethod, by: User | None, now: datetime) -> None:
    """Charge a card no more; a job lets the provider forget it. One that is removed stays so."""
    lock_organization(card.organization_id)
    mine = PaymentMethod.objects.of_organization(card.organization_id).filter(pk=card.pk, removed_at=None)
    if not mine.update(removed_at=now, removed_by=by, is_default=False):
        return
    _keep_a_default(card.organization_id)
    enqueue("billing.let_cards_go")
    record_event("card.removed", organization_id=card.organization_id, target=("card", card.public_id), now=now)


def let_cards_go(*, now: datetime) -> int:
    """Let the provider forget the cards that people removed; return how many. For the platform role."""
    gone = 0
    for card in list(PaymentMethod.objects.to_be_detached()[:MOST_AT_ONCE]):
        try:
            payment_provider.detach_card(card.stripe_payment_method_id)
        except ProviderTrouble as error:
            log.warning("billing.card.not_removed", card=card.public_id, problem=str(error))
            break
        except ProviderRefusal as error:
            log.error("billing.card.stuck", card=card.public_id, problem=str(error))
            continue
        gone += PaymentMethod.objects.filter(pk=card.pk, is_attached=True).update(is_attached=False)
    return gone


def _row(organization_id: int, card: CardSeen, now: datetime) -> PaymentMethod:
    return PaymentMethod(
        organization_id=organization_id,
        stripe_payment_method_id=card.stripe_id,
        brand=card.brand[:24],
        last_four=card.last_four,
        expires_month=card.expires_month,
        expires_year=card.expires_year,
        created_at=now,
    )


def _keep_a_default(organization_id: int) -> None:
    mine = PaymentMethod.objects.of_organization(organization_id)
    first = mine.usable().first()
    if first is not None and not first.is_default:
        mine.filter(pk=first.pk).update(is_default=True)


def _unavailable(error: Exception) -> ProviderUnavailable:
    log.warning("billing.card.page_not_opened", problem=str(error))
    return ProviderUnavailable(
        _("The payment provider cannot be reached at the moment. Nothing was charged; try again in a minute.")
    )
