"""What an organization pays: its contract's price, else its contract's discount on the list price, else the list price.

Whoever asks for a price asks here, so that what is reserved, shown and billed agree. Definitions:
docs/algorithms/rating.md.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from django.db.models import Exists, Q, QuerySet

from billing.models import Contract, ContractPrice
from billing.rating import discounted_nano
from catalog.models import Price
from catalog.selectors import VERSION, PriceSource, UnitPrice, version_of
from portal.lib.periods import hour_of
from portal.lib.public_ids import ALPHABET, LENGTH
from portal.lib.tiers import Tier, Tiers, make_tiers

NOBODY = 0  # the number of no organization

type Wanted = Collection[tuple[datetime, str]]  # (UTC hour, SKU)
type Found = dict[tuple[datetime, str], UnitPrice]


def prices_of_hours(organization_id: int, wanted: Iterable[tuple[datetime, str]]) -> Found:
    """Return what an organization pays in each (UTC hour, SKU) that has a price.

    In as many queries however many hours there are: three, and one for an organization without a contract.
    """
    pairs = set(wanted)
    if not pairs:
        return {}
    found, may_have_terms = _list_prices(pairs, organization_id)
    terms = _terms(pairs, organization_id).get(organization_id, ()) if may_have_terms else ()
    return _agreed(pairs, found, terms) if terms else found


def prices_for(organization_id: int, skus: Iterable[str], at: datetime) -> dict[str, UnitPrice]:
    """Return what an organization pays at `at` by SKU; a SKU without a price is missing from the result."""
    hour = hour_of(at)
    return {sku: price for (_, sku), price in prices_of_hours(organization_id, ((hour, sku) for sku in skus)).items()}


def price_source(organization_id: int) -> PriceSource:
    """Return where the catalog's rows take their prices from, for this organization."""
    return partial(prices_for, organization_id)


def prices_of_contracts(wanted: Iterable[tuple[datetime, str]]) -> dict[int, Found]:
    """Return what each organization pays that has a contract in one of the hours, by organization id.

    For the gateway, which keeps them in memory: across organizations, in three queries.
    """
    pairs = set(wanted)
    terms = _terms(pairs) if pairs else {}
    found = _list_prices(pairs)[0] if terms else {}
    return {organization_id: _agreed(pairs, found, mine) for organization_id, mine in terms.items()}


@dataclass(frozen=True, slots=True)
class Terms:
    """What a contract says about prices."""

    contract: str  # public id
    discount_basis_points: int
    active_from: datetime
    active_to: datetime | None
    prices: dict[str, UnitPrice] = field(default_factory=dict)  # by SKU

    def holds(self, hour: datetime) -> bool:
        return self.active_from <= hour and (self.active_to is None or hour < self.active_to)

    def price_of(self, sku: str, listed: UnitPrice | None) -> UnitPrice | None:
        """Return what the SKU costs under these terms, with the list price beside it; None: it is not sold."""
        if own := self.prices.get(sku):
            return replace(own, list_price=listed)
        if listed is None or not self.discount_basis_points:
            return listed
        return self._discounted(listed)

    def _discounted(self, listed: UnitPrice) -> UnitPrice:
        off = self.discount_basis_points
        steps = tuple(Tier(step.above, discounted_nano(step.price_nano, off)) for step in listed.tiers.steps)
        return UnitPrice(
            sku=listed.sku,
            price_id=discounted_price_id(listed.price_id, self.contract),
            price_nano=discounted_nano(listed.price_nano, off),
            unit_size=listed.unit_size,
            tiers=Tiers(listed.tiers.mode, steps),
            list_price=listed,
        )


def discounted_price_id(price_id: str, contract: str) -> str:
    """Return the id of a list price under a contract's discount: always the same for the same two."""
    number = int.from_bytes(hashlib.sha256(f"{price_id} {contract}".encode()).digest())
    digits = []
    for _ in range(LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return f"price_{''.join(digits)}"


def terms_of(contract: Contract) -> Terms:
    """Return what a contract says, whatever its status: a draft is replayed so."""
    rows = ContractPrice.objects.filter(contract=contract)
    return _terms_from(contract, {price.sku: price for _, price in _contract_prices(rows)})


def _terms_from(contract: Contract, prices: dict[str, UnitPrice]) -> Terms:
    return Terms(contract.public_id, contract.discount_basis_points, contract.active_from, contract.active_to, prices)


def _agreed(pairs: Wanted, listed: Found, terms: Iterable[Terms]) -> Found:
    found: Found = {}
    for hour, sku in pairs:
        list_price = listed.get((hour, sku))
        mine = next((each for each in terms if each.holds(hour)), None)
        price = mine.price_of(sku, list_price) if mine else list_price
        if price is not None:
            found[hour, sku] = price
    return found


def _list_prices(pairs: Wanted, organization_id: int = NOBODY) -> tuple[Found, bool]:
    """Return list prices, and whether a contract of the organization may say something else.

    One statement for both: nearly all have no contract, and every page that shows a price asks.
    """
    first, last = _bounds(pairs)
    contracts = Contract.objects.in_force_within(first, last).filter(organization_id=organization_id)
    versions = Price.objects.filter(
        Q(active_to=None) | Q(active_to__gt=first), sku__code__in={sku for _, sku in pairs}, active_from__lte=last
    )
    of_sku: dict[str, list[tuple[datetime, datetime | None, UnitPrice]]] = {}
    rows = list(versions.annotate(has_terms=Exists(contracts)).values_list(*VERSION, "has_terms"))
    for *row, _has_terms in rows:
        code, active_from, active_to, price = version_of(*row)
        of_sku.setdefault(code, []).append((active_from, active_to, price))
    found = {
        (hour, sku): price
        for hour, sku in pairs
        for active_from, active_to, price in of_sku.get(sku, ())
        if active_from <= hour and (active_to is None or hour < active_to)
    }
    # Where nothing is listed nothing was said of contracts.
    return found, not rows or rows[0][-1]


def _terms(pairs: Wanted, organization_id: int | None = None) -> dict[int, list[Terms]]:
    """Return the terms in force in these hours, by organization: of one, or of all."""
    contracts = Contract.objects.in_force_within(*_bounds(pairs))
    if organization_id is not None:
        contracts = contracts.filter(organization_id=organization_id)
    by_id = {contract.pk: contract for contract in contracts}
    if not by_id:
        return {}
    prices: dict[int, dict[str, UnitPrice]] = {}
    rows = ContractPrice.objects.filter(contract__in=list(by_id), sku__code__in={sku for _, sku in pairs})
    for contract_id, price in _contract_prices(rows):
        prices.setdefault(contract_id, {})[price.sku] = price
    found: dict[int, list[Terms]] = {}
    for pk, contract in by_id.items():
        found.setdefault(contract.organization_id, []).append(_terms_from(contract, prices.get(pk, {})))
    return found


def _contract_prices(rows: QuerySet[ContractPrice]) -> Iterator[tuple[int, UnitPrice]]:
    columns = ("contract_id", "sku__code", "public_id", "price_nano", "unit_size", "tier_mode", "tiers")
    for contract_id, code, public_id, price_nano, unit_size, mode, steps in rows.values_list(*columns):
        tiers = make_tiers(mode, steps, price_nano=price_nano)
        yield contract_id, UnitPrice(code, public_id, price_nano, unit_size, tiers)


def _bounds(pairs: Wanted) -> tuple[datetime, datetime]:
    hours = [hour for hour, _ in pairs]
    return min(hours), max(hours)
