"""What was committed to and not used is billed once, when the term is over; usage draws it at the contract's prices."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction

from accounts.models import Project, Role
from accounts.services.staff import StaffGroup
from billing.invoicing import Bucket, Commitment, Line
from billing.invoicing.commitment import true_ups
from billing.models import AccountKind, Contract, Invoice, InvoiceLine, Route
from billing.selectors import balance_of, burn_downs, prove_ledger
from billing.services.contracts import (
    AgreedCommitment,
    ContractTerms,
    UnableToChangeContract,
    UnableToDraftContract,
    approve_contract,
    draft_contract,
    publish_contract,
)
from billing.services.invoice_settling import settle_invoice
from billing.services.invoices import void_invoice
from billing.services.month_closing import close_due_months, close_months_of
from billing.verify_invoice import main
from portal.lib.money import NANO_PER_CENT, NANO_PER_USD, usd_to_nano
from portal.lib.periods import month_of
from tests.accounts.test_legal_holds import browser_of, make_staff
from tests.billing.test_services_invoices import (
    DOLLAR,
    DUE,
    NOVEMBER,
    OCTOBER,
    SKU,
    balances,
    cap_of,
    close,
    starter,
    take_back,
    use,
)
from tests.billing.test_verify_invoice import Records, changed, of, records_of
from tests.billing.test_worked_numbers import table
from tests.factories.accounts import make_membership, make_organization, make_project, make_user
from tests.factories.billing import make_contract, make_issued_note
from tests.factories.catalog import make_price

AUGUST, SEPTEMBER = datetime(2026, 8, 1, tzinfo=UTC), datetime(2026, 9, 1, tzinfo=UTC)
REVENUE = Route(AccountKind.REVENUE, product="commitment")
RECEIVABLE = Route(AccountKind.RECEIVABLE)


def line_of(dollars: Decimal) -> Line:
    step = Bucket(month_of(OCTOBER).start, "a", "models", SKU, "price", NANO_PER_CENT, 1, 0, int(dollars * 100))
    return Line(False, month_of(OCTOBER).start, "a", "models", SKU, "price", NANO_PER_CENT, 1, (step,))


@pytest.mark.parametrize("row", table("invoicing.md", "committed"), ids=lambda row: row["why"])
def test_true_ups(row):
    nano = {name: usd_to_nano(Decimal(text)) for name, text in row.items() if name != "why"}
    october = month_of(OCTOBER)
    one = Commitment("ctr_a", SEPTEMBER, october.end, nano["committed"], nano["drawn before"], nano["billed before"])
    lines = [line_of(Decimal(row["used"]))]

    found = true_ups([one], lines, october)

    assert [line.amount_nano for line in found] == [nano["true-up"]] * bool(nano["true-up"])
    assert true_ups([replace(one, ends_at=NOVEMBER.end)], lines, october) == []


@pytest.fixture
def project(db: None) -> Project:
    make_price(SKU, NANO_PER_USD, DOLLAR, active_from=datetime(2026, 1, 1, tzinfo=UTC))
    return make_project(make_organization())


@pytest.fixture
def contract(project: Project) -> Contract:
    """Ten dollars in September and October."""
    return make_contract(
        project.organization, active_from=AUGUST, commitment=AgreedCommitment(10_00, SEPTEMBER, NOVEMBER.start)
    )


def true_up_of(invoice: Invoice) -> list[tuple[int, str]]:
    lines = InvoiceLine.objects.of_invoice(invoice).filter(contract__isnull=False)
    return [(line.amount_cents, line.parts[0]["payer"]) for line in lines]


def test_what_was_not_used_is_owed_when_the_term_is_over_and_not_before(project, contract):
    use(project, DOLLAR, AUGUST + timedelta(days=3))
    use(project, DOLLAR * 2, SEPTEMBER + timedelta(days=3))
    august, september = close_months_of(organization=project.organization, now=SEPTEMBER + timedelta(days=45))
    use(project, DOLLAR // 2)

    october = close(project)

    assert [true_up_of(invoice) for invoice in (august, september, october)] == [[], [], [(7_50, "owed")]]
    assert (october.total_cents, october.credit_cents, october.owed_cents, october.status) == (8_00, 50, 7_50, "open")
    assert balances(project, REVENUE, RECEIVABLE, starter(project)) == [7_50, 7_50, 1_50]
    assert cap_of(project).remaining_nano == 150 * NANO_PER_CENT
    settle_invoice(invoice=october, paid_into=AccountKind.CASH, now=DUE)
    # It had taken no room, so it gives none back.
    assert cap_of(project).remaining_nano == 150 * NANO_PER_CENT
    assert prove_ledger().is_whole
    assert close_months_of(organization=project.organization, now=NOVEMBER.end + timedelta(days=2)) == []


def test_it_is_billed_where_nothing_was_used_at_all(project, contract):
    assert close_due_months(now=DUE) == 1

    invoice = Invoice.objects.get()

    assert (invoice.period_start, invoice.total_cents) == (month_of(OCTOBER).start, 10_00)
    assert close_due_months(now=NOVEMBER.end + timedelta(days=2)) == 0


def test_who_used_more_owes_nothing_beside_it(project, contract):
    use(project, DOLLAR * 4, SEPTEMBER)
    close_months_of(organization=project.organization, now=SEPTEMBER + timedelta(days=31))
    cap = cap_of(project)
    cap.limit_nano += 100 * NANO_PER_USD
    cap.save()
    use(project, DOLLAR * 7)

    assert true_up_of(close(project)) == []


def test_late_usage_draws_what_was_billed_as_unused_and_is_room_again(project, contract):
    use(project, DOLLAR * 2)
    october = close(project)
    assert true_up_of(october) == [(8_00, "owed")]
    use(project, DOLLAR, OCTOBER + timedelta(hours=1), now=DUE + timedelta(days=1))
    use(project, DOLLAR, NOVEMBER.start + timedelta(days=5))
    assert cap_of(project).remaining_nano == NANO_PER_USD

    november = close(project, NOVEMBER.end + timedelta(days=1))

    assert true_up_of(november) == [(-1_00, "set_off")]
    assert (november.total_cents, november.credit_cents, november.owed_cents) == (1_00, 1_00, 0)
    assert cap_of(project).remaining_nano == 2 * NANO_PER_USD
    assert balances(project, starter(project), REVENUE) == [2_00, 7_00]


def test_a_true_up_does_not_wait_for_corrections_that_outweigh_what_is_charged(project, contract):
    used = use(project, DOLLAR * 2, SEPTEMBER)
    close_months_of(organization=project.organization, now=SEPTEMBER + timedelta(days=31))
    take_back(used, SEPTEMBER + timedelta(days=32))

    invoice = close(project)
    use(project, DOLLAR * 3, NOVEMBER.start)
    november = close(project, NOVEMBER.end + timedelta(days=1))

    assert (true_up_of(invoice), invoice.total_cents) == ([(8_00, "owed")], 8_00)
    assert (true_up_of(november), november.total_cents) == ([(2_00, "owed")], 3_00)


def test_a_void_invoice_and_a_credit_note_take_it_back(project, contract):
    use(project, DOLLAR)
    void_invoice(invoice=close(project), now=DUE)
    again = close(project, DUE + timedelta(hours=1))
    before = cap_of(project).remaining_nano

    make_issued_note(again, position=2, now=DUE)

    assert (true_up_of(again), again.owed_cents) == ([(9_00, "owed")], 9_00)
    assert balance_of(project.organization_id, RECEIVABLE) == 0
    assert cap_of(project).remaining_nano == before
    # It is not billed again: people decided so.
    assert close_months_of(organization=project.organization, now=NOVEMBER.end + timedelta(days=2)) == []


def test_a_commitment_is_burned_down_by_what_is_billed_and_what_is_not_yet(project, contract):
    use(project, DOLLAR, AUGUST)
    use(project, DOLLAR * 2, SEPTEMBER)
    close_months_of(organization=project.organization, now=SEPTEMBER + timedelta(days=31))
    use(project, DOLLAR // 2)

    [one] = burn_downs(project.organization, OCTOBER + timedelta(hours=1))

    assert (one.committed, one.drawn, one.left, one.thousandths, one.is_over) == (
        "$10.00",
        "$2.50",
        "$7.50",
        250,
        False,
    )
    assert burn_downs(project.organization, AUGUST) == []


@pytest.fixture
def verified(tmp_path, capsys) -> Callable[[Records], tuple[int, str]]:
    def run(records: Records) -> tuple[int, str]:
        export = tmp_path / "invoice.jsonl"
        export.write_text("".join(json.dumps(record) + "\n" for record in records))
        code = main([str(export)])
        return code, capsys.readouterr().out

    return run


def test_an_export_with_true_ups_comes_out_and_what_is_changed_is_named(project, contract, verified):
    use(project, DOLLAR * 2)
    october = close(project)
    use(project, DOLLAR, OCTOBER + timedelta(hours=1), now=DUE + timedelta(days=1))
    use(project, DOLLAR, NOVEMBER.start + timedelta(days=5))
    november = close(project, NOVEMBER.end + timedelta(days=1))
    whole = json.dumps(records_of(october))

    for invoice in (october, november):
        code, said = verified(records_of(invoice))
        assert code == 0, said
    for change, named in (
        (lambda all_: changed(of(all_, "line", 1), exact="7.00"), "Line 2 (not used of ctr_"),
        (lambda all_: changed(of(all_, "invoice")["commitments"][0], amount="9.00"), "Line 2 (not used of ctr_"),
        (lambda all_: changed(of(all_, "invoice")["commitments"][0], drawn="1.00"), "Line 2 (not used of ctr_"),
        (lambda all_: changed(of(all_, "invoice"), commitments=[]), "knows no commitment"),
        (lambda all_: changed(of(all_, "line", 1), parts=[]), "Line 2 (not used of ctr_"),
        (lambda all_: changed(of(all_, "line", 1), quantity=1), "has a quantity"),
    ):
        records = json.loads(whole)
        change(records)
        code, said = verified(records)
        assert code == 1, named
        assert named in said, said


NEXT_YEAR = datetime(2027, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("commitment", "words"),
    [
        (AgreedCommitment(0, NEXT_YEAR, datetime(2027, 3, 1, tzinfo=UTC)), "more than nothing"),
        (AgreedCommitment(1, NEXT_YEAR + timedelta(hours=1), datetime(2027, 3, 1, tzinfo=UTC)), "whole months"),
        (AgreedCommitment(1, NEXT_YEAR, NEXT_YEAR), "after it begins"),
        (AgreedCommitment(1, datetime(2026, 12, 1, tzinfo=UTC), NEXT_YEAR), "lies within"),
        (AgreedCommitment(1, NEXT_YEAR, datetime(2028, 2, 1, tzinfo=UTC)), "lies within"),
    ],
)
def test_a_commitment_that_contradicts_itself_is_not_drafted(project, commitment, words):
    terms = ContractTerms("Frame", 0, NEXT_YEAR, datetime(2028, 1, 1, tzinfo=UTC), commitment=commitment)

    with pytest.raises(UnableToDraftContract, match=words):
        draft_contract(organization=project.organization, terms=terms, by=make_staff(StaffGroup.FINANCE), now=OCTOBER)

    assert not Contract.objects.exists()


def test_an_organization_has_one_commitment_at_a_time(project):
    sales, finance = make_staff(StaffGroup.FINANCE), make_staff(StaffGroup.FINANCE)
    drafts = [
        draft_contract(
            organization=project.organization,
            terms=ContractTerms(
                "Frame",
                0,
                NEXT_YEAR + timedelta(days=number),
                commitment=AgreedCommitment(
                    100, datetime(2027, 2 + number, 1, tzinfo=UTC), datetime(2027, 4, 1, tzinfo=UTC)
                ),
            ),
            by=sales,
            now=OCTOBER,
        )
        for number in range(2)
    ]
    for draft in drafts:
        approve_contract(contract=draft, by=finance, now=OCTOBER)
    publish_contract(contract=drafts[0], by=finance, now=OCTOBER)

    with pytest.raises(UnableToChangeContract, match="Version 1 has a commitment"):
        publish_contract(contract=drafts[1], by=finance, now=OCTOBER)
    # So does the database.
    with pytest.raises(IntegrityError, match="one_commitment_at_a_time"), transaction.atomic():
        make_contract(
            project.organization,
            active_from=NEXT_YEAR - timedelta(days=2),
            active_to=NEXT_YEAR - timedelta(days=1),
            commitment=AgreedCommitment(1, datetime(2027, 3, 1, tzinfo=UTC), datetime(2027, 5, 1, tzinfo=UTC)),
        )


def test_staff_draft_a_commitment_and_see_what_is_left_and_so_does_the_customer(project, client):
    finance = browser_of(make_staff(StaffGroup.FINANCE))
    fields = {
        "organization": project.organization.slug,
        "name": "Frame agreement",
        "discount": "0",
        "active_from": "2027-01-01 00:00",
        "active_to": "",
        "prices": "",
        "committed": "1200.50",
        "committed_from": "2027-01-01 00:00",
        "committed_until": "",
    }

    refused = finance.post("/admin/billing/contract/", fields)
    drafted = finance.post("/admin/billing/contract/", fields | {"committed_until": "2028-01-01 00:00"})
    seen = finance.get(drafted["Location"]).content.decode()
    commitment = AgreedCommitment(1_00, SEPTEMBER, NOVEMBER.start)
    make_contract(project.organization, active_from=AUGUST, active_to=SEPTEMBER, commitment=commitment)
    use(project, DOLLAR // 4, SEPTEMBER)
    client.force_login(make_membership(project.organization, make_user(), Role.OWNER).user)
    page = client.get(f"/o/{project.organization.slug}/credit/").content.decode()

    assert (refused.status_code, drafted.status_code) == (422, 302)
    assert "A commitment needs an amount" in refused.content.decode()
    assert "$1,200.50, 2027-01-01 to 2028-01-01 UTC" in seen
    for text in ("Committed to: Frame agreement", "$0.25 of $1.00", "Exactly $0.25 used from 2026-09-01"):
        assert text in page, text
