"""Give credit; the first credit opens an organization's account."""

from datetime import datetime

from django.db import transaction

from accounts.models import Organization
from billing.models import AccountKind, CreditGrant, LedgerEntry, Route, SpendCap
from billing.selectors import starter_credit_nano
from billing.services.ledger import Journal, Line, post


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
_KINDS = {CreditGrant.Kind.STARTER: AccountKind.PROMOTIONAL_CREDIT}


def award(grant: CreditGrant, now: datetime) -> None:
    """Put a grant into the ledger; one that is there stays as it is."""
    line = Line(
        LedgerEntry.Code.AWARD,
        debit=Route(AccountKind.PROMOTIONS),
        credit=Route(_KINDS[CreditGrant.Kind(grant.kind)], grant_id=grant.pk),
        amount_nano=grant.amount_nano,
    )
    post(Journal(grant.organization_id, f"grant:{grant.public_id}", grant.granted_at, (line,)), now=now)
