"""The ledger under writers at once, with real commits and the production role.

Few turns here, the full count in `make prove`.
"""

import os
from datetime import timedelta
from random import Random

from django.db import transaction

from billing.models import AccountKind, LedgerAccount, LedgerEntry, Route
from billing.selectors import balance_of, prove_ledger
from billing.services.credits import lock_cap
from billing.services.ledger import Journal, JournalConflict, Line, Overdraft, post, reverse
from portal.lib.tenancy import set_organization
from tests.factories.accounts import make_organization
from tests.factories.billing import NOW, make_grant
from tests.own_database import SUPERUSER, OwnDatabase

WRITERS = 8
TURNS = 200 if os.environ.get("PROVE") else 12
GIVEN = 10_000
Code = LedgerEntry.Code
RECEIVABLE, REVENUE = Route(AccountKind.RECEIVABLE), Route(AccountKind.REVENUE, product="model")


def lines_of(own_database: OwnDatabase) -> int:
    with own_database.in_use(SUPERUSER):
        proof = prove_ledger()
        assert proof.is_whole
        return proof.entry_count


def test_writers_at_once_use_credit_up_and_never_more(own_database: OwnDatabase):
    with own_database.in_use(SUPERUSER):
        organization = make_organization()
        grants = [make_grant(organization, GIVEN).pk for _ in range(2)]
    routes = [Route(AccountKind.PREPAID_CREDIT, grant_id=grant) for grant in grants]

    def work(number: int) -> int:
        random, posted = Random(number), 0
        for attempt in range(TURNS):
            # In either order: the service locks in one.
            lines = [
                Line(Code.USAGE, route, REVENUE, random.randint(GIVEN // 50, GIVEN // 25))
                for route in random.sample(routes, 2)
            ]
            with transaction.atomic():
                set_organization(organization.pk)
                try:
                    post(Journal(organization.pk, f"use:{number}:{attempt}", NOW, tuple(lines)), now=NOW)
                except Overdraft:
                    continue
            posted += sum(line.amount_nano for line in lines)
        return posted

    with own_database.in_use():
        with transaction.atomic():
            set_organization(organization.pk)
            for route in routes:
                line = Line(Code.TOP_UP, Route(AccountKind.CASH), route, GIVEN)
                post(Journal(organization.pk, f"top-up:{route.grant_id}", NOW, (line,)), now=NOW)
        done = own_database.in_threads(WRITERS, work)

    posted = [amount for amount in done if isinstance(amount, int)]
    assert len(posted) == WRITERS, done
    lines_of(own_database)
    with own_database.in_use(SUPERUSER):
        left = [balance_of(organization.pk, route) for route in routes]
        assert balance_of(organization.pk, REVENUE) == sum(posted) == 2 * GIVEN - sum(left)
        # Every refusal was right: one of the two has less than the most that was asked of it.
        assert 0 <= min(left) < GIVEN // 25


def test_a_cause_that_many_post_at_once_is_posted_once(own_database: OwnDatabase):
    with own_database.in_use(SUPERUSER):
        organization = make_organization()

    def work(number: int) -> str:
        with transaction.atomic():
            set_organization(organization.pk)
            line = Line(Code.USAGE, RECEIVABLE, REVENUE, 7)
            return post(Journal(organization.pk, "invoice:1", NOW, (line,)), now=NOW)[0].name

    with own_database.in_use():
        # The accounts are not open yet either.
        assert len(set(own_database.in_threads(WRITERS, work))) == 1

    assert lines_of(own_database) == 1


def test_one_cause_with_many_contents_is_posted_once_and_refused_to_the_others(own_database: OwnDatabase):
    with own_database.in_use(SUPERUSER):
        organization = make_organization()

    def work(number: int) -> str:
        with transaction.atomic():
            set_organization(organization.pk)
            # Two groups that share no account, so that nothing but the source makes one wait for the other.
            grant = make_grant(organization, 100)
            route = Route(AccountKind.PREPAID_CREDIT, grant_id=grant.pk)
            kinds = (AccountKind.CASH, AccountKind.CASH_IN_TRANSIT)
            lines = [Line(Code.TOP_UP, Route(kinds[number % 2]), route, 1 + number) for _ in range(1 + number % 3)]
            return post(Journal(organization.pk, "top-up:1", NOW, tuple(lines)), now=NOW)[0].name

    with own_database.in_use():
        done = own_database.in_threads(WRITERS, work)

    assert sum(isinstance(one, str) for one in done) == 1
    assert sum(isinstance(one, JournalConflict) for one in done) == WRITERS - 1, done
    assert lines_of(own_database) in (1, 2, 3)


def test_journals_are_posted_repeated_and_reversed_at_once_and_reversed_once(own_database: OwnDatabase):
    with own_database.in_use(SUPERUSER):
        organization = make_organization()

    def work(number: int) -> int:
        random, seen = Random(number), set()
        for _ in range(TURNS):
            cause = random.randint(1, 12)
            line = Line(Code.USAGE, RECEIVABLE, REVENUE, cause)
            with transaction.atomic():
                set_organization(organization.pk)
                entries = post(Journal(organization.pk, f"invoice:{cause}", NOW, (line,)), now=NOW)
                if random.random() < 0.3:
                    later = NOW + timedelta(seconds=number)
                    entries += reverse(
                        organization_id=organization.pk, source=f"invoice:{cause}", effective_at=later, now=later
                    )
            seen |= {entry.pk for entry in entries}
        return len(seen)

    with own_database.in_use():
        done = own_database.in_threads(WRITERS, work)

    assert all(isinstance(one, int) for one in done), done
    lines_of(own_database)
    with own_database.in_use(SUPERUSER):
        posted = LedgerEntry.objects.filter(reverses=None)
        left = posted.exclude(pk__in=LedgerEntry.objects.exclude(reverses=None).values("reverses"))
        assert posted.count() == 12
        assert balance_of(organization.pk, RECEIVABLE) == sum(left.values_list("amount_nano", flat=True))


def test_an_account_that_many_open_at_once_awards_its_grant_once(own_database: OwnDatabase):
    with own_database.in_use(SUPERUSER):
        organization = make_organization()

    def work(number: int) -> int:
        with transaction.atomic():
            set_organization(organization.pk)
            return lock_cap(organization_id=organization.pk, now=NOW).pk

    with own_database.in_use():
        assert len(set(own_database.in_threads(WRITERS, work))) == 1

    assert lines_of(own_database) == 1
    with own_database.in_use(SUPERUSER):
        assert LedgerAccount.objects.count() == 2
