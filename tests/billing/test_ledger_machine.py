"""Any sequence of posting, repeating, contradicting and reversing keeps the laws of docs/algorithms/ledger.md.

50 runs here, the full count in `make prove`.
"""

import os
from collections import Counter
from dataclasses import replace
from types import ModuleType
from typing import ClassVar

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from accounts.models import Organization
from billing.models import AccountKind, LedgerAccount, LedgerEntry, Route
from billing.models.ledger import CREDIT, GROWS_BY_CREDIT
from billing.selectors import prove_ledger, statement
from billing.services import ledger
from tests.factories.accounts import make_organization
from tests.factories.billing import NOW, make_grant

RUNS, STEPS = (1000, 50) if os.environ.get("PROVE") else (50, 20)
Code = LedgerEntry.Code
AMOUNTS = st.integers(1, 10**12)
CASH, RECEIVABLE, PROMOTIONS = (
    Route(kind) for kind in (AccountKind.CASH, AccountKind.RECEIVABLE, AccountKind.PROMOTIONS)
)
REVENUES = [Route(AccountKind.REVENUE, product=product) for product in ("model", "instance")]
# Shares of what is left, so that the end of credit is often reached, met exactly and passed by one.
SHARES = st.sampled_from([-1, 0, 1, 10, 50, 99, 100, 150])


class Books(RuleBasedStateMachine):
    service: ModuleType = ledger
    # Two books, and in each a grant for every kind of credit.
    organizations: ClassVar[list[Organization]] = []
    grants: ClassVar[list[list[int]]] = []

    @initialize()
    def open(self):
        self.block = transaction.atomic()
        self.block.__enter__()
        # What each journal says, by book and source; what is reversed; what each account should have come to.
        self.posted = {}
        self.reversed = {}
        self.growth: Counter[tuple[int, Route]] = Counter()

    def teardown(self):
        if hasattr(self, "block"):
            transaction.set_rollback(True)
            self.block.__exit__(None, None, None)

    def credit(self, book, place):
        return Route(CREDIT[place], grant_id=self.grants[book][place])

    def given(self, book, place, amount_nano):
        kind = CREDIT[place]
        code, source = (Code.TOP_UP, CASH) if kind == AccountKind.PREPAID_CREDIT else (Code.AWARD, PROMOTIONS)
        return ledger.Line(code, source, self.credit(book, place), amount_nano)

    def try_to_post(self, book, lines):
        """Post lines for a new cause, and expect what the model says."""
        source = f"cause:{len(self.posted)}"
        journal = self.service.Journal(self.organizations[book].pk, source, NOW, tuple(lines))
        after = self.grown(book, lines)
        if any(after[book, route] < 0 for route in self.touched(lines) if route.kind in CREDIT):
            self.refused(self.service.Overdraft, lambda: self.service.post(journal, now=NOW))
            return
        entries = self.service.post(journal, now=NOW)
        assert [entry.amount_nano for entry in entries] == [line.amount_nano for line in lines]
        self.posted[book, source] = journal
        self.growth = after

    def grown(self, book, lines, sign=1):
        """What accounts have come to (credits less debits) once the lines are posted, or with -1 their opposite."""
        after = Counter(self.growth)
        for line in lines:
            after[book, line.credit] += sign * line.amount_nano
            after[book, line.debit] -= sign * line.amount_nano
        return after

    @staticmethod
    def touched(lines):
        return {route for line in lines for route in (line.debit, line.credit)}

    def refused(self, error, act):
        before = self.facts()
        try:
            act()
        except error:
            assert self.facts() == before
            return
        raise AssertionError(f"{error.__name__} was not raised")

    @rule(book=st.integers(0, 1), place=st.integers(0, 2), amount_nano=AMOUNTS)
    def give(self, book, place, amount_nano):
        self.try_to_post(book, [self.given(book, place, amount_nano)])

    @rule(
        book=st.integers(0, 1),
        parts=st.lists(st.tuples(st.integers(0, 2), SHARES, st.sampled_from(REVENUES)), min_size=1, max_size=4),
        owed=st.integers(0, 10**12),
    )
    def use(self, book, parts, owed):
        lines = []
        for place, share, revenue in parts:
            route = self.credit(book, place)
            left = self.growth[book, route]
            amount_nano = left + 1 if share == -1 else left * share // 100
            if amount_nano > 0:
                lines.append(ledger.Line(Code.USAGE, route, revenue, amount_nano))
        if owed:
            lines.append(ledger.Line(Code.USAGE, RECEIVABLE, REVENUES[0], owed))
        if lines:
            self.try_to_post(book, lines)

    @rule(book=st.integers(0, 1), place=st.integers(0, 2), amount_nano=AMOUNTS, more=st.integers(-1, 1))
    def give_and_use_at_once(self, book, place, amount_nano, more):
        route = self.credit(book, place)
        used = self.growth[book, route] + amount_nano + more
        lines = [ledger.Line(Code.USAGE, route, REVENUES[0], used), self.given(book, place, amount_nano)]
        self.try_to_post(book, lines if used > 0 else lines[1:])

    @rule(book=st.integers(0, 1), amount_nano=AMOUNTS, times=st.integers(1, 3))
    def pay(self, book, amount_nano, times):
        self.try_to_post(book, [ledger.Line(Code.PAYMENT, CASH, RECEIVABLE, amount_nano)] * times)

    @precondition(lambda self: self.posted)
    @rule(data=st.data())
    def repeat(self, data):
        before = self.facts()
        journal = data.draw(st.sampled_from(list(self.posted.values())))
        entries = self.service.post(journal, now=NOW)
        assert {entry.source for entry in entries} == {journal.source}
        assert self.facts() == before

    @precondition(lambda self: self.posted)
    @rule(data=st.data())
    def contradict(self, data):
        journal = data.draw(st.sampled_from(list(self.posted.values())))
        first = journal.lines[0]
        other = data.draw(
            st.sampled_from(
                [
                    (replace(first, amount_nano=first.amount_nano + 1), *journal.lines[1:]),
                    (*journal.lines, ledger.Line(Code.PAYMENT, CASH, RECEIVABLE, 1)),
                    (ledger.Line(Code.PAYMENT, CASH, RECEIVABLE, first.amount_nano + 1),),
                ]
            )
        )
        self.refused(self.service.JournalConflict, lambda: self.service.post(replace(journal, lines=other), now=NOW))

    def undo(self, book, source):
        return self.service.reverse(
            organization_id=self.organizations[book].pk, source=source, effective_at=NOW, now=NOW
        )

    @precondition(lambda self: self.posted)
    @rule(data=st.data())
    def reverse(self, data):
        book, source = data.draw(st.sampled_from(list(self.posted)))
        lines = self.posted[book, source].lines
        if (book, source) in self.reversed:
            return
        after = self.grown(book, lines, -1)
        if any(after[book, route] < 0 for route in self.touched(lines) if route.kind in CREDIT):
            self.refused(self.service.Overdraft, lambda: self.undo(book, source))
            return
        entries = self.undo(book, source)
        first = LedgerEntry.objects.of_source(self.organizations[book].pk, source)
        assert [entry.reverses_id for entry in entries] == list(first.values_list("pk", flat=True))
        self.reversed[book, source] = entries
        self.growth = after

    @precondition(lambda self: self.reversed)
    @rule(data=st.data())
    def reverse_again(self, data):
        book, source = data.draw(st.sampled_from(list(self.reversed)))
        before = self.facts()
        assert self.undo(book, source) == self.reversed[book, source]
        assert self.facts() == before

    @precondition(lambda self: self.reversed)
    @rule(data=st.data())
    def reverse_a_reversal(self, data):
        (book, _), entries = data.draw(st.sampled_from(list(self.reversed.items())))
        self.refused(self.service.UnableToReverse, lambda: self.undo(book, entries[0].source))

    @precondition(lambda self: self.posted)
    @rule(data=st.data(), limit=st.integers(3, 20))
    def read_a_statement(self, data, limit):
        account = data.draw(st.sampled_from(list(LedgerAccount.objects.order_by("pk"))))
        balance, before, count = account.balance_nano, None, 0
        while True:
            page = statement(account, before=before, limit=limit)
            for line in page.lines:
                assert line.balance_nano == balance
                balance -= line.change_nano
                count += 1
            before = page.before
            if before is None:
                break
        assert balance == 0
        assert count == LedgerEntry.objects.filter(debit=account).count() + (
            LedgerEntry.objects.filter(credit=account).count()
        )

    def facts(self):
        accounts = LedgerAccount.objects.order_by("pk").values_list("pk", "debits_nano", "credits_nano")
        return list(accounts), list(LedgerEntry.objects.order_by("pk").values_list("pk", "amount_nano", "reverses"))

    @invariant()
    def laws(self):
        if not hasattr(self, "growth"):
            return
        proof = prove_ledger()
        assert proof.is_whole, proof
        journals = [*self.posted.values(), *(self.posted[key] for key in self.reversed)]
        assert proof.entry_count == sum(len(journal.lines) for journal in journals)
        books = {organization.pk: book for book, organization in enumerate(self.organizations)}
        found = {}
        sides: Counter[int] = Counter()
        for account in LedgerAccount.objects.all():
            book, kind = books[account.organization_id or 0], AccountKind(account.kind)
            sides[book] += account.debits_nano - account.credits_nano
            found[book, Route(kind, account.product, account.grant_id)] = account.balance_nano * (
                1 if kind in GROWS_BY_CREDIT else -1
            )
            assert kind not in CREDIT or account.balance_nano >= 0
        assert not any(sides.values())
        assert {key: growth for key, growth in found.items() if growth} == {
            key: growth for key, growth in self.growth.items() if growth
        }


def run(machine: type[Books], runs: int, steps: int, *phases: Phase) -> None:
    machine.organizations = [make_organization() for _ in range(2)]
    machine.grants = [[make_grant(one).pk for _ in CREDIT] for one in machine.organizations]
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=runs,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
            phases=phases or tuple(Phase),
        ),
    )


@pytest.mark.django_db
def test_any_sequence_of_journals_keeps_the_laws():
    run(Books, RUNS, STEPS)
