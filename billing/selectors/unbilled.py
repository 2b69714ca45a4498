"""What an invoice is computed from: steps of buckets that none billed yet, grants with balances, overruns, terms."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import connection
from django.db.models import Sum

from accounts.models import Organization, Project
from billing.invoicing import Bucket, Credit, Party, Terms, TierShare
from billing.models import CreditGrant, Invoice, LedgerAccount, SpendCap, WriteOff
from billing.models.ledger import CREDIT, AccountKind
from billing.selectors.details import buyer_of, details_of
from billing.selectors.disputes import frozen_nano_by_source
from billing.selectors.terms import terms_in_force
from billing.selectors.tiers import TieredUse, tier_changes, tiered_uses
from portal.lib.money import NANO_PER_CENT

_UNBILLED = """
    SELECT b.hour, p.public_id, s.product, b.sku, b.price_id, b.price_nano, b.unit_size, coalesce(billed.quantity, 0),
           b.quantity
    FROM billing_usagebyhour AS b
    JOIN accounts_project AS p ON p.id = b.project_id
    JOIN catalog_sku AS s ON s.code = b.sku
    LEFT JOIN (
        SELECT step.hour, step.project_id, step.sku, sum(step.quantity_after - step.quantity_before)::bigint AS quantity
        FROM billing_invoicedbucket AS step JOIN billing_invoice AS i ON i.id = step.invoice_id
        WHERE step.organization_id = %(organization)s AND i.status <> 'void'
        GROUP BY 1, 2, 3
    ) AS billed ON (billed.hour, billed.project_id, billed.sku) = (b.hour, b.project_id, b.sku)
    WHERE b.organization_id = %(organization)s AND b.hour < %(end)s AND b.quantity <> coalesce(billed.quantity, 0)
    ORDER BY b.hour, b.project_id, b.sku
"""


def unbilled_buckets(organization_id: int, *, before: datetime) -> list[Bucket]:
    """Return every bucket of hours before an instant whose quantity no invoice has billed, as the step that is left."""
    with connection.cursor() as cursor:
        cursor.execute(_UNBILLED, {"organization": organization_id, "end": before})
        return [Bucket(*row) for row in cursor.fetchall()]


@dataclass(frozen=True, slots=True)
class Unbilled:
    """What no invoice has billed yet. tiers: what they change for it; uses: what that was computed from."""

    buckets: list[Bucket]
    uses: list[TieredUse]
    tiers: list[TierShare]


def unbilled_usage(organization_id: int, *, before: datetime) -> Unbilled:
    """Return all usage of hours before an instant that is not billed, with what tiers change for it."""
    buckets = unbilled_buckets(organization_id, before=before)
    uses = tiered_uses(organization_id, {bucket.sku for bucket in buckets}, before=before)
    return Unbilled(buckets, uses, tier_changes(uses))


# An organization is here while it has a bucket that is not billed whole, so the question stays as small as its answer.
_WITH_UNBILLED = """
    SELECT DISTINCT b.organization_id FROM billing_usagebyhour AS b
    WHERE b.hour < %(end)s AND b.quantity <> coalesce((
        SELECT sum(step.quantity_after - step.quantity_before)
        FROM billing_invoicedbucket AS step JOIN billing_invoice AS i ON i.id = step.invoice_id
        WHERE (step.organization_id, step.hour, step.project_id, step.sku)
            = (b.organization_id, b.hour, b.project_id, b.sku) AND i.status <> 'void'), 0)
    ORDER BY 1
"""


def organization_ids_with_unbilled(*, before: datetime) -> list[int]:
    """Return the organizations with usage of hours before an instant that is not billed. For the platform role."""
    with connection.cursor() as cursor:
        cursor.execute(_WITH_UNBILLED, {"end": before})
        return [organization_id for (organization_id,) in cursor.fetchall()]


@dataclass(frozen=True, slots=True)
class Grants:
    """An organization's grants with something left. routes: public id -> kind of its account and primary key."""

    credits: list[Credit]
    routes: Mapping[str, tuple[AccountKind, int]]


def grants_of(organization_id: int) -> Grants:
    """Return the grants that may pay for usage, with the balances that the ledger has, less what disputes freeze."""
    accounts = LedgerAccount.objects.of_book(organization_id).filter(kind__in=CREDIT).select_related("grant")
    projects = dict(Project.objects.filter(organization_id=organization_id).values_list("pk", "public_id"))
    frozen_nano = frozen_nano_by_source(organization_id)
    credits_: list[Credit] = []
    routes: dict[str, tuple[AccountKind, int]] = {}
    for account in accounts:
        grant = account.grant
        free_nano = account.balance_nano - (frozen_nano.get(grant.source, 0) if grant else 0)
        if grant is None or free_nano < NANO_PER_CENT:
            continue
        kind = AccountKind(account.kind)
        routes[grant.public_id] = kind, grant.pk
        credits_.append(_credit(grant, kind, free_nano, projects))
    return Grants(credits_, routes)


def _credit(grant: CreditGrant, kind: AccountKind, balance_nano: int, projects: Mapping[int, str]) -> Credit:
    return Credit(
        grant=grant.public_id,
        balance_nano=balance_nano,
        priority=grant.priority,
        is_bought=kind is AccountKind.PREPAID_CREDIT,
        effective_at=grant.effective_at,
        expires_at=grant.expires_at,
        products=frozenset(grant.products),
        # A project that is gone stays a limit.
        projects=frozenset(projects.get(pk, f"#{pk}") for pk in grant.project_ids),
    )


def overrun_nano_of(organization_id: int) -> int:
    """Return what the caps had no room for and no invoice has taken as ours to pay yet, in nano-dollars."""
    written_off = WriteOff.objects.filter(organization_id=organization_id).aggregate(Sum("amount_nano"))
    issued = Invoice.objects.of_organization(organization_id).issued().live().filter(house_cents__gt=0)
    # An overrun is what we pay first, and whole cents of it; the rest of what we pay is rounding.
    taken_nano = sum(
        min(house_cents, overrun_nano // NANO_PER_CENT) * NANO_PER_CENT
        for house_cents, overrun_nano in issued.values_list("house_cents", "overrun_nano")
    )
    return max((written_off["amount_nano__sum"] or 0) - taken_nano, 0)


def seller() -> Party:
    return Party(
        name=settings.SELLER_NAME,
        address=settings.SELLER_ADDRESS,
        country=settings.SELLER_COUNTRY,
        tax_id=settings.SELLER_TAX_ID,
    )


def terms_of(organization: Organization) -> Terms:
    """Return what was agreed with an organization. Without terms in force it pays from credit and owes nothing new.

    What it used under terms that have ended it still owes: as much as they give room for in its credit.
    """
    agreed, details = terms_in_force(organization.pk), details_of(organization)
    cap = SpendCap.objects.of_organization(organization.pk).first()
    still_given_nano = 0 if cap is None else cap.terms_nano
    return Terms(
        seller=seller(),
        buyer=buyer_of(organization),
        credit_limit_nano=max(still_given_nano, 0 if agreed is None else agreed.credit_limit_nano),
        net_days=0 if agreed is None else agreed.net_days,
        purchase_order="" if details is None else details.purchase_order,
    )
