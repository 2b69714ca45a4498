"""Contracts as pages of staff print them. For the platform role."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from accounts.models import Organization
from billing.models import Contract
from billing.selectors.prices import terms_of
from catalog.models import Sku
from catalog.selectors import UnitPrice
from portal.lib.money import NANO_PER_CENT, decimal_string, display_usd

NEWEST = 200


@dataclass(frozen=True, slots=True)
class ContractRow:
    public_id: str
    organization: str
    name: str
    version: int
    status: str
    discount: str  # percent
    commitment: str  # in words, empty for none
    active_from: datetime
    active_to: datetime | None
    drafted_by: str
    approved_by: str


@dataclass(frozen=True, slots=True)
class AgreedRow:
    """A price of a contract. tiers: in words, empty for a flat price."""

    sku: str
    name: str
    price: str
    unit_size: int
    tiers: str


def contract_rows(organization: Organization | None) -> list[ContractRow]:
    """Return the newest 200 contracts of an organization, or of all."""
    contracts = Contract.objects.select_related("organization", "drafted_by", "approved_by").order_by("-pk")
    if organization is not None:
        contracts = contracts.owned_by(organization)
    return [contract_row(contract) for contract in contracts[:NEWEST]]


def find_contract(public_id: str) -> Contract | None:
    # PostgreSQL takes no NUL in a text.
    found = Contract.objects.select_related("organization", "drafted_by", "approved_by")
    return None if "\0" in public_id else found.filter(public_id=public_id).first()


def contract_row(contract: Contract) -> ContractRow:
    return ContractRow(
        public_id=contract.public_id,
        organization=contract.organization.name,
        name=contract.name,
        version=contract.version,
        status=contract.get_status_display(),
        discount=percent(contract.discount_basis_points),
        commitment=_commitment(contract),
        active_from=contract.active_from,
        active_to=contract.active_to,
        drafted_by=contract.drafted_by.public_id,
        approved_by=contract.approved_by.public_id if contract.approved_by else "",
    )


def _commitment(contract: Contract) -> str:
    if not contract.committed_cents:
        return ""
    amount = display_usd(contract.committed_cents * NANO_PER_CENT)
    return f"{amount}, {contract.committed_from:%Y-%m-%d} to {contract.committed_until:%Y-%m-%d} UTC"


def agreed_rows(contract: Contract) -> Sequence[AgreedRow]:
    """Return the prices of a contract, by SKU."""
    prices = terms_of(contract).prices
    names = dict(Sku.objects.filter(code__in=list(prices)).values_list("code", "name"))
    return [
        AgreedRow(sku, names[sku], decimal_string(price.price_nano), price.unit_size, tier_words(price))
        for sku, price in sorted(prices.items())
    ]


def percent(basis_points: int) -> str:
    whole, rest = divmod(basis_points, 100)
    return f"{whole}.{rest:02}"


def tier_words(price: UnitPrice) -> str:
    """Return the tiers as `parse_tiers` reads them."""
    if not price.tiers.steps:
        return ""
    steps = (f"{step.above}:{decimal_string(step.price_nano)}" for step in price.tiers.steps)
    return " ".join([price.tiers.mode.value, *steps])
