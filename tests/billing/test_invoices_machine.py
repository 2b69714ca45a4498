"""Any sequence of usage, late events, corrections, closings, payments and ends of credit keeps the laws of
docs/algorithms/invoicing.md. Few runs here, the full count in `make prove`.
"""

import os
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from django.db import transaction
from django.db.models import Sum
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

from accounts.models import Project
from billing.invoicing import Terms
from billing.models import (
    AccountKind,
    CreditGrant,
    Invoice,
    InvoicedBucket,
    InvoiceLine,
    LedgerAccount,
    Route,
    SpendCap,
    UsageByHour,
    WriteOff,
)
from billing.models.ledger import CREDIT
from billing.rating import ProjectQuantities, tier_shares
from billing.selectors import balance_of, prove_ledger
from billing.selectors.focus import focus_of_invoice
from billing.selectors.unbilled import unbilled_usage
from billing.services import credit_expiry, invoice_settling, invoices, month_closing
from billing.services.credits import Award, award_credit
from billing.services.usage import UsageRecord
from catalog.models import Price
from catalog.selectors import UnitPrice
from catalog.services.prices import publish_price
from portal.lib.money import NANO_PER_CENT, NANO_PER_USD, divide_half_even, round_bucket
from portal.lib.periods import month_of
from portal.lib.tiers import NO_TIERS, Tier, TierMode, Tiers, make_tiers
from tests.billing.test_services_invoices import ON_TERMS, SKU, allow, take_back, use
from tests.factories.accounts import make_organization, make_project
from tests.factories.catalog import make_price, make_sku

RUNS, STEPS = (80, 30) if os.environ.get("PROVE") else (4, 15)
START = datetime(2028, 1, 25, tzinfo=UTC)  # before a leap day
# Nothing of it ends on a cent, and hours lie within the time in which usage may be late.
QUANTITIES = st.integers(1, 50) | st.integers(1, 400_000)
HOURS_AGO = st.integers(0, 30) | st.integers(0, 30 * 24)
# Project, quantity, hours ago.
# Bounds that a month passes, some while it is late.
TIERS = {mode: Tiers(mode, (Tier(9_000, 5 * NANO_PER_USD), Tier(250_000, 0))) for mode in TierMode} | {
    TierMode.FLAT: NO_TIERS
}
type Use = tuple[int, int, int]
USES = st.lists(st.tuples(st.integers(0, 1), QUANTITIES, HOURS_AGO), max_size=3)


class Months(RuleBasedStateMachine):
    projects: ClassVar[list[Project]] = []

    @initialize(on_terms=st.booleans())
    def open(self, on_terms: bool) -> None:
        self.block = transaction.atomic()
        self.block.__enter__()
        self.clock = START
        self.events: list[UsageRecord] = []
        self.awards = 0
        self.terms = ON_TERMS if on_terms else Terms()
        if on_terms:
            allow(self.projects[0], 100)

    def teardown(self) -> None:
        if hasattr(self, "block"):
            transaction.set_rollback(True)
            self.block.__exit__(None, None, None)

    @rule(uses=USES)
    def use(self, uses: list[Use]) -> None:
        for project, quantity, hours in uses:
            at = self.clock - timedelta(hours=hours)
            self.events.append(use(self.projects[project], quantity, at, now=self.clock))

    @precondition(lambda self: self.events)
    @rule(which=st.randoms(use_true_random=False))
    def take_back(self, which: Any) -> None:
        event = self.events.pop(which.randrange(len(self.events)))
        if event.occurred_at > self.clock - timedelta(days=35):
            take_back(event, self.clock)

    @rule(hours=st.integers(1, 24) | st.integers(1, 40 * 24))
    def pass_time(self, hours: int) -> None:
        self.clock += timedelta(hours=hours)
        self.expire()

    @rule(uses=USES, late=USES, hours=st.integers(24, 20 * 24), voids=st.booleans())
    def end_month(self, uses: list[Use], late: list[Use], hours: int, voids: bool) -> None:
        """Use in two projects until a month ends, and around its end again; close it, perhaps twice; and come late."""
        month = month_of(self.clock)
        for self.clock, some in ((month.end, uses), (month.end + timedelta(hours=hours), late)):
            self.expire()
            self.use([(0, 3_333, 700), (1, 4_447, 1), *some])
        self.close()
        if voids:
            self.void()
            self.close()
        # Into an hour that is billed.
        self.use([(1, 1_001, hours + 1)])

    @rule()
    def close(self) -> None:
        month_closing.close_months_of(organization=self.organization, now=self.clock, terms=self.terms)
        assert not month_closing.close_months_of(organization=self.organization, now=self.clock, terms=self.terms)
        for invoice in self.invoices.issued().live().newest_first()[:1]:
            billed = sum(Decimal(row.BilledCost) for row in focus_of_invoice(self.organization, invoice))
            assert billed * 100 == invoice.due_cents

    @rule(cents=st.integers(1, 300), days=st.none() | st.integers(1, 20), priority=st.sampled_from([10, 50]))
    def award(self, cents: int, days: int | None, priority: int) -> None:
        self.awards += 1
        ends = None if days is None else self.clock + timedelta(days=days)
        source = f"{self.organization.pk}:{self.awards}"
        given = Award(CreditGrant.Kind.RESEARCH, cents * NANO_PER_CENT, source, priority, ends)
        award_credit(organization=self.organization, given=given, now=self.clock)

    def expire(self) -> None:
        for grant in CreditGrant.objects.owned_by(self.organization).past(self.clock):
            credit_expiry.expire_grant(grant=grant, now=self.clock)

    @rule(into=st.sampled_from([AccountKind.CASH, AccountKind.CASH_IN_TRANSIT]))
    def pay(self, into: AccountKind) -> None:
        if invoice := self.invoices.filter(status="open").first():
            invoice_settling.settle_invoice(invoice=invoice, paid_into=into, now=self.clock)

    @rule()
    def void(self) -> None:
        newest = self.invoices.issued().live().newest_first().first()
        if newest is not None and newest.status == "open":
            invoices.void_invoice(invoice=newest, now=self.clock)

    @property
    def organization(self) -> Any:
        return self.projects[0].organization

    @property
    def invoices(self) -> Any:
        return Invoice.objects.owned_by(self.organization)

    @invariant()
    def laws(self) -> None:
        if not hasattr(self, "block"):
            return
        assert prove_ledger().is_whole
        # What is owed is what open invoices say; what we pay, nobody owes.
        owed = self.invoices.filter(status="open").aggregate(Sum("due_cents"))["due_cents__sum"] or 0
        assert balance_of(self.organization.pk, Route(AccountKind.RECEIVABLE)) == owed * NANO_PER_CENT
        self.all_usage_is_in_one_invoice_or_in_none()
        self.invoices_add_up()
        self.tiers_take_off_what_they_take_off_of_all_that_is_billed()
        self.room_is_what_grants_will_have_left()

    def all_usage_is_in_one_invoice_or_in_none(self) -> None:
        live = self.invoices.issued().live()
        lines = InvoiceLine.objects.filter(invoice__in=live)
        lines_nano = sum(line.amount_nano - line.tier_nano for line in lines)
        billed: dict[Any, int] = {}
        for step in InvoicedBucket.objects.filter(invoice__in=live).order_by("invoice__counted_below"):
            where = step.hour, step.project_id, step.sku
            assert billed.get(where, 0) == step.quantity_before
            billed[where] = step.quantity_after
        rated_nano = unbilled_nano = 0
        for bucket in UsageByHour.objects.owned_by(self.organization):
            before = billed.get((bucket.hour, bucket.project_id, bucket.sku), 0)
            rated_nano += bucket.amount_nano
            unbilled_nano += bucket.amount_nano - round_bucket(before, bucket.price_nano, bucket.unit_size)
        assert rated_nano == lines_nano + unbilled_nano

    def tiers_take_off_what_they_take_off_of_all_that_is_billed(self) -> None:
        lines = InvoiceLine.objects.filter(invoice__in=self.invoices.issued().live())
        for month in {line.month for line in lines}:
            taken_off: defaultdict[tuple[str, int | None], int] = defaultdict(int)
            for line in lines.filter(month=month):
                taken_off[line.price_id, line.project_id] += line.tier_nano
            assert {key: nano for key, nano in taken_off.items() if nano} == self.taken_off(month)

    def taken_off(self, month: datetime) -> dict[tuple[str, int], int]:
        """Return what tiers take off by price and project, from all that is billed of a month, in one computation."""
        live = self.invoices.issued().live()
        steps = InvoicedBucket.objects.filter(invoice__in=live, hour__gte=month, hour__lt=month_of(month).end)
        prices = dict(
            UsageByHour.objects.owned_by(self.organization).values_list("hour", "price_id").order_by("hour", "price_id")
        )
        names = {str(project.public_id): project.pk for project in self.projects}
        used: dict[str, dict[str, int]] = {}
        for step in steps.select_related("project").order_by("hour"):
            by_project = used.setdefault(prices[step.hour], {})
            name = step.project.public_id
            by_project[name] = by_project.get(name, 0) + step.quantity_after - step.quantity_before
        versions = {
            row.public_id: UnitPrice(
                SKU, row.public_id, row.price_nano, row.unit_size,
                make_tiers(row.tier_mode, row.tiers, price_nano=row.price_nano),
            )
            for row in Price.objects.filter(sku__code=SKU)
        }  # fmt: skip
        shares = tier_shares([ProjectQuantities(SKU, versions[name], parts) for name, parts in used.items()])
        return {(price_id, names[project]): nano for (_, price_id, project), nano in shares.items() if nano}

    def room_is_what_grants_will_have_left(self) -> None:
        """But for overruns that no invoice has taken as ours yet, what is unbilled, and cents of rounding."""
        cap = SpendCap.objects.of_organization(self.organization.pk).first()
        if cap is None or self.terms.may_owe:
            return
        live = self.invoices.issued().live()
        tier_nano = sum(line.tier_nano for line in InvoiceLine.objects.filter(invoice__in=live))
        house_nano = sum(invoice.house_cents for invoice in live) * NANO_PER_CENT
        left_nano = sum(row.balance_nano for row in LedgerAccount.objects.filter(kind__in=CREDIT))
        written_off = WriteOff.objects.filter(organization=self.organization).aggregate(Sum("amount_nano"))
        unbilled = unbilled_usage(self.organization.pk, before=self.clock + timedelta(days=1)).buckets
        unbilled_nano = sum(bucket.amount_nano for bucket in unbilled)
        ours_nano = (written_off["amount_nano__sum"] or 0) - house_nano
        # What a void invoice gave and no room was left to return.
        kept_nano = cap.tier_room_nano + tier_nano
        room_nano = cap.limit_nano - cap.settled_nano
        assert kept_nano >= 0
        off_nano = room_nano - left_nano - ours_nano + unbilled_nano - kept_nano
        assert abs(off_nano) <= (self.invoices.issued().count() + 1) * NANO_PER_CENT

    def invoices_add_up(self) -> None:
        issued = self.invoices.issued()
        numbers = sorted(issued.values_list("number", flat=True))
        assert numbers == [f"HR-{number:06}" for number in range(1, len(numbers) + 1)]
        house_nano = 0
        for invoice in issued:
            lines = list(InvoiceLine.objects.of_invoice(invoice))
            assert invoice.total_cents == sum(line.amount_cents for line in lines)
            exact_nano = sum(line.amount_nano for line in lines)
            assert invoice.total_cents == divide_half_even(exact_nano, NANO_PER_CENT)
            assert invoice.exact_nano == exact_nano
            assert all(line.amount_cents == sum(part["cents"] for part in line.parts) for line in lines)
            steps = InvoicedBucket.objects.of_invoice(invoice)
            assert not steps.filter(hour__gte=invoice.period_end).exists()
            billed = sum(step.quantity_after - step.quantity_before for step in steps)
            assert sum(line.quantity for line in lines) == billed
            house_nano += invoice.house_cents * NANO_PER_CENT if invoice.status != "void" else 0
        if not self.terms.may_owe:
            assert not issued.filter(due_cents__gt=0).exists()
            # We pay what caps had no room for, and a cent of rounding; never what credit was there for.
            taken = WriteOff.objects.filter(organization=self.organization, amount_nano__gt=0)
            written_off = taken.aggregate(Sum("amount_nano"))["amount_nano__sum"] or 0
            assert house_nano <= written_off + len(numbers) * NANO_PER_CENT


def run(machine: type[Months], runs: int, steps: int, *phases: Phase, mode: TierMode = TierMode.FLAT) -> None:
    first = make_project(make_organization())
    make_price(SKU, 7 * NANO_PER_USD + 600, 1_000_000, active_from=START.replace(year=2027), tiers=TIERS[mode])
    if mode is not TierMode.FLAT:
        # The next version of it, in the middle of a month.
        at = START + timedelta(days=20, hours=5)
        publish_price(
            sku=make_sku(SKU),
            price_nano=6 * NANO_PER_USD,
            unit_size=1_000_000,
            active_from=at,
            tiers=TIERS[mode],
            now=START,
        )
    machine.projects = [first, make_project(first.organization, "Second")]
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
@pytest.mark.parametrize("mode", TierMode)
def test_any_sequence_of_months_keeps_the_laws(mode):
    run(Months, RUNS, STEPS, mode=mode)
