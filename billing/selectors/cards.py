"""Kept cards as pages print them."""

from dataclasses import dataclass
from datetime import datetime

from accounts.models import Organization
from billing.models import BillingAccount, PaymentMethod


@dataclass(frozen=True, slots=True)
class CardRow:
    """expires: month and year, such as 12/2028."""

    public_id: str
    name: str
    expires: str
    has_expired: bool
    is_default: bool
    created_at: datetime


def card_rows(organization: Organization, now: datetime) -> list[CardRow]:
    """Return the cards that can be charged, the default one first."""
    return [card_row(card, now) for card in PaymentMethod.objects.owned_by(organization).usable()]


def card_row(card: PaymentMethod, now: datetime) -> CardRow:
    return CardRow(
        public_id=card.public_id,
        name=f"{card.brand.replace('_', ' ').title()} •••• {card.last_four}",
        expires=f"{card.expires_month:02}/{card.expires_year}",
        has_expired=(card.expires_year, card.expires_month) < (now.year, now.month),
        is_default=card.is_default,
        created_at=card.created_at,
    )


def is_known_to_provider(organization: Organization) -> bool:
    """Whether the payment provider has pages of its own for an organization."""
    return BillingAccount.objects.owned_by(organization).filter(stripe_customer_id__isnull=False).exists()
