"""Keep what each night's comparisons found, once for each job and day, and let people explain what differs.

For the platform role. Rules: docs/algorithms/agreement.md.
"""

from datetime import date, datetime
from typing import ClassVar

import structlog
from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import User
from accounts.services.staff_log import note_change
from billing.models import Difference, Reconciliation, ReconciliationJob
from billing.reconcile import Findings, Found
from portal.lib.errors import DomainError

log = structlog.get_logger(__name__)

EXPLAIN = "billing.change_difference"
SHORTEST_EXPLANATION = 10
LONGEST_EXPLANATION = 500
# More are counted and not written down: they have one cause.
MOST_WRITTEN = 500
LONGEST_WORDS = 300


class UnableToExplain(DomainError):
    code: ClassVar[str] = "unable_to_explain"


@transaction.atomic
def record_result(*, job: ReconciliationJob, day: date, findings: Findings, now: datetime) -> Reconciliation:
    """Write down what a job found for a UTC day, and raise an alarm where something differs.

    Two at once write one result. A difference that an earlier run had and this one has not is gone; one that says
    something else now has to be explained anew.
    """
    fresh = Reconciliation(job=job, day=day, ran_at=now)
    Reconciliation.objects.bulk_create([fresh], ignore_conflicts=True)
    run = Reconciliation.objects.select_for_update(no_key=True).get(job=job, day=day)
    run.checked_count = findings.checked_count
    run.difference_count = len(findings.differences)
    run.amount_nano = findings.amount_nano
    run.run_count += 1
    run.ran_at = now
    run.save()
    _write(run, {found.thing.name[:LONGEST_WORDS]: found for found in findings.differences[:MOST_WRITTEN]}, now)
    if findings.differences:
        log.error(
            "billing.reconciliation.differs",
            job=job.value,
            day=day.isoformat(),
            differences=run.difference_count,
            amount_nano=run.amount_nano,
            first=findings.differences[0].thing.name,
        )
    else:
        log.info("billing.reconciliation.agrees", job=job.value, day=day.isoformat(), checked=run.checked_count)
    return run


def _write(run: Reconciliation, found_by_name: dict[str, Found], now: datetime) -> None:
    known = {row.what: row for row in Difference.objects.filter(reconciliation=run)}
    for what, row in known.items():
        if what not in found_by_name and row.gone_at is None:
            row.gone_at = now
            row.save(update_fields=["gone_at"])
    for what, found in found_by_name.items():
        row = known.get(what) or Difference(reconciliation=run, what=what, found_at=now)
        ours, theirs = found.ours[:LONGEST_WORDS], found.theirs[:LONGEST_WORDS]
        if row.gone_at is not None or (row.ours, row.theirs) != (ours, theirs):
            row.explanation, row.explained_by, row.explained_at = "", "", None
        row.organization_public_id = found.thing.organization
        row.ours, row.theirs, row.amount_nano, row.gone_at = ours, theirs, found.amount_nano, None
        row.save()


@transaction.atomic
def explain_difference(*, public_id: str, explanation: str, by: User, now: datetime) -> Difference:
    """Note why two sides differ and what was done about it; the row stays, and is open no more.

    Raises UnableToExplain if `by` may not, for an explanation of less than 10 or more than 500 characters, where there
    is no such difference, and for one that is gone or explained already.
    """
    if not by.is_staff or not by.has_perm(EXPLAIN):
        raise UnableToExplain(_("You may not explain differences."))
    words = " ".join(explanation.split())
    if not SHORTEST_EXPLANATION <= len(words) <= LONGEST_EXPLANATION:
        raise UnableToExplain(
            _("Say what it was and what was done about it, in %(least)s to %(most)s characters.")
            % {"least": SHORTEST_EXPLANATION, "most": LONGEST_EXPLANATION}
        )
    # PostgreSQL takes no NUL in a text.
    found = Difference.objects.select_for_update(no_key=True).filter(public_id=public_id.replace("\0", ""))
    difference = found.first()
    if difference is None:
        raise UnableToExplain(_("There is no such difference."))
    if difference.gone_at is not None or difference.explained_at is not None:
        raise UnableToExplain(_("This difference is not open any more."))
    difference.explanation, difference.explained_by, difference.explained_at = words, by.public_id, now
    difference.save(update_fields=["explanation", "explained_by", "explained_at"])
    note_change(difference, words=f"Difference explained: {words}", by=by, now=now)
    return difference
