"""Closers, payers and usage at once, with real commits and the production roles: one invoice, no gaps, nothing lost."""

import os
from datetime import timedelta

from django.db import transaction

from billing.models import Invoice, InvoicedBucket, InvoiceLine, UsageByHour
from billing.selectors import prove_ledger
from billing.services.credits import lock_cap
from billing.services.month_closing import close_months_of
from billing.services.usage import record_usage
from portal.lib.money import NANO_PER_USD
from portal.lib.periods import hour_of
from portal.lib.tenancy import as_platform, set_organization
from tests.billing.test_services_invoices import DUE, OCTOBER, SKU, use
from tests.factories.accounts import make_organization, make_project
from tests.factories.billing import make_record
from tests.factories.catalog import make_price
from tests.own_database import SUPERUSER, OwnDatabase

CLOSERS = 6
ORGANIZATIONS = 12 if os.environ.get("PROVE") else 3


def test_closers_at_once_issue_one_invoice_for_each_and_numbers_have_no_gaps(own_database: OwnDatabase):
    with own_database.in_use(SUPERUSER):
        make_price(SKU, NANO_PER_USD, 1_000_000, active_from=hour_of(OCTOBER) - timedelta(days=200))
        projects = [make_project(make_organization()) for _ in range(ORGANIZATIONS)]
        for project in projects:
            lock_cap(organization_id=project.organization_id, now=OCTOBER)
            use(project, 1_000_000)

    def work(number: int) -> int:
        issued = 0
        for i in range(len(projects)):
            project = projects[(i + number) % len(projects)]
            if number == 0:
                # Usage of the month goes on to come while it is closed.
                with transaction.atomic():
                    set_organization(project.organization_id)
                    late = make_record(project, 777, sku=SKU, occurred_at=OCTOBER)
                    record_usage([late], reservation_id=None, now=DUE)
                continue
            with as_platform():
                issued += len(close_months_of(organization=project.organization, now=DUE))
        return issued

    with own_database.in_use():
        results = own_database.in_threads(CLOSERS + 1, work)
    assert [result for result in results if isinstance(result, Exception)] == []

    with own_database.in_use(SUPERUSER):
        assert sum(result for result in results if isinstance(result, int)) == ORGANIZATIONS
        numbers = sorted(str(invoice.number) for invoice in Invoice.objects.all())
        assert numbers == [f"HR-{number:06}" for number in range(1, ORGANIZATIONS + 1)]
        for project in projects:
            [bucket] = UsageByHour.objects.owned_by(project.organization)
            [step] = InvoicedBucket.objects.filter(organization=project.organization)
            # The late event is in the invoice or beyond it, never half.
            assert bucket.quantity == 1_000_777
            assert step.quantity_after in (1_000_000, 1_000_777)
            line = InvoiceLine.objects.get(organization=project.organization)
            assert line.quantity == step.quantity_after
        assert prove_ledger().is_whole
