"""Usage and reservations with the fewest fields."""

from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import NAMESPACE_URL, uuid5

from accounts.models import Organization, Project
from billing.models import CapWarning, CreditGrant, CreditNote, Invoice, Reservation, SpendCap
from billing.services.caps import CapTarget, set_cap
from billing.services.credit_notes import propose_credit_note
from billing.services.limits import Payer
from billing.services.month_closing import close_month
from billing.services.reservations import reserve
from billing.services.usage import UsageRecord, record_usage
from catalog.models import Price
from portal.lib.money import NANO_PER_USD
from portal.lib.periods import month_of
from tests.factories.catalog import make_price

NOW = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)
_numbers = count(1)


def make_record(
    project: Project,
    quantity: int = 1000,
    *,
    sku: str = "model.demo.input",
    occurred_at: datetime = NOW,
    cause: str | None = None,
    resource_id: str = "demo",
    api_key_id: int | None = None,
    user_id: int | None = None,
) -> UsageRecord:
    """A usage record on its way in; the same cause makes the same event."""
    cause = cause or f"cause-{next(_numbers)}"
    return UsageRecord(
        event_id=uuid5(NAMESPACE_URL, f"{cause} {sku}"),
        occurred_at=occurred_at,
        organization_id=project.organization_id,
        project_id=project.pk,
        sku=sku,
        quantity=quantity,
        resource_id=resource_id,
        api_key_id=api_key_id,
        user_id=user_id,
    )


def make_cap(
    project: Project,
    target: CapTarget | None = None,
    *,
    limit_nano: int = 1_000 * NANO_PER_USD,
    period: SpendCap.Period = SpendCap.Period.MONTH,
    stops: bool = True,
    now: datetime = NOW,
) -> SpendCap:
    """A cap that a person set, over the project if over nothing else."""
    target = target or CapTarget(project.organization, project=project)
    return set_cap(target=target, period=period, limit_nano=limit_nano, stops=stops, now=now)


def make_cap_warning(cap: SpendCap, percent: int = 80, *, now: datetime = NOW) -> CapWarning:
    return CapWarning.objects.create(
        organization_id=cap.organization_id,
        cap=cap,
        percent=percent,
        limit_nano=cap.limit_nano,
        settled_nano=cap.settled_nano,
        warned_at=now,
    )


def make_reservation(
    project: Project,
    amount_nano: int = NANO_PER_USD,
    *,
    holder: str | None = None,
    now: datetime = NOW,
    expires_at: datetime | None = None,
) -> Reservation:
    """A reservation held for ten minutes."""
    return reserve(
        payer=Payer(project.organization_id, project.pk),
        purpose=Reservation.Purpose.GATEWAY_LEASE,
        holder=holder or f"holder-{next(_numbers)}",
        amount_nano=amount_nano,
        now=now,
        expires_at=expires_at or now + timedelta(minutes=10),
    )


def make_invoice(project: Project, quantity: int = 1_000_000, *, now: datetime = NOW) -> Invoice:
    """The issued invoice of last month, for usage at a dollar per million; the starter credit pays it.

    Where last month has one, that one.
    """
    sku = "model.invoiced.input"
    if not Price.objects.filter(sku__code=sku).exists():
        make_price(sku, NANO_PER_USD, 1_000_000)
    month = month_of(month_of(now).start - timedelta(days=1))
    at = month.end - timedelta(hours=2)
    record = make_record(project, quantity, sku=sku, occurred_at=at, resource_id="invoiced")
    record_usage([record], reservation_id=None, now=at)
    made = close_month(organization=project.organization, period=month, now=now)
    return made or Invoice.objects.owned_by(project.organization).of_period(month).live().get()


def make_credit_note(invoice: Invoice, reason: str = "Outage", *, now: datetime = NOW) -> CreditNote:
    """A credit note over the first line that is proposed."""
    return propose_credit_note(invoice=invoice, positions=[1], reason=reason, proposed_by="user_staff", now=now)


def make_grant(organization: Organization, amount_nano: int = 5 * NANO_PER_USD) -> CreditGrant:
    """A credit grant that is not in the ledger yet."""
    return CreditGrant.objects.create(
        organization=organization,
        kind=CreditGrant.Kind.STARTER,
        amount_nano=amount_nano,
        source=f"factory:{next(_numbers)}",
        granted_at=NOW,
    )
