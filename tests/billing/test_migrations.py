"""Migrations that move rows, run on rows: back to before, and forward again as the role that migrates."""

import os
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connections
from django.db.migrations.executor import MigrationExecutor

from billing.models import AccountKind, LedgerAccount, LedgerEntry, Route
from billing.selectors import balance_of, prove_ledger, trial_balance
from billing.services.credits import award, lock_cap
from tests.factories.accounts import make_organization
from tests.factories.billing import NOW, make_grant
from tests.own_database import SUPERUSER, OwnDatabase

# What old rows were made of changes no more: back and forth through every migration since is for the full proof.
pytestmark = pytest.mark.skipif("PROVE" not in os.environ, reason="runs every migration since: in the full proof")
MONDAY = datetime(2026, 11, 16, tzinfo=UTC)


def migrate(*targets: str) -> None:
    owner = connections["owner"]
    executor = MigrationExecutor(owner)
    executor.migrate([("billing", target) for target in targets])


def test_weeks_are_made_of_the_days_that_are_there(own_database: OwnDatabase):
    with own_database.in_use(SUPERUSER):
        organization = make_organization()
        migrate("0007_forget_usage")
        with own_database.connect(SUPERUSER) as connection:
            for day in range(-1, 8):
                connection.execute(
                    "INSERT INTO billing_spendbycause (organization_id, cause, day, cause_id, amount_nano)"
                    " VALUES (%s, 'project', %s, '1', %s)",
                    (organization.pk, MONDAY + timedelta(day), 10**day if day >= 0 else 5),
                )

        migrate("0008_spend_by_week", "0009_sum_of_nano_dollars")

        with own_database.connect(SUPERUSER) as connection:
            rows = connection.execute(
                "SELECT span_days, day, amount_nano FROM billing_spendbycause WHERE span_days = 7 ORDER BY day"
            ).fetchall()
            [(days, forced)] = connection.execute(
                "SELECT (SELECT count(*) FROM billing_spendbycause WHERE span_days = 1), relforcerowsecurity"
                " FROM pg_class WHERE relname = 'billing_spendbycause'"
            ).fetchall()
    week = timedelta(7)
    assert rows == [(7, MONDAY - week, 5), (7, MONDAY, 1_111_111), (7, MONDAY + week, 10_000_000)]
    assert (days, forced) == (9, True)


def test_grants_from_before_the_ledger_are_awarded_in_it_once(own_database: OwnDatabase):
    with own_database.in_use(SUPERUSER):
        before, several, after = make_organization(), make_organization(), make_organization()
        grants = [make_grant(before, 5), make_grant(several, 7), make_grant(several, 11)]
        posted = lock_cap(organization_id=after.pk, now=NOW)
        migrate("0012_ledger")

        migrate("0013_award_grants")
        entries = list(LedgerEntry.objects.order_by("pk").values_list())
        # Everything that it would have to do again is there.
        migrate("0012_ledger")
        migrate("0013_award_grants")

        assert list(LedgerEntry.objects.order_by("pk").values_list()) == entries
        assert len(entries) == 4
        assert prove_ledger().is_whole
        assert trial_balance().debits_nano == 5 + 7 + 11 + posted.limit_nano
        kind = AccountKind.PROMOTIONAL_CREDIT
        for grant in grants:
            assert balance_of(grant.organization_id, Route(kind, grant_id=grant.pk)) == grant.amount_nano
            # What the service would have posted: by its source it is the same journal.
            award(grant, NOW)
        assert LedgerEntry.objects.count() == 4
        assert [account.public_id for account in LedgerAccount.objects.all() if len(account.public_id) != 25] == []
        with own_database.connect(SUPERUSER) as connection:
            forced = connection.execute(
                "SELECT DISTINCT relforcerowsecurity FROM pg_class"
                " WHERE relname IN ('billing_creditgrant', 'billing_ledgeraccount', 'billing_ledgerentry')"
            ).fetchall()
    assert forced == [(True,)]
