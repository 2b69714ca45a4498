"""What an organization's terms say, and what it owes under them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from accounts.models import Organization, OrganizationTerms
from accounts.models.terms import OrganizationTermsQuerySet
from billing.models import Invoice, SpendCap
from billing.selectors.owed import room_nano_of
from catalog.models import InstanceType, Region
from portal.lib.money import decimal_string, display_usd

NEWEST = 200
# Debts: what is open, and what was given up and may still be paid.
OWING = (Invoice.Status.OPEN, Invoice.Status.UNCOLLECTIBLE)


def terms_in_force(organization_id: int) -> OrganizationTerms | None:
    return OrganizationTerms.objects.filter(organization_id=organization_id).in_force().first()


def owed_nano_of(organization_id: int) -> int:
    """Return what issued invoices have taken of the credit limit and nobody has paid, without tax, in nano-dollars."""
    owing = Invoice.objects.of_organization(organization_id).filter(status__in=OWING)
    return sum(room_nano_of(invoice) for invoice in owing)


def organization_ids_with_room_beyond_terms() -> list[int]:
    """Return the organizations that may still owe more than terms in force say. For the platform role."""
    given = SpendCap.objects.filter(terms_nano__gt=0).values_list("organization_id", "terms_nano")
    limits = dict(OrganizationTerms.objects.in_force().values_list("organization_id", "credit_limit_nano"))
    return sorted(pk for pk, terms_nano in given if terms_nano > limits.get(pk, 0))


@dataclass(frozen=True, slots=True)
class TermsRow:
    """Terms as pages of staff print them. Amounts in dollars; threshold: empty without one."""

    public_id: str
    organization: str
    slug: str
    version: int
    status: str
    credit_limit: str
    net_days: int
    needs_purchase_order: bool
    threshold: str
    quotas: str  # "GPU 8, CPU 32"; empty where nothing is limited
    regions: str
    active_from: datetime
    active_to: datetime | None
    proposed_by: str
    approved_by: str


@dataclass(frozen=True, slots=True)
class Debt:
    """How an organization stands under its terms, in dollars. beyond: what it may still owe more than they say."""

    given: str
    owed: str
    remaining: str
    beyond: str


def terms_rows(organization: Organization | None) -> Sequence[TermsRow]:
    """Return the newest 200 versions of an organization, or of all. For the platform role."""
    found = _with_people().order_by("-pk")
    if organization is not None:
        found = found.owned_by(organization)
    return [terms_row(terms) for terms in found[:NEWEST]]


def find_terms(public_id: str) -> OrganizationTerms | None:
    # PostgreSQL takes no NUL in a text.
    return None if "\0" in public_id else _with_people().filter(public_id=public_id).first()


def terms_row(terms: OrganizationTerms) -> TermsRow:
    return TermsRow(
        public_id=terms.public_id,
        organization=terms.organization.name,
        slug=terms.organization.slug,
        version=terms.version,
        status=terms.get_status_display(),
        credit_limit=decimal_string(terms.credit_limit_nano),
        net_days=terms.net_days,
        needs_purchase_order=terms.needs_purchase_order,
        threshold="" if terms.invoice_above_nano is None else decimal_string(terms.invoice_above_nano),
        quotas=_quotas(terms),
        regions=", ".join(terms.regions),
        active_from=terms.active_from,
        active_to=terms.active_to,
        proposed_by=terms.proposed_by.public_id,
        approved_by=terms.approved_by.public_id if terms.approved_by else "",
    )


def _quotas(terms: OrganizationTerms) -> str:
    return ", ".join(f"{InstanceType.Kind(kind).label} {quota}" for kind, quota in terms.quotas.items())


@dataclass(frozen=True, slots=True)
class AgreedLimits:
    """What an organization has agreed on, as its own pages say it. quotas: kind and number; regions: for people."""

    credit_limit: str
    net_days: int
    quotas: Sequence[tuple[str, int]]
    regions: Sequence[str]


def agreed_limits(organization: Organization) -> AgreedLimits | None:
    """Return what the terms in force let an organization owe and run; None for who pays from credit alone."""
    terms = terms_in_force(organization.pk)
    if terms is None:
        return None
    described = dict(Region.objects.filter(name__in=terms.regions).values_list("name", "description"))
    return AgreedLimits(
        credit_limit=display_usd(terms.credit_limit_nano),
        net_days=terms.net_days,
        quotas=[(str(InstanceType.Kind(kind).label), quota) for kind, quota in terms.quotas.items()],
        regions=[f"{name} ({described[name]})" if name in described else name for name in terms.regions],
    )


def debt_of(organization_id: int) -> Debt:
    agreed = terms_in_force(organization_id)
    cap = SpendCap.objects.of_organization(organization_id).first()
    given_nano = 0 if cap is None else cap.terms_nano
    return Debt(
        given=decimal_string(given_nano),
        owed=decimal_string(owed_nano_of(organization_id)),
        remaining=decimal_string(0 if cap is None else cap.remaining_nano),
        beyond=decimal_string(max(given_nano - (0 if agreed is None else agreed.credit_limit_nano), 0)),
    )


def _with_people() -> OrganizationTermsQuerySet:
    return OrganizationTerms.objects.select_related("organization", "proposed_by", "approved_by")
