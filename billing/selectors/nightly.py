"""Which days are still to be compared, and what the comparisons came to, as pages of staff print it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from accounts.models import Organization
from billing.models import Difference, Reconciliation, ReconciliationJob
from portal.lib.money import decimal_string
from portal.lib.periods import day_of

# A portal that stood still makes up for so many days.
MOST_DAYS = 35
# What was on its way when a day ended has arrived then.
GRACE = timedelta(hours=3)
# These compare how things stand, so that a day that was missed is not made up for.
STANDING = (ReconciliationJob.LEDGER, ReconciliationJob.CAPS)
NEWEST = 200


def due_days(job: ReconciliationJob, now: datetime) -> list[date]:
    """Return the UTC days that ended three hours ago and that a job has not compared, oldest first.

    The first day of which any job has a result is where it begins; before there is one, the last day. For the platform
    role.
    """
    last = day_of(now - GRACE).date() - timedelta(days=1)
    recent = Reconciliation.objects.filter(day__gt=last - timedelta(days=MOST_DAYS))
    done = set(recent.filter(job=job).values_list("day", flat=True))
    first = last if job in STANDING else min(recent.values_list("day", flat=True), default=last)
    days = (first + timedelta(days=number) for number in range((last - first).days + 1))
    return [day for day in days if day not in done]


def organizations_that_differ(job: ReconciliationJob) -> set[str]:
    """Return the public ids of the organizations of which a job has open differences. For the platform role."""
    open_ones = Difference.objects.open().filter(reconciliation__job=job).exclude(organization_public_id="")
    return set(open_ones.values_list("organization_public_id", flat=True))


@dataclass(frozen=True, slots=True)
class RunRow:
    job: str
    day: date
    checked: int
    differences: int
    amount: str
    ran_at: datetime


@dataclass(frozen=True, slots=True)
class DifferenceRow:
    """organization: its address (slug), empty for none. state: open, gone or explained, in words."""

    public_id: str
    job: str
    day: date
    organization: str
    what: str
    ours: str
    theirs: str
    amount: str
    explanation: str
    is_gone: bool


@dataclass(frozen=True, slots=True)
class AgreementPage:
    """still_open: must be empty. settled: gone or explained, newest first."""

    runs: Sequence[RunRow]
    still_open: Sequence[DifferenceRow]
    settled: Sequence[DifferenceRow]


def agreement_page() -> AgreementPage:
    """Return what finance looks at in the morning. For the platform role."""
    runs = Reconciliation.objects.order_by("-day", "job")[: 7 * len(ReconciliationJob)]
    differences = Difference.objects.select_related("reconciliation")
    still_open = list(differences.open().order_by("found_at", "pk")[:NEWEST])
    settled = list(differences.exclude(gone_at=None, explained_at=None).order_by("-found_at", "-pk")[:NEWEST])
    names = {row.organization_public_id for row in [*still_open, *settled]}
    slugs = dict(Organization.objects.filter(public_id__in=names).values_list("public_id", "slug"))
    return AgreementPage(
        [_run(run) for run in runs],
        [_difference(row, slugs) for row in still_open],
        [_difference(row, slugs) for row in settled],
    )


def _run(run: Reconciliation) -> RunRow:
    return RunRow(
        job=run.get_job_display(),
        day=run.day,
        checked=run.checked_count,
        differences=run.difference_count,
        amount=decimal_string(run.amount_nano),
        ran_at=run.ran_at,
    )


def _difference(row: Difference, slugs: dict[str, str]) -> DifferenceRow:
    return DifferenceRow(
        public_id=row.public_id,
        job=row.reconciliation.get_job_display(),
        day=row.reconciliation.day,
        organization=slugs.get(row.organization_public_id, row.organization_public_id),
        what=row.what,
        ours=row.ours,
        theirs=row.theirs,
        amount=decimal_string(row.amount_nano),
        explanation=row.explanation,
        is_gone=row.gone_at is not None,
    )
