"""End credit whose time is over: what no usage before its end needs goes back, and the cap loses the room."""

from datetime import datetime

import structlog
from django.db import transaction
from django.db.models import F

from accounts.models import Organization
from accounts.services.audit import record_event
from billing.invoicing import bill
from billing.models import AccountKind, CreditGrant, LedgerAccount, LedgerEntry, Route, SpendCap
from billing.selectors.unbilled import grants_of, overrun_nano_of, terms_of, unbilled_usage
from billing.services.credits import lock_cap
from billing.services.ledger import Journal, Line, post
from portal.lib.batches import one_by_one
from portal.lib.money import NANO_PER_CENT, decimal_string
from portal.lib.periods import month_of

log = structlog.get_logger(__name__)

# Bought credit that ends is ours, given credit goes back to where it came from.
_ENDS = {
    AccountKind.PREPAID_CREDIT: (LedgerEntry.Code.EXPIRY, AccountKind.BREAKAGE),
    AccountKind.PROMOTIONAL_CREDIT: (LedgerEntry.Code.RETURN, AccountKind.PROMOTIONS),
    AccountKind.GRANT_CREDIT: (LedgerEntry.Code.RETURN, AccountKind.PROMOTIONS),
}


def expire_credits(*, now: datetime) -> int:
    """End what is left of every grant whose time is over; return how many grants lost something.

    For the platform role: across organizations, each grant in a transaction of its own. Safe to repeat: what has no
    place yet, since running work holds the room, goes the next time.
    """
    past = CreditGrant.objects.past(now).filter(
        ledger_accounts__credits_nano__gte=F("ledger_accounts__debits_nano") + NANO_PER_CENT
    )
    return one_by_one(
        past.select_related("organization").order_by("pk"),
        lambda grant: bool(expire_grant(grant=grant, now=now)),
        lambda grant: log.exception("billing.credit_not_ended", grant=grant.public_id),
    )


@transaction.atomic
def expire_grant(*, grant: CreditGrant, now: datetime) -> int:
    """End what is left of a grant whose time is over, and return it in nano-dollars.

    What unbilled usage from before its end will take by the order of burning stays for it, until that is invoiced; and
    what running work holds in the cap stays until the work ends.
    """
    cap = lock_cap(organization_id=grant.organization_id, now=now)
    if grant.expires_at is None or grant.expires_at > now:
        return 0
    grants = grants_of(grant.organization_id)
    if grant.public_id not in grants.routes:
        return 0
    kind, grant_id = grants.routes[grant.public_id]
    [balance_nano] = [one.balance_nano for one in grants.credits if one.grant == grant.public_id]
    ending_nano = min(balance_nano - needed_nano(grant.organization, grant.public_id, now), cap.remaining_nano)
    # Whole cents: what is less stays as dust, like everywhere.
    ending_nano -= ending_nano % NANO_PER_CENT
    if ending_nano <= 0:
        return 0
    code, to = _ENDS[kind]
    line = Line(code, Route(kind, grant_id=grant_id), Route(to), ending_nano)
    # What was taken out of it so far: other than its balance, that is never the same twice.
    account = LedgerAccount.objects.on(grant.organization_id, [Route(kind, grant_id=grant_id)]).get()
    source = f"grant-ended:{grant.public_id}:{account.debits_nano}"
    post(Journal(grant.organization_id, source, grant.expires_at, (line,)), now=now)
    SpendCap.objects.filter(pk=cap.pk).update(limit_nano=F("limit_nano") - ending_nano)
    record_event(
        "credit.ended",
        organization_id=grant.organization_id,
        target=("credit_grant", grant.public_id),
        changes={"amount": (decimal_string(ending_nano), None)},
        now=now,
    )
    return ending_nano


def needed_nano(organization: Organization, public_id: str, now: datetime) -> int:
    """Return what the usage that is not billed yet will take of a grant."""
    month = month_of(now)
    usage = unbilled_usage(organization.pk, before=month.end)
    made = bill(
        usage.buckets,
        month,
        tiers=usage.tiers,
        credits_=grants_of(organization.pk).credits,
        overrun_nano=overrun_nano_of(organization.pk),
        terms=terms_of(organization),
    )
    return 0 if made is None else made.burned().get(public_id, 0) * NANO_PER_CENT
