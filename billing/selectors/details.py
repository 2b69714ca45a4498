"""Who an organization is on its invoices, for pages and for invoices."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from accounts.models import Organization
from billing.invoicing import Party
from billing.models import BillingDetails
from portal.lib.countries import NAME_OF_COUNTRY

NEWEST = 200


@dataclass(frozen=True, slots=True)
class DetailsRow:
    """Billing details as pages of staff print them."""

    slug: str
    organization: str
    legal_name: str
    country: str
    tax_id: str
    is_confirmed: bool
    exemption: str
    changed_at: datetime


def details_of(organization: Organization) -> BillingDetails | None:
    return BillingDetails.objects.owned_by(organization).first()


def buyer_of(organization: Organization) -> Party:
    """Return an organization as invoices name it. Without a confirmed tax id it has none for the purpose of tax."""
    details = details_of(organization)
    if details is None:
        return Party(name=organization.name)
    return Party(
        name=details.legal_name,
        address=details.address.replace("\n", ", "),
        country=details.country,
        tax_id=details.confirmed_tax_id,
        exemption=details.exemption,
    )


def details_rows(organization: Organization | None) -> Sequence[DetailsRow]:
    """Return details with an id that nobody has confirmed, oldest first; of one organization, its own. For staff."""
    found = BillingDetails.objects.select_related("organization").order_by("changed_at", "pk")
    mine = found.unconfirmed() if organization is None else found.owned_by(organization)
    return [
        DetailsRow(
            slug=one.organization.slug,
            organization=one.organization.name,
            legal_name=one.legal_name,
            country=NAME_OF_COUNTRY[one.country],
            tax_id=one.tax_id,
            is_confirmed=one.tax_id_confirmed_at is not None,
            exemption=one.exemption,
            changed_at=one.changed_at,
        )
        for one in mine[:NEWEST]
    ]
