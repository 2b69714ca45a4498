"""Give credit; the first credit opens an organization's account."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext as _

from accounts.models import Organization
from accounts.services.audit import record_event
from billing.models import AccountKind, CreditGrant, LedgerEntry, Route, SpendCap
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
        grant = CreditGrant.objects.create(
            organization_id=organization_id,
            kind=CreditGrant.Kind.STARTER,
            amount_nano=amount_nano,
            source=f"starter:{organization_id}",
            granted_at=now,
        )
        award(grant, now)
    return opened


# In which kind of account what is left of a grant stands.
_KINDS = {
    CreditGrant.Kind.STARTER: AccountKind.PROMOTIONAL_CREDIT,
    CreditGrant.Kind.PROMOTIONAL: AccountKind.PROMOTIONAL_CREDIT,
    CreditGrant.Kind.RESEARCH: AccountKind.GRANT_CREDIT,
}


def award(grant: CreditGrant, now: datetime) -> None:
    """Put a grant into the ledger; one that is there stays as it is."""
    line = Line(
        LedgerEntry.Code.AWARD,
        debit=Route(AccountKind.PROMOTIONS),
        credit=Route(_KINDS[CreditGrant.Kind(grant.kind)], grant_id=grant.pk),
        amount_nano=grant.amount_nano,
    )
    post(Journal(grant.organization_id, f"grant:{grant.public_id}", grant.granted_at, (line,)), now=now)


class UnableToAward(DomainError):
    code: ClassVar[str] = "unable_to_award"


@dataclass(frozen=True, slots=True)
class Award:
    """Credit to be given. amount_nano: nano-dollars, whole cents. source: its cause, which gives once.

    expires_at: usage from then on is not paid by it, and what is left goes back.
    """

    kind: CreditGrant.Kind
    amount_nano: int
    source: str
    priority: int = 50
    expires_at: datetime | None = None


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
    grant = CreditGrant.objects.create(
        organization=organization,
        kind=given.kind,
        amount_nano=given.amount_nano,
        source=given.source,
        granted_at=now,
        priority=given.priority,
        expires_at=given.expires_at,
    )
    SpendCap.objects.filter(pk=cap.pk).update(limit_nano=F("limit_nano") + grant.amount_nano)
    award(grant, now)
    record_event(
        "credit.given",
        organization_id=organization.pk,
        target=("credit_grant", grant.public_id),
        changes={"amount": (None, decimal_string(grant.amount_nano)), "kind": (None, grant.kind)},
        now=now,
    )
    return grant
