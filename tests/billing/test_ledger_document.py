"""docs/algorithms/ledger.md is true: its chart of accounts, what a code may post, and the worked month."""

from itertools import groupby

import pytest

from billing.models import AccountKind, LedgerAccount, LedgerEntry, Route
from billing.models.ledger import CREDIT, CUSTOMER
from billing.selectors import balance_of, prove_ledger
from billing.services.ledger import PAIRS, Journal, Line, post
from tests.billing.test_worked_numbers import number, table
from tests.factories.accounts import make_organization
from tests.factories.billing import NOW, make_grant

MONTH = table("ledger.md", "journal")


def test_chart_of_accounts():
    assert {
        AccountKind(row["account"]): (row["whose"], row["grows by"], row["overdraft"])
        for row in table("ledger.md", "account")
    } == {
        kind: (
            "customer" if kind in CUSTOMER else "house",
            "credit" if LedgerAccount(kind=kind).grows_by_credit else "debit",
            "never" if kind in CREDIT else "may",
        )
        for kind in AccountKind
    }


def test_pairs_of_every_code():
    documented = {
        LedgerEntry.Code(row["code"]): tuple({AccountKind(one) for one in row[side].split(", ")} for side in SIDES)
        for row in table("ledger.md", "code")
    }

    assert documented == {code: (set(debits), set(credits_)) for code, (debits, credits_) in PAIRS.items()}
    assert set(documented) == set(LedgerEntry.Code)


SIDES = ("debit", "credit")


@pytest.mark.django_db
def test_worked_month():
    organization = make_organization()
    grants = {kind: make_grant(organization).pk for kind in CREDIT}

    def route(name: str) -> Route:
        kind = AccountKind(name)
        return Route(kind, "model" if kind == AccountKind.REVENUE else "", grants.get(kind))

    for cause, rows in groupby(MONTH, key=lambda row: row["journal"]):
        steps = list(rows)
        lines = [
            Line(LedgerEntry.Code(row["code"]), route(row["debit"]), route(row["credit"]), number(row["amount"]))
            for row in steps
        ]
        post(Journal(organization.pk, cause, NOW, tuple(lines)), now=NOW)

        balances = {name: number(steps[-1][name]) for name in list(MONTH[0])[5:]}
        assert {name: balance_of(organization.pk, route(name)) for name in balances} == balances, cause
    assert prove_ledger().is_whole
