"""What one organization was billed, mailed and agreed on counts for nothing in another.

These run as the platform, whom no row-level security holds back: the filter alone keeps them apart, and without it
tests/test_tenant_mutants.py sees these fail.
"""

from datetime import UTC, datetime, timedelta

import pytest
from django.core import mail

from accounts.models import Organization, Role
from accounts.services.staff import StaffGroup
from billing.invoicing import Party, Terms
from billing.invoicing.anomaly import Series
from billing.models import AccountKind, Contract, Invoice, LedgerEntry, Payment, PriceNotice, Route, SpendCap, WriteOff
from billing.selectors import burn_downs, contract_twin, tier_lines, trial_balance_of
from billing.selectors.anomalies import series_of
from billing.selectors.closing import NOTHING_CLOSED, closed_until
from billing.selectors.commitments import first_true_up
from billing.selectors.staff_contracts import contract_rows
from billing.selectors.unbilled import overrun_nano_of
from billing.services.contracts import (
    AgreedCommitment,
    AgreedPrice,
    ContractTerms,
    approve_contract,
    draft_contract,
    publish_contract,
)
from billing.services.credits import lock_cap
from billing.services.invoice_settling import settle_invoice
from billing.services.invoices import draft_invoice, void_invoice
from billing.services.ledger import Journal, Line, post
from billing.services.month_closing import close_month, close_months_of
from billing.services.payments import mail_payments
from billing.services.price_notices import mail_price_notices
from billing.services.usage import record_usage
from catalog.services.prices import publish_price
from portal.lib.money import NANO_PER_CENT, NANO_PER_USD
from portal.lib.periods import day_of, hour_of, month_of
from portal.lib.tiers import Tier, TierMode, Tiers
from tests.accounts.test_legal_holds import make_staff
from tests.factories.accounts import make_membership, make_organization
from tests.factories.billing import (
    NOW,
    close_month_before,
    make_anomaly,
    make_contract,
    make_issued_note,
    make_payment,
    make_price_notice,
    make_record,
)
from tests.factories.catalog import make_price, make_sku

pytestmark = pytest.mark.django_db

SKU, OTHER_SKU, THIRD_SKU = "model.demo.input", "model.demo.output", "model.other.output"
SEPTEMBER, OCTOBER, NOVEMBER = (month_of(datetime(2026, month, 1, tzinfo=UTC)) for month in (9, 10, 11))
DECEMBER = datetime(2026, 12, 2, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ON_TERMS = Terms(seller=Party("Headroom"), buyer=Party("Acme"), credit_limit_nano=100 * NANO_PER_USD, net_days=30)


@pytest.fixture
def ours() -> Organization:
    make_price(SKU, NANO_PER_USD, 1)
    return make_organization("Ours")


@pytest.fixture
def neighbour() -> Organization:
    return make_organization("Neighbour")


def use(organization: Organization, dollars: int, at: datetime = OCTOBER.start) -> None:
    record = make_record(organization.projects.get(), dollars, sku=SKU, occurred_at=at)
    record_usage([record], reservation_id=None, now=at)


def room_of(organization: Organization) -> int:
    return SpendCap.objects.of_organization(organization.pk).get().limit_nano


def owing(organization: Organization) -> Invoice:
    """An open invoice of October: the starter credit of $5 pays a part."""
    cap = lock_cap(organization_id=organization.pk, now=OCTOBER.start)
    SpendCap.objects.filter(pk=cap.pk).update(limit_nano=cap.limit_nano + 100 * NANO_PER_USD)
    use(organization, 8)
    invoice = close_month(organization=organization, period=OCTOBER, now=NOW, terms=ON_TERMS)
    assert invoice is not None
    assert invoice.status == Invoice.Status.OPEN
    return invoice


# --- Invoices ------------------------------------------------------------------------------------


def test_a_month_bills_only_what_the_organization_used(ours, neighbour):
    use(ours, 2)
    use(neighbour, 3)

    [invoice] = close_months_of(organization=ours, now=NOW)

    assert (invoice.organization_id, invoice.total_cents) == (ours.pk, 2_00)


def test_months_that_a_neighbour_has_closed_are_open_here(ours, neighbour):
    use(ours, 2)
    use(neighbour, 3)
    close_month(organization=neighbour, period=OCTOBER, now=NOW)
    close_month_before(neighbour, NOVEMBER.end)

    assert closed_until(organization_id=ours.pk) == NOTHING_CLOSED
    [invoice] = close_months_of(organization=ours, now=DECEMBER)

    assert (invoice.organization_id, invoice.period_start) == (ours.pk, OCTOBER.start)


def test_an_invoice_of_a_neighbour_is_not_taken_for_the_month_s(ours, neighbour):
    use(ours, 2)
    close_month_before(neighbour, OCTOBER.end)

    invoice = draft_invoice(organization=ours, period=OCTOBER, now=NOW)

    assert invoice is not None
    assert invoice.organization_id == ours.pk


def test_a_draft_of_a_neighbour_stays_one(ours, neighbour):
    use(neighbour, 3, SEPTEMBER.start)
    draft = draft_invoice(organization=neighbour, period=SEPTEMBER, now=NOW)
    use(ours, 2)

    assert close_month(organization=ours, period=OCTOBER, now=NOW) is not None

    assert draft is not None
    draft.refresh_from_db()
    assert draft.status == Invoice.Status.DRAFT


def test_an_invoice_is_voided_whatever_a_neighbour_was_billed_since(ours, neighbour):
    invoice = owing(ours)
    close_month_before(neighbour, NOVEMBER.end)

    assert void_invoice(invoice=invoice, now=DECEMBER).status == Invoice.Status.VOID


def test_what_is_paid_and_taken_back_is_room_here_alone(ours, neighbour):
    lock_cap(organization_id=neighbour.pk, now=NOW)
    invoice, before = owing(ours), room_of(neighbour)

    settle_invoice(invoice=invoice, paid_into=AccountKind.CASH, now=NOW)
    assert room_of(neighbour) == before

    make_issued_note(invoice)
    assert room_of(neighbour) == before


def test_overruns_and_who_paid_them_are_those_of_the_organization(ours, neighbour):
    for organization, amount_nano in ((ours, 3 * NANO_PER_USD), (neighbour, 4 * NANO_PER_USD)):
        cap = lock_cap(organization_id=organization.pk, now=NOW)
        reason = WriteOff.Reason.OVERRUN
        WriteOff.objects.create(
            organization=organization, cap=cap, amount_nano=amount_nano, reason=reason, created_at=NOW
        )
    use(neighbour, 4)
    taken = close_month(organization=neighbour, period=OCTOBER, now=NOW)

    assert taken is not None
    assert taken.house_cents * NANO_PER_CENT == 4 * NANO_PER_USD
    assert (overrun_nano_of(ours.pk), overrun_nano_of(neighbour.pk)) == (3 * NANO_PER_USD, 0)


def test_a_trial_balance_is_of_one_book(ours, neighbour):
    for organization, amount_nano in ((ours, 4), (neighbour, 5)):
        line = Line(LedgerEntry.Code.PAYMENT, Route(AccountKind.CASH), Route(AccountKind.RECEIVABLE), amount_nano)
        post(Journal(organization.pk, "payment:1", NOW, (line,)), now=NOW)

    assert trial_balance_of(ours).debits_nano == 4


# --- Contracts -----------------------------------------------------------------------------------


def test_versions_of_a_contract_are_counted_and_in_force_in_one_organization(ours, neighbour):
    begins = hour_of(NOW) + 2 * HOUR
    theirs = make_contract(neighbour, active_from=begins)
    drafter, approver = make_staff(StaffGroup.SALES), make_staff(StaffGroup.FINANCE)

    drafted = draft_contract(organization=ours, terms=ContractTerms("2027", 100, begins), by=drafter, now=NOW)
    assert drafted.version == 1

    approved = approve_contract(contract=drafted, by=approver, now=NOW)
    published = publish_contract(contract=approved, by=approver, now=NOW)
    theirs.refresh_from_db()
    assert (published.active_to, theirs.active_to) == (None, None)
    assert [row.organization for row in contract_rows(ours)] == ["Ours"]


def test_a_twin_replays_only_what_the_organization_used(ours, neighbour):
    at = hour_of(NOW) - HOUR
    use(ours, 2, at)
    use(neighbour, 3, at)
    contract = make_contract(ours, AgreedPrice(SKU, NANO_PER_USD // 2), status=Contract.Status.DRAFT)

    [line] = contract_twin(contract, NOW).lines

    assert (line.quantity, line.contract_nano) == (2, NANO_PER_USD)


def test_tiers_are_reached_by_what_the_organization_used(neighbour):
    tiers = Tiers(TierMode.GRADUATED, (Tier(2, NANO_PER_USD // 2),))
    begins = datetime(2026, 1, 1, tzinfo=UTC)
    publish_price(sku=make_sku(SKU), price_nano=NANO_PER_USD, unit_size=1, active_from=begins, now=begins, tiers=tiers)
    ours = make_organization()
    use(ours, 2, NOW - HOUR)
    use(neighbour, 3, NOW - HOUR)

    assert tier_lines(ours.pk, NOW) == []
    assert [line.quantity for line in tier_lines(neighbour.pk, NOW)] == [3]
    [line] = contract_twin(make_contract(ours, status=Contract.Status.DRAFT), NOW).lines
    assert line.billed_nano == 2 * NANO_PER_USD


def test_tiers_of_an_invoice_and_the_room_they_free_are_of_one_organization(neighbour):
    tiers = Tiers(TierMode.GRADUATED, (Tier(2, NANO_PER_USD // 2),))
    begins = datetime(2026, 1, 1, tzinfo=UTC)
    publish_price(sku=make_sku(SKU), price_nano=NANO_PER_USD, unit_size=1, active_from=begins, now=begins, tiers=tiers)
    ours = make_organization()
    for organization in (neighbour, ours):
        use(organization, 3)
    theirs = close_month(organization=neighbour, period=OCTOBER, now=NOW)

    mine = close_month(organization=ours, period=OCTOBER, now=NOW)

    assert mine is not None
    assert theirs is not None
    assert (mine.total_cents, theirs.total_cents) == (250, 250)
    assert [part for use in mine.tiered for _, *part in use["projects"]] == [[0, 3]]
    assert lock_cap(organization_id=ours.pk, now=NOW).tier_room_nano == NANO_PER_USD // 2


def test_tiers_of_a_contract_are_of_its_organization(ours, neighbour):
    agreed = AgreedPrice(SKU, NANO_PER_USD, Tiers(TierMode.GRADUATED, (Tier(2, NANO_PER_USD // 2),)))
    make_contract(neighbour, agreed, active_from=OCTOBER.start)
    use(ours, 3)

    mine = close_month(organization=ours, period=OCTOBER, now=NOW)

    assert mine is not None
    assert (mine.total_cents, mine.tiered) == (300, [])


def test_a_commitment_is_of_one_organization_and_drawn_by_it_alone(ours, neighbour):
    commitment = AgreedCommitment(10_00, OCTOBER.start, OCTOBER.end)
    make_contract(neighbour, active_from=OCTOBER.start, commitment=commitment)
    for organization in (ours, neighbour):
        use(organization, 2)
    mine = close_month(organization=ours, period=OCTOBER, now=NOW)

    assert mine is not None
    assert mine.total_cents == 200
    [theirs] = burn_downs(neighbour, NOW)
    assert (theirs.drawn, burn_downs(ours, NOW)) == ("$2.00", [])
    # Nothing of theirs makes us look for a true-up.
    assert close_months_of(organization=ours, now=DECEMBER) == []
    assert first_true_up(ours.pk, before=NOVEMBER.end) is None
    assert first_true_up(neighbour.pk, before=NOVEMBER.end) == OCTOBER.start


# --- Mails ---------------------------------------------------------------------------------------


def test_what_a_neighbour_spends_and_heard_of_is_no_part_of_what_is_usual(ours, neighbour):
    today = day_of(NOW)
    for at in (today - DAY, today):
        use(ours, 1, at)
        use(neighbour, 3, at)
    make_anomaly(neighbour, now=NOW - DAY)

    series = series_of(ours.pk, today)

    assert series[""] == Series(NANO_PER_USD, [NANO_PER_USD], [])


def test_those_who_pay_are_mailed_what_concerns_them(ours, neighbour):
    of_sku = {}
    for organization, sku in ((ours, OTHER_SKU), (neighbour, THIRD_SKU)):
        lock_cap(organization_id=organization.pk, now=NOW)
        of_sku[make_membership(organization, role=Role.BILLING).user.email] = sku
        make_price_notice(organization, sku)
        PriceNotice.objects.filter(sku=sku).update(list_price_id=make_price(sku, 2_000, 1).public_id)
        make_payment(organization, state=Payment.State.SUCCEEDED, intent_id=f"pi_{organization.pk}")

    assert (mail_price_notices(now=NOW), mail_payments(now=NOW)) == (2, 2)

    assert sorted(to for message in mail.outbox for to in message.to) == sorted([*of_sku, *of_sku])
    told = {message.to[0]: str(message.body) for message in mail.outbox[:2]}
    for address, sku in of_sku.items():
        other = THIRD_SKU if sku == OTHER_SKU else OTHER_SKU
        assert make_sku(sku).name in told[address]
        assert make_sku(other).name not in told[address]
