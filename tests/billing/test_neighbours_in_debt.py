"""Terms, debts, standings and transfers of one organization count for nothing in another.

As in test_neighbours_of_the_platform.py: they run as the platform, and without a filter some of these fail. The
neighbour comes first, so that whatever takes the first row takes theirs.
"""

from datetime import UTC, datetime, timedelta

import pytest

from accounts.models import Organization, OrganizationTerms, User
from accounts.services.staff import StaffGroup
from billing.invoicing.matching import Match
from billing.models import AccountKind, Invoice, Payment, SpendCap, Standing
from billing.selectors.details import details_rows
from billing.selectors.disputes import staff_dispute_rows, warned_rows
from billing.selectors.refunds import staff_refund_rows
from billing.selectors.standing import overdue_cents
from billing.selectors.terms import debt_of, owed_nano_of, terms_in_force, terms_rows
from billing.selectors.transfers import transfer_rows
from billing.selectors.unbilled import terms_of
from billing.services.details import NeedsPurchaseOrder, StatedDetails, change_details
from billing.services.invoice_settling import settle_invoice
from billing.services.month_closing import close_months_of
from billing.services.standing import approve_suspension, work_standings
from billing.services.terms import ProposedTerms, UnableToChangeTerms, approve_terms, propose_terms
from billing.services.transfers import (
    ArrivedTransfer,
    UnableToRecordTransfer,
    confirm_transfer,
    dispute_transfer,
    record_transfer,
    take_back_transfer,
)
from billing.services.usage import record_usage
from portal.lib.money import NANO_PER_USD, decimal_string
from tests.accounts.test_legal_holds import make_staff
from tests.factories.accounts import make_organization
from tests.factories.billing import make_dispute, make_payment, make_record, make_refund
from tests.factories.catalog import make_price
from tests.factories.terms import make_details, make_terms, make_transfer, put_terms_in_force

pytestmark = pytest.mark.django_db

SKU = "model.demo.input"
OCTOBER = datetime(2026, 10, 20, 9, 15, tzinfo=UTC)
ISSUED = datetime(2026, 12, 2, tzinfo=UTC)
DUE = datetime(2027, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
# What terms allow the neighbour and us, and what is owed of it.
THEIR_LIMIT, OUR_LIMIT = 200 * NANO_PER_USD, 100 * NANO_PER_USD
THEIR_DEBT, OUR_DEBT = 70_00, 50_00


def indebted(name: str, limit_nano: int, owed_cents: int) -> Organization:
    """An organization on terms with an invoice that is due at DUE: the starter credit of $5 is used up."""
    organization = make_organization(name)
    put_terms_in_force(organization, limit_nano, now=OCTOBER)
    record = make_record(organization.projects.get(), owed_cents + 5_00, sku=SKU, occurred_at=OCTOBER)
    record_usage([record], reservation_id=None, now=OCTOBER)
    close_months_of(organization=organization, now=ISSUED)
    return organization


@pytest.fixture
def neighbour() -> Organization:
    make_price(SKU, NANO_PER_USD, 100, active_from=datetime(2026, 1, 1, tzinfo=UTC))
    return indebted("Neighbour", THEIR_LIMIT, THEIR_DEBT)


@pytest.fixture
def ours(neighbour: Organization) -> Organization:
    return indebted("Ours", OUR_LIMIT, OUR_DEBT)


@pytest.fixture
def finance() -> User:
    return make_staff(StaffGroup.FINANCE)


def invoice_of(organization: Organization) -> Invoice:
    return Invoice.objects.owned_by(organization).get()


def room_of(organization: Organization) -> int:
    return SpendCap.objects.of_organization(organization.pk).get().remaining_nano


def stands(organization: Organization) -> tuple[str, str, bool]:
    """How it stands: by its row, by the copy of that, and whether its credit stops."""
    organization.refresh_from_db()
    cap = SpendCap.objects.of_organization(organization.pk).get()
    standing = Standing.objects.of_organization(organization.pk).get()
    return standing.state, organization.payment_state, cap.is_suspended


# --- What staff sees -----------------------------------------------------------------------------


def test_what_is_owed_and_given_is_of_one_organization(ours, neighbour):
    assert (overdue_cents(ours.pk, DUE), overdue_cents(neighbour.pk, DUE)) == (OUR_DEBT, THEIR_DEBT)
    assert owed_nano_of(ours.pk) == OUR_DEBT * NANO_PER_USD // 100
    given = [debt_of(organization.pk).given for organization in (ours, neighbour)]
    assert given == [decimal_string(OUR_LIMIT), decimal_string(THEIR_LIMIT)]


@pytest.mark.parametrize("rows_of", [details_rows, terms_rows, transfer_rows, staff_refund_rows, staff_dispute_rows])
def test_staff_looks_at_one_organization_or_at_all(ours, neighbour, rows_of):
    for organization in (neighbour, ours):
        make_details(organization)
        make_transfer(organization, 1_00)
        payment = make_payment(organization, state=Payment.State.SUCCEEDED)
        make_refund(payment)
        make_dispute(payment)

    assert {row.organization for row in rows_of(ours)} == {"Ours"}
    assert {row.organization for row in rows_of(None)} == {"Ours", "Neighbour"}


def test_staff_looks_at_warnings_of_one_organization_or_of_all(ours, neighbour):
    for organization in (neighbour, ours):
        payment = make_payment(organization, state=Payment.State.SUCCEEDED)
        Payment.objects.filter(pk=payment.pk).update(fraud_warned_at=ISSUED, fraud_warning="issfr_1")

    assert {row.organization for row in warned_rows(ours)} == {"Ours"}
    assert {row.organization for row in warned_rows(None)} == {"Ours", "Neighbour"}


# --- Terms ---------------------------------------------------------------------------------------


def test_terms_are_counted_and_take_the_place_of_others_in_one_organization(ours, neighbour, finance):
    put_terms_in_force(neighbour, THEIR_LIMIT, now=ISSUED)
    proposed = ProposedTerms(credit_limit_nano=2 * OUR_LIMIT, net_days=30, active_from=ISSUED)

    terms = propose_terms(organization=ours, proposed=proposed, by=make_staff(StaffGroup.SALES), now=ISSUED)
    before = room_of(neighbour)
    approve_terms(terms=terms, by=finance, now=ISSUED)

    assert terms.version == 2
    assert OrganizationTerms.objects.owned_by(ours).in_force().get() == terms
    assert OrganizationTerms.objects.owned_by(neighbour).in_force().get().version == 2
    assert room_of(neighbour) == before


def test_the_purchase_order_of_a_neighbour_is_none_of_ours(ours, neighbour, finance):
    make_details(neighbour, purchase_order="PO-7")
    proposed = ProposedTerms(OUR_LIMIT, 30, ISSUED, needs_purchase_order=True)
    terms = propose_terms(organization=ours, proposed=proposed, by=make_staff(StaffGroup.SALES), now=ISSUED)

    with pytest.raises(UnableToChangeTerms, match="no purchase-order number"):
        approve_terms(terms=terms, by=finance, now=ISSUED)


# --- Standing ------------------------------------------------------------------------------------


def test_one_is_stopped_and_good_again_and_the_other_stays_where_it_is(ours, neighbour, finance):
    for days in (0, 3, 7, 11, 14):
        assert work_standings(now=DUE + days * DAY) == 2
    assert stands(ours) == stands(neighbour) == ("grace", "grace", False)

    approve_suspension(organization=ours, by=finance, now=DUE + 15 * DAY)
    assert stands(ours) == ("suspended", "suspended", True)
    assert stands(neighbour) == ("grace", "grace", False)

    settle_invoice(invoice=invoice_of(ours), paid_into=AccountKind.CASH, now=DUE + 16 * DAY)
    assert stands(ours) == ("good", "good", False)
    assert stands(neighbour) == ("grace", "grace", False)


def test_what_cannot_be_done_for_a_neighbour_is_done_for_us(ours, neighbour):
    work_standings(now=DUE)
    # There is no such action.
    Standing.objects.of_organization(neighbour.pk).update(done=9)

    assert work_standings(now=DUE + 3 * DAY) == 1


# --- Transfers -----------------------------------------------------------------------------------


def test_a_transfer_pays_no_invoice_of_a_neighbour(ours, neighbour, finance):
    arrived = ArrivedTransfer("2026-12/1", 70_00, ISSUED.date(), "Works Ltd")
    matches = [Match(invoice_of(neighbour).number or "", 70_00)]

    with pytest.raises(UnableToRecordTransfer, match="no unpaid invoice"):
        record_transfer(organization=ours, arrived=arrived, matches=matches, by=finance, now=ISSUED)


def test_a_transfer_gives_and_takes_room_in_one_organization(ours, neighbour, finance):
    before, second = [room_of(ours), room_of(neighbour)], make_staff(StaffGroup.FINANCE)
    arrived = ArrivedTransfer("2026-12/1", OUR_DEBT, ISSUED.date(), "Works Ltd", invoice_of(ours).number or "")

    transfer = record_transfer(organization=ours, arrived=arrived, matches=None, by=finance, now=ISSUED)
    transfer = confirm_transfer(transfer=transfer, by=second, now=ISSUED)
    assert [room_of(ours), room_of(neighbour)] == [before[0] + OUR_DEBT * NANO_PER_USD // 100, before[1]]

    transfer = dispute_transfer(transfer=transfer, because="Another's", by=finance, now=ISSUED)
    take_back_transfer(transfer=transfer, by=second, now=ISSUED)
    assert [room_of(ours), room_of(neighbour)] == before
    assert invoice_of(ours).status == "open"


def test_an_organization_is_billed_by_terms_of_its_own(ours, neighbour):
    in_force = terms_in_force(ours.pk)

    assert in_force is not None
    assert in_force.organization_id == ours.pk
    assert [terms_of(each).credit_limit_nano for each in (ours, neighbour)] == [OUR_LIMIT, THEIR_LIMIT]


def test_an_order_that_a_neighbours_terms_want_is_not_asked_of_us():
    neighbour, ours = make_organization("Neighbour"), make_organization("Ours")
    make_terms(neighbour, status=OrganizationTerms.Status.APPROVED, needs_purchase_order=True)
    stated = StatedDetails(legal_name="Ours Ltd", address="1 Main Street", country="DE")

    assert change_details(organization=ours, stated=stated, now=DUE).organization_id == ours.pk
    with pytest.raises(NeedsPurchaseOrder):
        change_details(organization=neighbour, stated=stated, now=DUE)
