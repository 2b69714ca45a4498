"""Usage and reservations with the fewest fields."""

from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import NAMESPACE_URL, UUID, uuid5

from accounts.models import Organization, Project, User
from accounts.services.staff import StaffGroup
from billing.models import (
    AnomalyMails,
    AutoReload,
    BillingAccount,
    CapWarning,
    Contract,
    ContractPrice,
    CostTags,
    CreditGrant,
    CreditNote,
    Dispute,
    GivenUpDebt,
    Goodwill,
    Invoice,
    Payment,
    PaymentMethod,
    PriceNotice,
    Refund,
    Reservation,
    SpendAnomaly,
    SpendCap,
)
from billing.services.caps import CapTarget, set_cap
from billing.services.contracts import AgreedCommitment, AgreedPrice
from billing.services.credit_notes import issue_credit_note, propose_credit_note
from billing.services.credits import Award, add_credit, lock_cap
from billing.services.limits import Payer
from billing.services.month_closing import close_month
from billing.services.reported import UsageReport, correction_id_of, event_id_of
from billing.services.reservations import reserve
from billing.services.usage import UsageRecord, record_usage
from catalog.models import Price
from portal.lib.money import NANO_PER_CENT, NANO_PER_USD
from portal.lib.periods import day_of, hour_of, month_of
from portal.lib.tiers import stored
from tests.accounts.test_legal_holds import make_staff
from tests.factories.accounts import make_user
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


def make_report(
    project: Project,
    quantity: int = 1000,
    *,
    sku: str = "model.demo.input",
    occurred_at: datetime = NOW,
    api_key: str = "",
    corrects: UUID | None = None,
) -> UsageReport:
    """Usage as a gateway outside the portal reports it."""
    known_as = event_id_of("https://gateway.example/1", f"call-{next(_numbers)}", sku)
    return UsageReport(
        event_id=correction_id_of(corrects) if corrects else known_as,
        occurred_at=occurred_at,
        organization=project.organization.public_id,
        project=project.public_id,
        sku=sku,
        quantity=quantity,
        resource_id="demo",
        api_key=api_key,
        corrects=corrects,
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


def make_anomaly(organization: Organization, *, now: datetime = NOW) -> SpendAnomaly:
    """An unusual day, of everything and of one product, of which nobody wants mails."""
    AnomalyMails.objects.get_or_create(organization=organization, defaults={"is_on": False, "changed_at": now})
    findings = [
        {"product": name, "amount_nano": 90 * NANO_PER_USD, "usual_nano": NANO_PER_USD} for name in ("", "models")
    ]
    return SpendAnomaly.objects.create(organization=organization, day=day_of(now), findings=findings, found_at=now)


def make_cost_tags(project: Project, center: str = "4711", *, now: datetime = NOW, **tags: str) -> CostTags:
    """A cost center and other tags of a project from the day of `now` on."""
    return CostTags.objects.create(
        organization_id=project.organization_id,
        project=project,
        from_day=day_of(now),
        tags={CostTags.COST_CENTER: center, **tags},
        changed_at=now,
    )


def make_payment(
    organization: Organization,
    *,
    amount_cents: int = 25_00,
    state: Payment.State = Payment.State.PENDING,
    created_by: User | None = None,
    session_id: str | None = None,
    intent_id: str | None = None,
    customer_id: str | None = None,
    now: datetime = NOW,
) -> Payment:
    """A payment for credit as its row says it; nobody asked a provider."""
    BillingAccount.objects.get_or_create(
        organization=organization, defaults={"created_at": now, "stripe_customer_id": customer_id}
    )
    return Payment.objects.create(
        organization=organization,
        purpose=Payment.Purpose.TOP_UP,
        amount_cents=amount_cents,
        state=state,
        stripe_session_id=session_id,
        stripe_payment_intent_id=intent_id,
        created_by=created_by,
        created_at=now,
        ended_at=None if state in Payment.UNFINISHED else now,
        look_at=now,
    )


def make_bought_credit(
    organization: Organization, *, amount_cents: int = 25_00, intent_id: str | None = None, now: datetime = NOW
) -> Payment:
    """A payment that arrived, with its credit in the ledger and in the cap."""
    paid = Payment.State.SUCCEEDED
    payment = make_payment(organization, amount_cents=amount_cents, state=paid, intent_id=intent_id, now=now)
    given = Award(CreditGrant.Kind.PREPAID, amount_cents * NANO_PER_CENT, f"payment:{payment.public_id}")
    add_credit(cap=lock_cap(organization_id=organization.pk, now=now), given=given, now=now)
    return payment


def make_refund(
    payment: Payment,
    *,
    amount_cents: int = 5_00,
    state: Refund.State = Refund.State.ASKED,
    reason: str = "Bought twice",
    now: datetime = NOW,
) -> Refund:
    """A refund as its row says it; nobody asked a provider, and nothing was taken back."""
    is_asked = state == Refund.State.ASKED
    return Refund.objects.create(
        organization_id=payment.organization_id,
        payment=payment,
        amount_cents=amount_cents,
        state=state,
        reason=reason,
        is_of_customer=False,
        asked_by="user_staff",
        asked_at=now,
        decided_by="" if is_asked else "user_other",
        decided_at=None if is_asked else now,
        ended_at=None if is_asked or state in Refund.ON_THE_WAY else now,
        look_at=now,
    )


def make_auto_reload(
    organization: Organization, *, is_on: bool = True, changed_by: User | None = None, now: datetime = NOW
) -> AutoReload:
    """When less than $10 is left, buy $50, in a month at most $200."""
    return AutoReload.objects.create(
        organization=organization,
        is_on=is_on,
        threshold_cents=10_00,
        amount_cents=50_00,
        ceiling_cents=200_00,
        off_because="" if is_on else AutoReload.Why.FAILURES,
        changed_by=changed_by,
        changed_at=now,
    )


def make_card(
    organization: Organization,
    *,
    is_default: bool = False,
    brand: str = "visa",
    stripe_id: str | None = None,
    expires_year: int = 2030,
    removed_by: User | None = None,
    now: datetime = NOW,
) -> PaymentMethod:
    """A card as its row says it; nobody asked a provider."""
    return PaymentMethod.objects.create(
        organization=organization,
        stripe_payment_method_id=stripe_id or f"pm_{next(_numbers)}",
        brand=brand,
        last_four="4242",
        expires_month=12,
        expires_year=expires_year,
        is_default=is_default,
        created_at=now,
        removed_at=now if removed_by else None,
        removed_by=removed_by,
    )


def make_dispute(
    payment: Payment, *, state: Dispute.State = Dispute.State.OPEN, reason: str = "fraudulent", now: datetime = NOW
) -> Dispute:
    """A dispute as its row says it; nobody asked a provider, and nothing is frozen."""
    is_over = state not in Dispute.UNDECIDED
    return Dispute.objects.create(
        organization_id=payment.organization_id,
        payment=payment,
        stripe_dispute_id=f"dp_{next(_numbers)}",
        reason=reason,
        amount_cents=payment.amount_cents,
        state=state,
        is_withdrawn=state not in (Dispute.State.INQUIRY, Dispute.State.CLOSED),
        due_by=now + timedelta(days=7),
        opened_at=now,
        ended_at=now if is_over else None,
        look_at=now,
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


def make_credit_note(invoice: Invoice, reason: str = "Outage", *, position: int = 1, now: datetime = NOW) -> CreditNote:
    """A credit note over one line that is proposed."""
    clerk = make_staff(StaffGroup.FINANCE)
    return propose_credit_note(invoice=invoice, positions=[position], reason=reason, by=clerk, now=now)


def make_issued_note(invoice: Invoice, *, position: int = 1, now: datetime = NOW) -> CreditNote:
    """A credit note over one line that a second person issued."""
    note = make_credit_note(invoice, position=position, now=now)
    return issue_credit_note(note=note, by=make_staff(StaffGroup.FINANCE), now=now)


def make_goodwill(organization: Organization, reason: str = "Outage of a day", *, now: datetime = NOW) -> Goodwill:
    """Ten dollars that somebody of staff proposed to give."""
    return Goodwill.objects.create(
        organization=organization, amount_cents=10_00, reason=reason, proposed_by="user_staff", proposed_at=now
    )


def make_given_up_debt(
    organization: Organization, reason: str = "Out of business", *, now: datetime = NOW
) -> GivenUpDebt:
    """A dollar that somebody of staff proposed to give up, as a row."""
    return GivenUpDebt.objects.create(
        organization=organization, amount_cents=1_00, reason=reason, proposed_by="user_staff", proposed_at=now
    )


def make_grant(organization: Organization, amount_nano: int = 5 * NANO_PER_USD) -> CreditGrant:
    """A credit grant that is not in the ledger yet."""
    return CreditGrant.objects.create(
        organization=organization,
        kind=CreditGrant.Kind.STARTER,
        amount_nano=amount_nano,
        source=f"factory:{next(_numbers)}",
        granted_at=NOW,
    )


def make_contract(
    organization: Organization,
    *prices: AgreedPrice,
    discount_basis_points: int = 0,
    active_from: datetime | None = None,
    active_to: datetime | None = None,
    status: Contract.Status = Contract.Status.PUBLISHED,
    name: str = "Frame agreement",
    drafted_by: User | None = None,
    commitment: AgreedCommitment | None = None,
    now: datetime = NOW,
) -> Contract:
    """A contract from the hour of `now` on, with prices for SKUs that have a list price."""
    contract = Contract.objects.create(
        organization=organization,
        version=Contract.objects.owned_by(organization).count() + 1,
        name=name,
        discount_basis_points=discount_basis_points,
        active_from=active_from or hour_of(now),
        active_to=active_to,
        committed_cents=commitment.cents if commitment else 0,
        committed_from=commitment.starts_at if commitment else None,
        committed_until=commitment.ends_at if commitment else None,
        drafted_by=drafted_by or make_user(),
        drafted_at=now,
    )
    for price in prices:
        listed = Price.objects.filter(sku__code=price.sku).order_by("-version")[0]
        ContractPrice.objects.create(
            organization=organization,
            contract=contract,
            sku=listed.sku,
            price_nano=price.price_nano,
            unit_size=listed.unit_size,
            tier_mode=price.tiers.mode.value,
            tiers=stored(price.tiers),
        )
    if status != Contract.Status.DRAFT:
        contract.status = status
        if status != Contract.Status.DISCARDED:
            contract.approved_by, contract.approved_at = make_user(), now
        contract.published_at = now if status == Contract.Status.PUBLISHED else None
        contract.save()
    return contract


def make_price_notice(organization: Organization, sku: str = "model.demo.input", *, now: datetime = NOW) -> PriceNotice:
    """A notice that was not mailed yet, of a version that nobody has announced."""
    return PriceNotice.objects.create(
        organization=organization,
        sku=sku,
        list_price_id=f"price_{next(_numbers)}",
        before_nano=1_000,
        price_nano=2_000,
        unit_size=1_000_000,
        active_from=hour_of(now) + timedelta(days=30),
        noted_at=now,
    )


def close_month_before(organization: Organization, end: datetime) -> Invoice:
    """An issued invoice of nothing for the month that ends then, so that what is counted for it later is late."""
    period = month_of(end - timedelta(seconds=1))
    return Invoice.objects.create(
        organization=organization,
        number=f"T-{next(_numbers):06}",
        status=Invoice.Status.PAID,
        period_start=period.start,
        period_end=period.end,
        counted_below=0,
        drafted_at=end,
        issued_at=end,
        due_at=end,
        paid_at=end,
    )
