"""Months that are closed, and what becomes of their invoices: rules of test_whole_machine.py."""

from collections import Counter
from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import (
    precondition,
    rule,
)

from billing.models import (
    AccountKind,
    CreditNote,
    Invoice,
    InvoicedBucket,
    InvoiceLine,
)
from billing.services.credit_notes import issue_credit_note, propose_credit_note
from billing.services.invoice_payments import UnableToCollect, start_invoice_payment
from billing.services.invoice_settling import settle_invoice
from billing.services.invoices import void_invoice
from billing.services.month_closing import GRACE, close_months_of
from portal.lib.money import NANO_PER_CENT, divide_half_even
from portal.lib.periods import month_of
from tests.billing.whole_payments import Paying
from tests.billing.whole_reckoning import Bill, Where
from tests.billing.whole_scene import HEARD, PAUSES, PICK, RATES, UNFINISHED, USES


class Invoicing(Paying):
    # --- Invoices -----------------------------------------------------------------------------------

    @rule(uses=st.lists(USES, max_size=2), late=st.sampled_from([-1, 0, 1, 86_400, 20 * 86_400]), voids=st.booleans())
    def end_month(self, uses, late, voids):
        """Use until a month ends, close it a grace after that, or a second before; perhaps again; and come late."""
        self.finish_month(uses, late, voids=voids)

    def finish_month(self, uses, late, *, voids):
        month = month_of(self.now)
        self.wait(("month", -1))
        self.record([self.used(*use) for use in uses] or [self.used(0, 0, 60, 60)], None)
        self.now = month.end + GRACE + timedelta(seconds=late)
        self.end_credit()
        self.close()
        if voids:
            self.void()
            self.close()
        self.record([self.used(1, 1, 3, 90_000 + max(late, 0))], None)
        self.lines_are_what_was_billed()

    @precondition(lambda self: self.scene.may_owe)
    @rule(pick=PICK, heard=HEARD, by_card=st.booleans(), pause=PAUSES)
    def pay(self, pick, heard, by_card, pause):
        """Pay an open invoice by card, or by what finance found in the bank; without one, a month ends first."""
        self.wait(pause)
        if not any(bill.status == "open" for bill in self.money.bills):
            self.finish_month([(0, 0, 100, 60)], 0, voids=False)
        due = [bill for bill in self.money.bills if bill.status == "open"]
        if not due:
            return
        bill = due[pick % len(due)]
        row = Invoice.objects.get(pk=bill.pk)
        if not by_card:
            settle_invoice(invoice=row, paid_into=AccountKind.CASH, now=self.now)
            self.money.move("cash", "receivable", bill.due)
            self.settle(bill)
            return
        under_way = any(paid.invoice == bill.pk and paid.state in UNFINISHED for paid in self.paid)
        payment = self.either(
            UnableToCollect,
            lambda: start_invoice_payment(invoice=row, user=self.scene.user, now=self.now),
            may=under_way or bill.due >= 50,
        )
        if payment is not None and not under_way:
            self.hear(self.page_of(payment, bill.due, "invoice", bill.pk), heard)

    def lines_are_what_was_billed(self):
        """Lines and steps of live invoices, from scratch, and their numbers without a gap: dear, so once a month."""
        live = Invoice.objects.owned_by(self.organization).issued().live()
        lines = list(InvoiceLine.objects.filter(invoice__in=live).values_list("amount_nano", "quantity"))
        billed: Counter[Where] = Counter()
        steps = InvoicedBucket.objects.filter(invoice__in=live)
        for hour, project, sku, before, after in steps.values_list(
            "hour", "project_id", "sku", "quantity_before", "quantity_after"
        ):
            billed[hour, project, sku] += after - before
        assert billed == self.money.billed
        assert sum(quantity for _, quantity in lines) == billed.total()
        assert sum(amount for amount, _ in lines) == sum(
            RATES[where[2]].of(quantity) for where, quantity in billed.items()
        )
        numbers = Invoice.objects.owned_by(self.organization).issued().values_list("number", flat=True)
        assert sorted(int(str(number)[3:]) for number in numbers) == list(range(1, len(self.money.bills) + 1))

    @rule()
    def close(self):
        end = month_of(self.now - GRACE).start
        steps = self.money.steps(end)
        issued = close_months_of(organization=self.organization, now=self.now)
        if not steps:
            assert issued == []
            return
        start = month_of(min(hour for hour, _, _ in steps)).start
        start = max(start, self.money.billed_until or start)
        found = iter(issued)
        while start < end:
            month = month_of(start)
            steps = self.money.steps(month.end)
            expected = self.money.shares(steps, month.start, self.caps.written_off)
            if expected is not None:
                self.note_invoice(next(found), steps, expected)
            start = month.end
        assert next(found, None) is None

    def note_invoice(self, invoice, steps, expected):
        exact = sum(self.money.amount(where, step) for where, step in steps.items())
        assert invoice.exact_nano == exact
        assert invoice.total_cents == divide_half_even(exact, NANO_PER_CENT)
        assert invoice.overrun_nano == self.money.overrun(self.caps.written_off)
        burned: Counter[str] = Counter()
        total = 0
        for cents, parts in InvoiceLine.objects.of_invoice(invoice).values_list("amount_cents", "parts"):
            total += cents
            assert cents == sum(part["cents"] for part in parts)
            for part in parts:
                burned[part["payer"] if part["payer"] != "credit" else part["grant"]] += part["cents"]
        assert total == invoice.total_cents
        assert burned.pop("set_off", 0) == 0
        house, owed = burned.pop("house", 0), burned.pop("owed", 0)
        assert (house, owed, sum(burned.values())) == (invoice.house_cents, invoice.owed_cents, invoice.credit_cents)
        assert all(0 < cents <= self.money.grants[name].cents for name, cents in burned.items())
        assert invoice.status == ("open" if invoice.due_cents else "paid")
        assert owed == 0 or self.money.may_owe
        bill = Bill(
            invoice.pk, invoice.period_end, steps, burned, total, owed, invoice.tax_cents, house, invoice.overrun_nano,
            invoice.status,
        )  # fmt: skip
        assert not list(self.money.wrong_burns(bill, expected))
        self.money.issue(bill)

    @property
    def newest(self) -> Bill | None:
        return max((bill for bill in self.money.bills if bill.is_live), key=lambda bill: bill.end, default=None)

    @rule()
    def void(self):
        bill = self.newest
        if bill is not None and bill.status == "open" and not bill.noted:
            void_invoice(invoice=Invoice.objects.get(pk=bill.pk), now=self.now)
            self.money.void(bill)

    @precondition(lambda self: self.money.bills)
    @rule(pick=PICK, pause=PAUSES)
    def note(self, pick, pause):
        """Take a line of an invoice back."""
        self.wait(pause)
        bill = self.money.bills[pick % len(self.money.bills)]
        lines = InvoiceLine.objects.filter(invoice_id=bill.pk).order_by("position")
        may = [
            line
            for line in lines
            if line.position not in bill.noted
            and line.amount_cents > 0
            and all(part["payer"] != "set_off" for part in line.parts)
        ]
        if not may or not bill.is_live:
            return
        line = may[pick % len(may)]
        invoice = Invoice.objects.get(pk=bill.pk)
        note = issue_credit_note(
            note=propose_credit_note(
                invoice=invoice,
                positions=[line.position],
                reason="Outage",
                by=self.scene.proposer,
                now=self.now,
            ),
            by=self.scene.approver,
            now=self.now,
        )
        self.take_line_back(bill, line, note)
        self.told.append(lambda: issue_credit_note(note=note, by=self.scene.approver, now=self.now))

    def take_line_back(self, bill: Bill, line: InvoiceLine, note: CreditNote):
        of_credit = 0
        for part in line.parts:
            if part["payer"] == "credit":
                of_credit += part["cents"]
                self.money.grants[part["grant"]].burned -= part["cents"] * NANO_PER_CENT
        owed = sum(part["cents"] for part in line.parts if part["payer"] == "owed")
        assert (note.amount_cents, note.owed_cents) == (of_credit + owed, owed)
        bill.noted.add(line.position)
        bill.noted_owed += owed
        bill.noted_tax += note.tax_cents
        assert bill.noted_tax <= bill.tax
        self.money.move("revenue", "credit", of_credit)
        self.money.move("revenue", "receivable", owed)
        self.money.move("tax", "receivable", note.tax_cents)
        self.caps.add_credit((of_credit + (owed if bill.status == "open" else 0)) * NANO_PER_CENT)
