"""Who an organization is on its invoices: what it says, and what staff confirm. Rules: docs/algorithms/tax.md."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import Organization, OrganizationTerms, Permission, User
from accounts.services.audit import record_event
from accounts.services.mails import addresses_with
from billing.invoicing.tax_ids import BadTaxIdError, normal_tax_id
from billing.models import BillingDetails
from billing.selectors.details import details_of
from billing.services.credits import lock_cap
from billing.services.terms import staff_actor
from portal.lib.countries import NAME_OF_COUNTRY
from portal.lib.errors import DomainError

CONFIRM = "billing.confirm_tax_details"


class UnableToChangeDetails(DomainError):
    code: ClassVar[str] = "unable_to_change_billing_details"


class BadTaxId(UnableToChangeDetails):
    code: ClassVar[str] = "bad_tax_id"


class NeedsPurchaseOrder(UnableToChangeDetails):
    code: ClassVar[str] = "needs_purchase_order"


@dataclass(frozen=True, slots=True)
class StatedDetails:
    """What an organization says of itself. country: ISO 3166 alpha-2; tax_id, purchase_order: empty for none."""

    legal_name: str
    address: str
    country: str
    tax_id: str = ""
    purchase_order: str = ""
    invoice_emails: Sequence[str] = ()


@transaction.atomic
def change_details(*, organization: Organization, stated: StatedDetails, now: datetime) -> BillingDetails:
    """Keep what an organization says of itself, for the invoices that are issued from now on.

    Another country or tax id is unconfirmed, and what was found out about the former holds no longer. The log says
    which details changed and not what they say. Raises BadTaxId for an id that cannot be one of the country,
    NeedsPurchaseOrder where terms want a number and none is given, UnableToChangeDetails for an unknown country.
    """
    if stated.country not in NAME_OF_COUNTRY:
        raise UnableToChangeDetails(_("This is no country that we know."))
    tax_id = _tax_id(stated)
    # The lock that issuing an invoice takes: it reads these details.
    lock_cap(organization_id=organization.pk, now=now)
    if not stated.purchase_order.strip() and _wants_purchase_order(organization):
        raise NeedsPurchaseOrder(_("Your terms need a purchase-order number on every invoice."))
    details = BillingDetails.objects.owned_by(organization).first() or BillingDetails(organization=organization)
    wanted = {
        "legal_name": stated.legal_name.strip(),
        "address": "\n".join(line.strip() for line in stated.address.splitlines() if line.strip()),
        "country": stated.country,
        "tax_id": tax_id,
        "purchase_order": stated.purchase_order.strip(),
        "invoice_emails": list(dict.fromkeys(stated.invoice_emails)),
    }
    changed = sorted(name for name, value in wanted.items() if getattr(details, name) != value)
    if not changed:
        return details
    if {"country", "tax_id"} & set(changed):
        details.tax_id_confirmed_at, details.exemption = None, ""
    for name in changed:
        setattr(details, name, wanted[name])
    details.changed_at = now
    details.save()
    record_event(
        "billing_details.changed",
        organization_id=organization.pk,
        target=("organization", organization.public_id),
        changes={"details": (None, changed)},
        now=now,
    )
    return details


@transaction.atomic
def confirm_tax_details(
    *, details: BillingDetails, tax_id: str, is_confirmed: bool, exemption: str, by: User, now: datetime
) -> BillingDetails:
    """Keep what a member of staff found out: whether the tax office knows the id, and a certificate of exemption.

    tax_id: the one that was asked about. For the platform role. Raises UnableToChangeDetails if it is another by now,
    if there is none to confirm, or if `by` may not.
    """
    if not by.is_staff or not by.has_perm(CONFIRM):
        raise UnableToChangeDetails(_("You may not confirm tax details."))
    lock_cap(organization_id=details.organization_id, now=now)
    details = BillingDetails.objects.select_for_update(no_key=True).select_related("organization").get(pk=details.pk)
    if details.tax_id != tax_id:
        raise UnableToChangeDetails(_("The tax id has changed meanwhile. Look again."))
    if is_confirmed and not details.tax_id:
        raise UnableToChangeDetails(_("There is no tax id to confirm."))
    before = details.tax_id_confirmed_at is not None, bool(details.exemption)
    details.tax_id_confirmed_at = (details.tax_id_confirmed_at or now) if is_confirmed else None
    details.exemption = exemption.strip()
    details.save(update_fields=["tax_id_confirmed_at", "exemption"])
    record_event(
        "billing_details.tax_confirmed",
        organization_id=details.organization_id,
        target=("organization", details.organization.public_id),
        changes={"tax_id_confirmed": (before[0], is_confirmed), "exempt": (before[1], bool(details.exemption))},
        actor=staff_actor(by),
        now=now,
    )
    return details


def billing_addresses(organization: Organization) -> list[str]:
    """Return who is mailed about bills: members who may manage billing, and the addresses that were given for it."""
    details = details_of(organization)
    given = [] if details is None else details.invoice_emails
    return list(dict.fromkeys([*addresses_with(organization, Permission.MANAGE_BILLING), *given]))


def _tax_id(stated: StatedDetails) -> str:
    if not stated.tax_id.strip():
        return ""
    try:
        return normal_tax_id(stated.country, stated.tax_id)
    except BadTaxIdError as error:
        words = {"country": NAME_OF_COUNTRY[stated.country]}
        raise BadTaxId(_("This cannot be a tax id of %(country)s: look for a mistyped character.") % words) from error


def _wants_purchase_order(organization: Organization) -> bool:
    waiting = (OrganizationTerms.Status.APPROVED, OrganizationTerms.Status.IN_FORCE)
    wanting = OrganizationTerms.objects.owned_by(organization).filter(status__in=waiting, needs_purchase_order=True)
    return wanting.exists()
