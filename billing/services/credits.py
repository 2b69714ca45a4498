"""Give credit; the first credit opens an organization's account."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import Organization
from accounts.services.audit import record_event
from billing.models import AccountKind, CreditGrant, LedgerEntry, Route, SpendCap
from billing.models.cap import passed_warning
from billing.selectors import starter_credit_nano
from billing.services.ledger import Journal, Line, post
from portal.lib.errors import DomainError
from portal.lib.money import NANO_PER_CENT, decimal_string


@transaction.atomic
def grant_starter_credit(*, organization: Organization, now: datetime) -> SpendCap:
    """Open the organization's account with its starter credit; an open account is left as it is."""
    return lock_cap(organization_id=organization.pk, now=now)


@transaction.atomic(savepoint=False)
def lock_cap(*, organization_id: int, now: datetime) -> SpendCap:
    """Return the organization's cap, locked; on the first need it comes into being with the starter credit.

    Billing is above accounts and hears of no new organization, so the first reservation or settlement opens
    the account. Two at once open it once: the second waits for the first one's row.
    """
    mine = SpendCap.objects.of_organization(organization_id)
    cap = mine.select_for_update(no_key=True).first()
    if cap is not None:
        return cap

    amount_nano = starter_credit_nano()
    # The limit is inserted whole, because the gateway's role may not change one.
    cap = SpendCap(
        organization_id=organization_id,
        scope=SpendCap.Scope.ORGANIZATION,
        period=SpendCap.Period.LIFETIME,
        limit_nano=amount_nano,
        created_at=now,
    )
    SpendCap.objects.bulk_create([cap], ignore_conflicts=True)
    opened = mine.select_for_update(no_key=True).get()
    if opened.public_id == cap.public_id and amount_nano > 0:
        _grant(organization_id, Award(CreditGrant.Kind.STARTER, amount_nano, f"starter:{organization_id}"), now)
    return opened


def lock_account(*, organization_id: int, now: datetime) -> SpendCap:
    """Lock an organization's credit and then how it stands: what whoever moves its debts does first. Return the cap.

    In a transaction of the caller's. The row of the organization comes after the credit and before the audit log.
    """
    cap = lock_cap(organization_id=organization_id, now=now)
    Organization.objects.select_for_update(no_key=True).get(pk=organization_id)
    return cap


@dataclass(frozen=True, slots=True)
class Award:
    """Credit to be given. amount_nano: nano-dollars, whole cents. source: its cause, which gives once.

    expires_at: usage from then on is not paid by it, and what is left goes back. arrived_in: where the money for
    it is, unless that is as its kind has it.
    """

    kind: CreditGrant.Kind
    amount_nano: int
    source: str
    priority: int = 50
    expires_at: datetime | None = None
    arrived_in: AccountKind | None = None


def add_credit(*, cap: SpendCap, given: Award, now: datetime) -> CreditGrant:
    """Give an organization credit, raise what it may spend by as much, and post both to the ledger.

    cap: its credit, locked by the caller (lock_cap). A cause that has given already gives nothing again.
    """
    if known := CreditGrant.objects.filter(source=given.source).first():
        return known
    cap.limit_nano += given.amount_nano
    # Whoever has more credit hears again when the end of it comes near.
    cap.warned_percent = passed_warning(cap.settled_nano, cap.limit_nano)
    cap.save(update_fields=["limit_nano", "warned_percent"])
    return _grant(cap.organization_id, given, now)


def _grant(organization_id: int, given: Award, now: datetime) -> CreditGrant:
    grant = CreditGrant.objects.create(
        organization_id=organization_id,
        kind=given.kind,
        amount_nano=given.amount_nano,
        source=given.source,
        granted_at=now,
        priority=given.priority,
        expires_at=given.expires_at,
    )
    award(grant, now, arrived_in=given.arrived_in)
    return grant


@dataclass(frozen=True, slots=True)
class _Giving:
    """How a kind of grant comes into the ledger, and in which kind of account what is left of it stands."""

    code: LedgerEntry.Code
    comes_from: AccountKind
    stands_in: AccountKind


_GIVING = {
    CreditGrant.Kind.STARTER: _Giving(LedgerEntry.Code.AWARD, AccountKind.PROMOTIONS, AccountKind.PROMOTIONAL_CREDIT),
    CreditGrant.Kind.PROMOTIONAL: _Giving(
        LedgerEntry.Code.AWARD, AccountKind.PROMOTIONS, AccountKind.PROMOTIONAL_CREDIT
    ),
    CreditGrant.Kind.RESEARCH: _Giving(LedgerEntry.Code.AWARD, AccountKind.PROMOTIONS, AccountKind.GRANT_CREDIT),
    # The provider has collected it and pays it out in some days.
    CreditGrant.Kind.PREPAID: _Giving(LedgerEntry.Code.TOP_UP, AccountKind.CASH_IN_TRANSIT, AccountKind.PREPAID_CREDIT),
}


def award(grant: CreditGrant, now: datetime, *, arrived_in: AccountKind | None = None) -> None:
    """Put a grant into the ledger; one that is there stays as it is."""
    giving = _GIVING[CreditGrant.Kind(grant.kind)]
    line = Line(
        giving.code,
        debit=Route(arrived_in or giving.comes_from),
        credit=Route(giving.stands_in, grant_id=grant.pk),
        amount_nano=grant.amount_nano,
    )
    post(Journal(grant.organization_id, f"grant:{grant.public_id}", grant.granted_at, (line,)), now=now)


class UnableToAward(DomainError):
    code: ClassVar[str] = "unable_to_award"


@transaction.atomic
def award_credit(*, organization: Organization, given: Award, now: datetime) -> CreditGrant:
    """Give an organization credit: a grant, its account in the ledger, and as much room in the organization's cap.

    Safe to repeat: the same source gives once, and returns what it gave. It pays for all usage since it was given: one
    for some products or projects only needs a cap of its own first, or the others could use its room. Raises
    UnableToAward for an amount that is not positive and whole cents, for an end that has passed, and for a source
    that gave to another organization.
    """
    if given.amount_nano <= 0 or given.amount_nano % NANO_PER_CENT:
        raise UnableToAward(_("Credit is given in whole cents, and more than nothing."))
    if given.expires_at is not None and given.expires_at <= now:
        raise UnableToAward(_("Credit cannot end before it is given."))
    cap = lock_cap(organization_id=organization.pk, now=now)
    if known := CreditGrant.objects.filter(source=given.source).first():
        if known.organization_id != organization.pk:
            raise UnableToAward(_("This cause has given credit already."))
        return known
    grant = add_credit(cap=cap, given=given, now=now)
    record_event(
        "credit.given",
        organization_id=organization.pk,
        target=("credit_grant", grant.public_id),
        changes={"amount": (None, decimal_string(grant.amount_nano)), "kind": (None, grant.kind)},
        now=now,
    )
    return grant
