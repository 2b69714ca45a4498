"""Contracts: drafted by one person, approved by another, published, and never changed after that.

A change is a new version. All of it for the platform role. Rules: docs/algorithms/rating.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Max

from accounts.models import AuditEvent, Organization, User
from accounts.services.audit import record_event
from accounts.services.members import lock_organization
from billing.models import Contract, ContractPrice
from billing.models.contract import ContractQuerySet
from billing.rating import BASIS_POINTS
from catalog.models import Price, Sku
from portal.lib.context import Actor
from portal.lib.errors import DomainError
from portal.lib.periods import hour_of, month_of
from portal.lib.tiers import NO_TIERS, BadTiers, Tiers, make_tiers, stored

DRAFT = "billing.draft_contract"
APPROVE = "billing.approve_contract"
# Every process knows the prices of the coming hour well before it begins.
AHEAD = timedelta(minutes=1)


class UnableToDraftContract(DomainError):
    code = "unable_to_draft_contract"


class UnableToChangeContract(DomainError):
    code = "unable_to_change_contract"


@dataclass(frozen=True, slots=True)
class AgreedPrice:
    """A price to be written into a contract: nano-dollars per the unit_size that the list has for the SKU."""

    sku: str
    price_nano: int
    tiers: Tiers = NO_TIERS


@dataclass(frozen=True, slots=True)
class AgreedCommitment:
    """Cents that are to be used in whole UTC months [starts_at, ends_at)."""

    cents: int
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class ContractTerms:
    """What a contract is to say. discount_basis_points: hundredths of a percent off every SKU not in `prices`."""

    name: str
    discount_basis_points: int
    active_from: datetime
    active_to: datetime | None = None
    prices: Sequence[AgreedPrice] = ()
    commitment: AgreedCommitment | None = None


@transaction.atomic
def draft_contract(*, organization: Organization, terms: ContractTerms, by: User, now: datetime) -> Contract:
    """Write down terms that nothing is priced with yet, as the organization's next version.

    Raises UnableToDraftContract for terms that contradict themselves or the price list, or if `by` may not.
    """
    if not by.is_staff or not by.has_perm(DRAFT):
        raise UnableToDraftContract("You may not draft contracts.")
    _refuse_bad_terms(terms)
    skus = _listed_skus(terms)
    organization = lock_organization(organization.pk)
    latest = Contract.objects.owned_by(organization).aggregate(version=Max("version"))["version"]
    contract = Contract.objects.create(
        organization=organization,
        version=(latest or 0) + 1,
        name=terms.name,
        discount_basis_points=terms.discount_basis_points,
        active_from=terms.active_from,
        active_to=terms.active_to,
        committed_cents=terms.commitment.cents if terms.commitment else 0,
        committed_from=terms.commitment.starts_at if terms.commitment else None,
        committed_until=terms.commitment.ends_at if terms.commitment else None,
        drafted_by=by,
        drafted_at=now,
    )
    ContractPrice.objects.bulk_create(
        ContractPrice(
            organization=organization,
            contract=contract,
            sku=skus[price.sku][0],
            price_nano=price.price_nano,
            unit_size=skus[price.sku][1],
            tier_mode=price.tiers.mode.value,
            tiers=stored(price.tiers),
        )
        for price in terms.prices
    )
    _record("contract.drafted", contract, by, now)
    return contract


@transaction.atomic
def approve_contract(*, contract: Contract, by: User, now: datetime) -> Contract:
    """Say as a second person that a draft is right. Raises UnableToChangeContract."""
    _refuse_without_right(by)
    contract = _locked(contract, Contract.Status.APPROVED)
    if contract.drafted_by_id == by.pk:
        raise UnableToChangeContract("Somebody else approves what you have drafted.")
    contract.status = Contract.Status.APPROVED
    contract.approved_by, contract.approved_at = by, now
    contract.save(update_fields=["status", "approved_by", "approved_at"])
    _record("contract.approved", contract, by, now)
    return contract


@transaction.atomic
def publish_contract(*, contract: Contract, by: User, now: datetime) -> Contract:
    """Let an approved contract price usage from its first hour on; the version in force then ends there.

    Versions that were to begin later are in the way: they are ended first. Raises UnableToChangeContract when its
    first hour has begun or is about to, or another one stands in the way.
    """
    _refuse_without_right(by)
    contract = _locked(contract, Contract.Status.PUBLISHED)
    if contract.active_from < earliest_start(now):
        raise UnableToChangeContract("Its first hour has begun: nothing is priced anew. Draft it again for later.")
    others = Contract.objects.filter(organization_id=contract.organization_id).published()
    before = others.in_force_within(contract.active_from, contract.active_from).select_for_update(no_key=True).first()
    if before is not None and before.active_from == contract.active_from:
        raise UnableToChangeContract(f"Version {before.version} begins in the same hour.")
    if before is not None:
        before.active_to = contract.active_from
        before.save(update_fields=["active_to"])
    later = others.filter(active_from__gte=contract.active_from)
    if contract.active_to is not None:
        later = later.filter(active_from__lt=contract.active_to)
    if in_the_way := later.order_by("active_from").first():
        raise UnableToChangeContract(f"Version {in_the_way.version} begins while this one would be in force.")
    _refuse_second_commitment(contract, others)
    contract.status = Contract.Status.PUBLISHED
    contract.published_at = now
    contract.save(update_fields=["status", "published_at"])
    _record("contract.published", contract, by, now)
    return contract


@transaction.atomic
def end_contract(*, contract: Contract, active_to: datetime, by: User, now: datetime) -> Contract:
    """Go back to the list prices at `active_to`, a full hour that has not begun. Raises UnableToChangeContract."""
    _refuse_without_right(by)
    lock_organization(contract.organization_id)
    contract = Contract.objects.select_for_update(no_key=True).get(pk=contract.pk)
    if contract.status != Contract.Status.PUBLISHED:
        raise UnableToChangeContract("Only a published contract ends.")
    if hour_of(active_to) != active_to or active_to < earliest_start(now) or active_to <= contract.active_from:
        raise UnableToChangeContract("A contract ends on a full hour that has not begun, after its first.")
    if contract.active_to is not None and contract.active_to <= active_to:
        raise UnableToChangeContract("It ends before that already. A longer one is a new version.")
    contract.active_to = active_to
    contract.save(update_fields=["active_to"])
    _record("contract.ended", contract, by, now)
    return contract


@transaction.atomic
def discard_contract(*, contract: Contract, by: User, now: datetime) -> Contract:
    """Give up a version that is not published. Raises UnableToChangeContract."""
    if not by.is_staff or not (by.has_perm(DRAFT) or by.has_perm(APPROVE)):
        raise UnableToChangeContract("You may not change contracts.")
    contract = _locked(contract, Contract.Status.DISCARDED)
    contract.status = Contract.Status.DISCARDED
    contract.save(update_fields=["status"])
    _record("contract.discarded", contract, by, now)
    return contract


def earliest_start(now: datetime) -> datetime:
    """Return the first hour that a contract may still begin or end with."""
    return hour_of(now + AHEAD) + timedelta(hours=1)


def _refuse_without_right(by: User) -> None:
    if not by.is_staff or not by.has_perm(APPROVE):
        raise UnableToChangeContract("You may not approve, publish or end contracts.")


def _locked(contract: Contract, status: Contract.Status) -> Contract:
    """Return the contract, locked after its organization, if it can become that."""
    lock_organization(contract.organization_id)
    contract = Contract.objects.select_for_update(no_key=True).get(pk=contract.pk)
    if not contract.can_become(status):
        raise UnableToChangeContract(f"Version {contract.version} is {contract.get_status_display().lower()}.")
    return contract


def _refuse_bad_terms(terms: ContractTerms) -> None:
    if not terms.name.strip():
        raise UnableToDraftContract("A contract needs a name.")
    if not 0 <= terms.discount_basis_points <= BASIS_POINTS:
        raise UnableToDraftContract("A discount is between 0 and 100 percent.")
    bounds = [bound for bound in (terms.active_from, terms.active_to) if bound is not None]
    if any(hour_of(bound) != bound for bound in bounds):
        raise UnableToDraftContract("A contract begins and ends on full hours, so that no hour has two prices.")
    if terms.active_to is not None and terms.active_to <= terms.active_from:
        raise UnableToDraftContract("A contract ends after it begins.")
    _refuse_bad_prices(terms.prices)
    if terms.commitment is not None:
        _refuse_bad_commitment(terms, terms.commitment)


def _refuse_bad_commitment(terms: ContractTerms, commitment: AgreedCommitment) -> None:
    if commitment.cents <= 0:
        raise UnableToDraftContract("A commitment is to more than nothing.")
    if any(month_of(bound).start != bound for bound in (commitment.starts_at, commitment.ends_at)):
        raise UnableToDraftContract(
            "A commitment is for whole months: it begins and ends on the first of one, 00:00 UTC."
        )
    if commitment.ends_at <= commitment.starts_at:
        raise UnableToDraftContract("A commitment ends after it begins.")
    if commitment.starts_at < terms.active_from or (terms.active_to and commitment.ends_at > terms.active_to):
        raise UnableToDraftContract("A commitment lies within its contract.")


def _refuse_second_commitment(contract: Contract, others: ContractQuerySet) -> None:
    if not contract.committed_cents:
        return
    overlapping = others.committed().filter(
        committed_from__lt=contract.committed_until, committed_until__gt=contract.committed_from
    )
    if other := overlapping.first():
        raise UnableToChangeContract(f"Version {other.version} has a commitment for some of the same months.")


def _refuse_bad_prices(prices: Sequence[AgreedPrice]) -> None:
    if len({price.sku for price in prices}) < len(prices):
        raise UnableToDraftContract("A contract has one price for a SKU.")
    for price in prices:
        if price.price_nano < 0:
            raise UnableToDraftContract(f"{price.sku}: a price is not negative.")
        try:
            make_tiers(price.tiers.mode, stored(price.tiers), price_nano=price.price_nano)
        except BadTiers as error:
            raise UnableToDraftContract(f"{price.sku}: {error}") from error


def _listed_skus(terms: ContractTerms) -> dict[str, tuple[Sku, int]]:
    """Return each SKU with the unit_size of its list price. Raises UnableToDraftContract for one without a price."""
    versions = Price.objects.in_force(terms.active_from).filter(sku__code__in=[price.sku for price in terms.prices])
    found = {price.sku.code: (price.sku, price.unit_size) for price in versions.select_related("sku")}
    if missing := sorted({price.sku for price in terms.prices} - found.keys()):
        raise UnableToDraftContract(f"{missing[0]} has no list price when the contract begins.")
    return found


def _record(action: str, contract: Contract, by: User, now: datetime) -> None:
    record_event(
        action,
        organization_id=contract.organization_id,
        target=("contract", contract.public_id),
        changes={
            "version": (None, contract.version),
            "active_from": (None, contract.active_from.isoformat()),
            "active_to": (None, contract.active_to.isoformat() if contract.active_to else None),
        },
        actor=Actor(kind=AuditEvent.ActorKind.USER.value, public_id=by.public_id, via=AuditEvent.Via.STAFF.value),
        now=now,
    )
