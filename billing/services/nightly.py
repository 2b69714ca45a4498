"""Run each night's comparisons: what is due, each by itself, so that one in trouble keeps no other from its turn.

For the platform role, outside a transaction. Rules: docs/algorithms/agreement.md.
"""

from collections.abc import Callable, Mapping
from datetime import date, datetime

import structlog

from billing.gateways import payment_provider
from billing.gateways.movements import OtherCurrency
from billing.gateways.payment_provider import ProviderRefusal, ProviderTrouble
from billing.models import ReconciliationJob
from billing.reconcile import NOTHING, Findings, leave_out
from billing.selectors.nightly import due_days, organizations_that_differ
from billing.selectors.nightly_books import compare_caps, compare_debts, compare_ledger, compare_postings
from billing.selectors.nightly_invoices import invoices_to_verify, verify_issued
from billing.selectors.nightly_usage import compare_day_of_usage, day_period, days_to_sum
from billing.services.provider_agreement import compare_payments
from billing.services.reconciling import record_result

log = structlog.get_logger(__name__)

Job = ReconciliationJob


def reconcile(*, now: datetime) -> int:
    """Compare everything that is due and write down what came of it; return how many results there were.

    What fails is in the log and due again: at the next run, for the same day.
    """
    results = 0
    for job, compare in _COMPARE.items():
        for day in due_days(job, now):
            if job is Job.PAYMENTS and not payment_provider.is_configured():
                continue
            try:
                findings = compare(day, now)
            except (ProviderTrouble, ProviderRefusal, OtherCurrency) as error:
                log.warning("billing.reconciliation.not_done", job=job.value, day=day.isoformat(), problem=str(error))
                break
            record_result(job=job, day=day, findings=findings, now=now)
            results += 1
    return results


def _usage(day: date, _now: datetime) -> Findings:
    return sum((compare_day_of_usage(each) for each in days_to_sum(day_period(day))), start=NOTHING)


def _ledger(_day: date, _now: datetime) -> Findings:
    return compare_ledger()


def _caps(_day: date, _now: datetime) -> Findings:
    # Against sums that are known to be wrong a cap proves nothing: the mistake has a name already.
    return leave_out(compare_caps(), organizations_that_differ(Job.USAGE))


def _invoices(day: date, _now: datetime) -> Findings:
    recomputed = leave_out(verify_issued(invoices_to_verify(day_period(day))), organizations_that_differ(Job.USAGE))
    return recomputed + leave_out(compare_postings() + compare_debts(), organizations_that_differ(Job.LEDGER))


def _payments(day: date, now: datetime) -> Findings:
    return compare_payments(period=day_period(day), now=now)


# In this order: what is held against sums comes after the sums.
_COMPARE: Mapping[ReconciliationJob, Callable[[date, datetime], Findings]] = {
    Job.USAGE: _usage,
    Job.LEDGER: _ledger,
    Job.CAPS: _caps,
    Job.INVOICES: _invoices,
    Job.PAYMENTS: _payments,
}
