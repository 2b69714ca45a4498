"""Terms of organizations, with the fewest fields."""

from datetime import datetime
from typing import Any

from accounts.models import Organization, OrganizationTerms, User
from billing.models import BankTransfer, BillingDetails, Invoice, Standing, StandingLetter, TransferMatch
from billing.services.terms import work_terms
from portal.lib.money import NANO_PER_USD
from portal.lib.tenancy import as_platform
from tests.factories.accounts import make_user
from tests.factories.billing import NOW


def make_terms(
    organization: Organization,
    credit_limit_nano: int = 1_000 * NANO_PER_USD,
    *,
    status: OrganizationTerms.Status = OrganizationTerms.Status.ENDED,
    proposed_by: User | None = None,
    now: datetime = NOW,
    **fields: Any,
) -> OrganizationTerms:
    """A version of terms as a row, which moves no room: `put_terms_in_force` does."""
    is_approved = status not in (OrganizationTerms.Status.PROPOSED, OrganizationTerms.Status.DISCARDED)
    has_begun = status in (OrganizationTerms.Status.IN_FORCE, OrganizationTerms.Status.ENDED)
    stated = {
        "version": OrganizationTerms.objects.owned_by(organization).count() + 1,
        "net_days": 30,
        "active_from": now,
        "approved_by": make_user() if is_approved else None,
        "approved_at": now if is_approved else None,
        "begun_at": now if has_begun else None,
        "ended_at": now if status == OrganizationTerms.Status.ENDED else None,
    }
    return OrganizationTerms.objects.create(
        organization=organization,
        status=status,
        credit_limit_nano=credit_limit_nano,
        proposed_by=proposed_by or make_user(),
        proposed_at=now,
        **stated | fields,
    )


def put_terms_in_force(
    organization: Organization, credit_limit_nano: int, *, now: datetime = NOW, **fields: Any
) -> OrganizationTerms:
    """Terms that two people agreed on and that are in force, with their room in the credit."""
    make_terms(organization, credit_limit_nano, status=OrganizationTerms.Status.APPROVED, now=now, **fields)
    with as_platform():
        work_terms(now=now)
    return OrganizationTerms.objects.owned_by(organization).in_force().get()


def make_details(
    organization: Organization, *, country: str = "DE", tax_id: str = "DE136695976", now: datetime = NOW, **stated: Any
) -> BillingDetails:
    """Billing details, with a tax id that nobody confirmed."""
    values = {"legal_name": "Works Ltd", "address": "1 Main Street", "invoice_emails": ["bills@example.com"]} | stated
    BillingDetails.objects.update_or_create(
        organization=organization, defaults={"country": country, "tax_id": tax_id, "changed_at": now} | values
    )
    return BillingDetails.objects.owned_by(organization).get()


def make_transfer(
    organization: Organization,
    amount_cents: int,
    *paid: tuple[Invoice, int],
    status: BankTransfer.Status = BankTransfer.Status.RECORDED,
    now: datetime = NOW,
    **fields: Any,
) -> BankTransfer:
    """A transfer as rows, which moves no money: the services do. paid: invoices, each with cents."""
    number = BankTransfer.objects.count() + 1
    stated = {"statement_line": f"S-{number}", "payer": "Works Ltd", "reference": "", "recorded_by": "user_a"} | fields
    transfer = BankTransfer.objects.create(
        organization=organization, amount_cents=amount_cents, value_date=now.date(), recorded_at=now, **stated
    )
    for invoice, cents in paid:
        TransferMatch.objects.create(organization=organization, transfer=transfer, invoice=invoice, amount_cents=cents)
    if status == BankTransfer.Status.CONFIRMED:
        transfer.status, transfer.confirmed_by, transfer.confirmed_at = status, "user_b", now
        transfer.save()
    return transfer


def make_standing(organization: Organization, *, now: datetime = NOW) -> Standing:
    """That it was past due and is good again, as rows."""
    standing = Standing.objects.create(organization=organization, state="good", since=now)
    StandingLetter.objects.create(
        organization=organization, standing=standing, letter="past_due", owed_cents=1, noted_at=now
    )
    return standing
