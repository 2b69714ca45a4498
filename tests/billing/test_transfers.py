"""Bank transfers pay what two people say, to the cent, and are taken back without a trace in the balances."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.core import mail
from django.db import DatabaseError, IntegrityError, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import AuditEvent, Organization, User
from accounts.services.staff import StaffGroup
from billing.invoicing.matching import Claim, Match, share_out, suggest
from billing.models import AccountKind, BankTransfer, CreditGrant, Invoice, Route, SpendCap, TransferMatch
from billing.selectors import balance_of, prove_ledger
from billing.selectors.owed import still_due_cents
from billing.selectors.staff_receivables import receivables
from billing.services.invoice_settling import give_up_invoice, settle_invoice
from billing.services.invoice_states import UnableToInvoice
from billing.services.invoices import void_invoice
from billing.services.month_closing import close_months_of
from billing.services.transfers import (
    ArrivedTransfer,
    UnableToChangeTransfer,
    UnableToRecordTransfer,
    confirm_transfer,
    discard_transfer,
    dispute_transfer,
    mail_transfers,
    record_transfer,
    take_back_transfer,
)
from billing.services.usage import record_usage
from portal.lib.money import NANO_PER_CENT, NANO_PER_USD
from portal.lib.tenancy import as_platform
from tests.accounts.test_legal_holds import make_staff
from tests.billing.test_worked_numbers import table
from tests.factories.accounts import make_membership, make_organization, make_project
from tests.factories.billing import make_issued_note, make_record
from tests.factories.catalog import make_price
from tests.factories.terms import make_transfer, put_terms_in_force
from tests.support import undone

pytestmark = pytest.mark.django_db

OCTOBER = datetime(2026, 10, 20, 9, 15, tzinfo=UTC)
ISSUED = datetime(2026, 11, 2, tzinfo=UTC)
NEXT = datetime(2026, 12, 2, tzinfo=UTC)
CASH = Route(AccountKind.CASH)
RECEIVABLE = Route(AccountKind.RECEIVABLE)


@pytest.fixture
def organization() -> Organization:
    """On terms, with $5.00 of credit used up and invoices of $100.00 and $50.00 unpaid."""
    make_price("model.demo.input", NANO_PER_USD, 1_000_000, active_from=datetime(2026, 1, 1, tzinfo=UTC))
    organization = make_organization()
    project = make_project(organization)
    put_terms_in_force(organization, 1_000 * NANO_PER_USD, now=OCTOBER)
    record_usage([make_record(project, 105_000_000, occurred_at=OCTOBER)], reservation_id=None, now=OCTOBER)
    close_months_of(organization=organization, now=ISSUED)
    record_usage([make_record(project, 50_000_000, occurred_at=ISSUED)], reservation_id=None, now=ISSUED)
    close_months_of(organization=organization, now=NEXT)
    return organization


@pytest.fixture
def first() -> User:
    return make_staff(StaffGroup.FINANCE)


@pytest.fixture
def second() -> User:
    return make_staff(StaffGroup.FINANCE)


def arrived(cents: int, reference: str = "", line: str = "2026-12/1") -> ArrivedTransfer:
    return ArrivedTransfer(line, cents, NEXT.date(), "Works Ltd", reference)


def invoices(organization: Organization) -> list[Invoice]:
    return list(Invoice.objects.owned_by(organization).order_by("period_start"))


def cents(organization: Organization, route: Route) -> int:
    return balance_of(organization.pk, route) // NANO_PER_CENT


def room(organization: Organization) -> int:
    return SpendCap.objects.of_organization(organization.pk).get().remaining_nano // NANO_PER_CENT


def state(organization: Organization) -> tuple[object, ...]:
    """Everything that a transfer moves, with which finance's page of receivables agrees."""
    assert receivables(NEXT).total.difference == "0.00"
    return (
        [(one.status, one.paid_at is None, still_due_cents(one)) for one in invoices(organization)],
        [cents(organization, route) for route in (CASH, RECEIVABLE)],
        room(organization),
    )


def take_back(transfer: BankTransfer, first: User, second: User) -> BankTransfer:
    dispute_transfer(transfer=transfer, because="It is somebody else's", by=first, now=NEXT)
    return take_back_transfer(transfer=transfer, by=second, now=NEXT)


def claims(text: str) -> list[Claim]:
    return [Claim(number, int(Decimal(dollars) * 100)) for number, dollars in re.findall(r"(HR-\d+) ([\d.]+)", text)]


@pytest.mark.parametrize("row", table("transfers.md", "unpaid"), ids=lambda row: row["reference"])
def test_the_worked_matches_of_transfers_md(row):
    amount = int(Decimal(row["amount"]) * 100)

    matches = suggest(amount, row["reference"], claims(row["unpaid"]))

    assert [(one.number, one.cents) for one in matches] == [
        (one.number, one.due_cents) for one in claims(row["matches"])
    ]
    assert amount - sum(one.cents for one in matches) == int(Decimal(row["rest"]) * 100)


@given(
    st.integers(1, 1_000),
    st.lists(st.builds(Claim, st.from_regex(r"HR-\d{3}", fullmatch=True), st.integers(-5, 500)), max_size=6),
)
def test_no_invoice_and_no_transfer_gives_more_than_it_has(amount, given_claims):
    matches = share_out(amount, given_claims)

    assert sum(one.cents for one in matches) <= amount
    assert all(one.cents > 0 for one in matches)
    assert sum(one.cents for one in matches) == min(amount, sum(max(one.due_cents, 0) for one in given_claims))


def test_two_people_let_a_transfer_pay_an_invoice_and_the_rest_is_credit(organization, first, second):
    old, new = invoices(organization)
    before = room(organization)

    transfer = record_transfer(
        organization=organization, arrived=arrived(11_000, f"inv {old.number}"), matches=None, by=first, now=NEXT
    )
    assert [(match.invoice, match.amount_cents) for match in TransferMatch.objects.all()] == [(old, 10_000)]
    with pytest.raises(UnableToChangeTransfer, match="Somebody else"):
        confirm_transfer(transfer=transfer, by=first, now=NEXT)
    assert cents(organization, CASH) == 0
    for _twice in range(2):
        transfer = confirm_transfer(transfer=transfer, by=second, now=NEXT)

    old.refresh_from_db()
    assert (old.status, old.paid_at, still_due_cents(new)) == ("paid", NEXT, 5_000)
    assert [cents(organization, route) for route in (CASH, RECEIVABLE)] == [11_000, 5_000]
    grant = CreditGrant.objects.get(kind=CreditGrant.Kind.PREPAID)
    assert cents(organization, Route(AccountKind.PREPAID_CREDIT, grant_id=grant.pk)) == 1_000
    assert room(organization) == before + 11_000
    assert prove_ledger().is_whole
    actions = AuditEvent.objects.filter(target_id=transfer.public_id).order_by("sequence")
    assert [(one.action, one.actor_id) for one in actions] == [
        ("transfer.recorded", first.public_id),
        ("transfer.confirmed", second.public_id),
    ]


def test_parts_pay_an_invoice_when_they_are_the_whole(organization, first, second):
    old, _new = invoices(organization)

    for number, part in enumerate((4_000, 6_000), start=1):
        transfer = record_transfer(
            organization=organization,
            arrived=arrived(part, line=f"S/{number}"),
            matches=[Match(old.number or "", part)],
            by=first,
            now=NEXT,
        )
        confirm_transfer(transfer=transfer, by=second, now=NEXT)
        old.refresh_from_db()
        assert (old.status, still_due_cents(old)) == (("open", 6_000) if number == 1 else ("paid", 0))


def test_an_invoice_that_is_paid_in_part_is_not_voided(organization, first, second):
    _old, new = invoices(organization)
    transfer = record_transfer(
        organization=organization, arrived=arrived(1), matches=[Match(new.number or "", 1)], by=first, now=NEXT
    )
    confirm_transfer(transfer=transfer, by=second, now=NEXT)

    with pytest.raises(UnableToInvoice, match="paid part of it"):
        void_invoice(invoice=new, now=NEXT)


def test_what_a_card_paid_stays_paid_when_a_transfer_is_taken_back(organization, first, second):
    old, _new = invoices(organization)
    transfer = record_transfer(
        organization=organization, arrived=arrived(4_000), matches=[Match(old.number or "", 4_000)], by=first, now=NEXT
    )
    confirm_transfer(transfer=transfer, by=second, now=NEXT)
    settle_invoice(invoice=old, paid_into=AccountKind.CASH_IN_TRANSIT, now=NEXT)

    take_back(transfer, first, second)
    [old, _new] = invoices(organization)
    assert (old.status, still_due_cents(old), cents(organization, RECEIVABLE)) == ("open", 4_000, 9_000)
    settle_invoice(invoice=old, paid_into=AccountKind.CASH_IN_TRANSIT, now=NEXT)

    assert cents(organization, Route(AccountKind.CASH_IN_TRANSIT)) == 10_000
    assert (still_due_cents(old), cents(organization, RECEIVABLE)) == (0, 5_000)
    assert prove_ledger().is_whole


def test_what_a_card_pays_is_what_transfers_left(organization, first, second):
    old, _new = invoices(organization)
    transfer = record_transfer(
        organization=organization, arrived=arrived(4_000), matches=[Match(old.number or "", 4_000)], by=first, now=NEXT
    )
    confirm_transfer(transfer=transfer, by=second, now=NEXT)

    settle_invoice(invoice=old, paid_into=AccountKind.CASH_IN_TRANSIT, now=NEXT)

    assert cents(organization, Route(AccountKind.CASH_IN_TRANSIT)) == 6_000
    assert cents(organization, RECEIVABLE) == 5_000


def test_a_wrong_match_is_taken_back_by_two_people_and_recorded_anew(organization, first, second):
    old, new = invoices(organization)
    before = state(organization)
    transfer = record_transfer(
        organization=organization,
        arrived=arrived(16_000, f"{old.number} {new.number}"),
        matches=None,
        by=first,
        now=NEXT,
    )
    confirm_transfer(transfer=transfer, by=second, now=NEXT)

    with pytest.raises(UnableToChangeTransfer, match="another takes it back"):
        take_back_transfer(transfer=transfer, by=first, now=NEXT)
    with pytest.raises(UnableToChangeTransfer, match="Say what is wrong"):
        dispute_transfer(transfer=transfer, because=" ", by=first, now=NEXT)
    taken = take_back(transfer, first, second)
    assert take_back_transfer(transfer=taken, by=second, now=NEXT).status == "taken_back"

    assert state(organization) == before
    assert prove_ledger().is_whole
    again = record_transfer(organization=organization, arrived=arrived(16_000), matches=[], by=first, now=NEXT)
    assert again.status == "recorded"


def test_a_debt_comes_back_even_where_its_room_was_used(organization, first, second):
    old, _new = invoices(organization)
    transfer = record_transfer(
        organization=organization, arrived=arrived(10_000, old.number or ""), matches=None, by=first, now=NEXT
    )
    confirm_transfer(transfer=transfer, by=second, now=NEXT)
    project = organization.projects.order_by("-pk")[0]
    used = room(organization) // 100
    record_usage([make_record(project, used * 1_000_000, occurred_at=NEXT)], reservation_id=None, now=NEXT)

    take_back(transfer, first, second)

    cap = SpendCap.objects.of_organization(organization.pk).get()
    assert (cap.remaining_nano, cap.terms_nano) == (0, 1_100 * NANO_PER_USD)
    settle_invoice(invoice=invoices(organization)[0], paid_into=AccountKind.CASH, now=NEXT)
    cap.refresh_from_db()
    assert (cap.remaining_nano, cap.terms_nano) == (0, 1_000 * NANO_PER_USD)
    assert prove_ledger().is_whole


def test_credit_that_is_used_is_not_taken_back(organization, first, second):
    transfer = record_transfer(organization=organization, arrived=arrived(1_000), matches=[], by=first, now=NEXT)
    confirm_transfer(transfer=transfer, by=second, now=NEXT)
    project = organization.projects.order_by("-pk")[0]
    used = room(organization) // 100 - 5
    record_usage([make_record(project, used * 1_000_000, occurred_at=NEXT)], reservation_id=None, now=NEXT)
    before = state(organization)

    with pytest.raises(UnableToChangeTransfer, match="is used"):
        take_back(transfer, first, second)

    assert state(organization) == before


def test_an_invoice_that_was_given_up_is_paid_whole(organization, first, second):
    old, _new = invoices(organization)
    give_up_invoice(invoice=old, now=NEXT)
    part, whole = (
        record_transfer(
            organization=organization,
            arrived=arrived(amount, line=f"S/{amount}"),
            matches=[Match(old.number or "", amount)],
            by=first,
            now=NEXT,
        )
        for amount in (4_000, 10_000)
    )

    with pytest.raises(UnableToChangeTransfer, match="paid whole"):
        confirm_transfer(transfer=part, by=second, now=NEXT)
    confirm_transfer(transfer=whole, by=second, now=NEXT)

    old.refresh_from_db()
    assert old.status == "paid"
    assert [cents(organization, route) for route in (RECEIVABLE, Route(AccountKind.WRITE_OFF))] == [5_000, 0]
    assert prove_ledger().is_whole


def test_what_was_paid_or_credited_meanwhile_is_not_paid_again(organization, first, second):
    old, new = invoices(organization)
    whole, credited = (
        record_transfer(
            organization=organization,
            arrived=arrived(invoice.due_cents, line=invoice.number or ""),
            matches=[Match(invoice.number or "", invoice.due_cents)],
            by=first,
            now=NEXT,
        )
        for invoice in (old, new)
    )
    settle_invoice(invoice=old, paid_into=AccountKind.CASH, now=NEXT)
    make_issued_note(new, now=NEXT)

    for transfer in (whole, credited):
        with pytest.raises(UnableToChangeTransfer, match="record it again"):
            confirm_transfer(transfer=transfer, by=second, now=NEXT)
        assert discard_transfer(transfer=transfer, by=first, now=NEXT).status == "discarded"


@pytest.mark.parametrize(
    ("changes", "matches", "words"),
    [
        ({"amount_cents": 0}, None, "more than nothing"),
        ({"value_date": NEXT.date() + timedelta(days=1)}, None, "has arrived"),
        ({}, [Match("HR-999999", 1)], "no unpaid invoice"),
        ({}, [Match("HR-000001", 10_001)], "100.00 left to be paid"),
        ({}, [Match("HR-000001", 0)], "left to be paid"),
        ({}, [Match("HR-000001", 1), Match("HR-000001", 1)], "once"),
        ({}, [Match("HR-000001", 10_000), Match("HR-000002", 5_000)], "more than has arrived"),
    ],
)
def test_what_cannot_be_is_not_recorded(organization, first, changes, matches, words):
    values = {
        "statement_line": "S/1",
        "amount_cents": 14_999,
        "value_date": NEXT.date(),
        "payer": "Works Ltd",
    }

    with pytest.raises(UnableToRecordTransfer, match=words):
        record_transfer(
            organization=organization,
            arrived=ArrivedTransfer(**values | changes),
            matches=matches,
            by=first,
            now=NEXT,
        )
    assert not BankTransfer.objects.exists()


def test_a_line_of_a_statement_is_recorded_once_over_all_organizations(organization, first):
    record_transfer(organization=organization, arrived=arrived(100), matches=[], by=first, now=NEXT)

    with pytest.raises(UnableToRecordTransfer, match="recorded already"):
        record_transfer(organization=make_organization(), arrived=arrived(100), matches=[], by=first, now=NEXT)


def test_others_than_finance_do_nothing(organization, first):
    transfer = record_transfer(organization=organization, arrived=arrived(100), matches=[], by=first, now=NEXT)
    sales = make_staff(StaffGroup.SALES)

    with pytest.raises(UnableToRecordTransfer, match="may not"):
        record_transfer(organization=organization, arrived=arrived(1, line="x"), matches=[], by=sales, now=NEXT)
    with pytest.raises(UnableToChangeTransfer, match="may not"):
        confirm_transfer(transfer=transfer, by=sales, now=NEXT)


def test_people_are_mailed_once(organization, first, second):
    owner = make_membership(organization).user
    old, _new = invoices(organization)
    transfer = record_transfer(
        organization=organization, arrived=arrived(10_500, old.number or ""), matches=None, by=first, now=NEXT
    )
    with as_platform():
        assert mail_transfers(now=NEXT) == 0
    confirm_transfer(transfer=transfer, by=second, now=NEXT)

    with as_platform():
        assert [mail_transfers(now=NEXT), mail_transfers(now=NEXT)] == [1, 0]

    letter = next(one for one in mail.outbox if one.to == [owner.email])
    assert letter.subject == "Your bank transfer of $105.00 has arrived"
    assert f"Invoice {old.number}: $100.00" in letter.body
    assert "Credit for what comes next: $5.00" in letter.body


@pytest.mark.parametrize(
    "change",
    [
        lambda transfer: BankTransfer.objects.update(amount_cents=1),
        lambda transfer: BankTransfer.objects.update(confirmed_by="user_c"),
        lambda transfer: TransferMatch.objects.update(amount_cents=1),
        lambda transfer: TransferMatch.objects.create(
            organization=transfer.organization,
            transfer=transfer,
            invoice=invoices(transfer.organization)[1],
            amount_cents=1,
        ),
        lambda transfer: TransferMatch.objects.all()._raw_delete("default"),
        lambda transfer: BankTransfer.objects.all()._raw_delete("default"),
    ],
)
def test_not_even_the_owner_of_the_tables_edits_what_was_confirmed(organization, change):
    old, _new = invoices(organization)
    transfer = make_transfer(organization, 10, (old, 5), status=BankTransfer.Status.CONFIRMED, now=NEXT)

    with pytest.raises(DatabaseError, match=r"never edited|never deleted|when it is recorded"), transaction.atomic():
        change(transfer)


def test_the_database_keeps_two_people(organization):
    transfer = make_transfer(organization, 10, now=NEXT)

    with pytest.raises(IntegrityError, match="transfer_by_two_people"), transaction.atomic():
        BankTransfer.objects.filter(pk=transfer.pk).update(status="confirmed", confirmed_by="user_a", confirmed_at=NEXT)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from(["transfer", "transfer", "back", "card"]), st.integers(0, 1), st.integers(1, 120)),
        min_size=3,
        max_size=10,
    )
)
def test_any_sequence_leaves_cash_debt_and_room_in_step(organization, first, second, steps):
    with undone():
        confirmed: list[BankTransfer] = []
        at_first = room(organization)
        for number, (step, which, dollars) in enumerate(steps):
            invoice = invoices(organization)[which]
            if step == "card" and invoice.status == "open":
                settle_invoice(invoice=invoice, paid_into=AccountKind.CASH, now=NEXT)
            elif step == "back" and confirmed:
                take_back(confirmed.pop(which % len(confirmed)), first, second)
            elif step == "transfer":
                confirmed.append(pay(organization, invoice, 100 * dollars, f"S/{number}", (first, second)))
            for one in invoices(organization):
                assert (one.status == "paid") == (still_due_cents(one) == 0)
            assert cents(organization, RECEIVABLE) == sum(map(still_due_cents, invoices(organization)))
            # What whole invoices and credit gave back, and nothing else.
            whole = sum(one.owed_cents for one in invoices(organization) if one.status == "paid")
            rests = sum(one.credit_grant.amount_nano for one in confirmed if one.credit_grant) // NANO_PER_CENT
            assert room(organization) == at_first + whole + rests
            assert prove_ledger().is_whole


def pay(
    organization: Organization, invoice: Invoice, amount: int, line: str, people: tuple[User, User]
) -> BankTransfer:
    """Let a transfer pay as much of an invoice as it can."""
    paid = min(still_due_cents(invoice), amount)
    matches = [Match(invoice.number or "", paid)] if paid else []
    by, other = people
    transfer = record_transfer(
        organization=organization, arrived=arrived(amount, line=line), matches=matches, by=by, now=NEXT
    )
    return confirm_transfer(transfer=transfer, by=other, now=NEXT)
