"""Compare every day what instances ran with what was counted of it; billing keeps what came of it.

For the platform role. Rules: docs/algorithms/agreement.md.
"""

from datetime import datetime

from billing.models import ReconciliationJob
from billing.reconcile import leave_out
from billing.selectors.nightly import due_days, organizations_that_differ
from billing.selectors.nightly_usage import day_period
from billing.services.reconciling import record_result
from compute.selectors.hours import compare_hours


def reconcile_hours(*, now: datetime) -> int:
    """Compare the days that are due; return how many there were."""
    days = due_days(ReconciliationJob.INSTANCES, now)
    for day in days:
        # Where single events are missing the mistake has a name already.
        known = organizations_that_differ(ReconciliationJob.USAGE)
        findings = leave_out(compare_hours(day_period(day)), known)
        record_result(job=ReconciliationJob.INSTANCES, day=day, findings=findings, now=now)
    return len(days)
