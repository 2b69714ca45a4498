"""The manual queue: what a person makes of reported usage that could not simply be counted.

For the platform's role, as all that staff do. Rules: docs/algorithms/metering.md.
"""

from datetime import UTC, datetime
from uuid import UUID

from django.db import transaction

from accounts.models import AuditEvent, User
from accounts.services.audit import record_event
from accounts.services.staff_log import note_change
from billing.models import UsageFate
from billing.retention import USAGE
from billing.selectors.closing import closed_until
from billing.services.credits import lock_cap
from billing.services.partitions import make_partitions
from billing.services.reported import UsageReport, named_in, originals_of
from billing.services.usage import UnpricedUsage, UsageRecord, UsageRefused, record_accepted
from portal.lib.context import Actor
from portal.lib.errors import DomainError

SHORTEST_REASON = 10
LONGEST_REASON = 500
PERMISSION = "billing.change_usagefate"


class UnableToDecide(DomainError):
    code = "unable_to_decide_about_usage"


@transaction.atomic
def accept_event(*, event_id: UUID, reason: str, by: User, now: datetime) -> UsageFate:
    """Count an event of the queue after all, however old it is; `reason` is in its organization's log.

    Raises UnableToDecide if `by` may not, without a reason, if it does not wait, if usage of its time is forgotten
    already, or if what kept it out still does.
    """
    fate = _lock(event_id, reason, by, now)
    record = _record_in(fate, now)
    # Usage of a day that has no partition any more would be reported as stray every hour.
    make_partitions(first=record.occurred_at.date(), day_count=1)
    is_late = record.occurred_at < closed_until(organization_id=record.organization_id)
    fate.outcome = UsageFate.Outcome.LATE if is_late else UsageFate.Outcome.COUNTED
    try:
        record_accepted(record, now=now)
    except UsageRefused as error:
        raise UnableToDecide(str(error)) from error
    except UnpricedUsage as error:
        raise UnableToDecide("Its SKU has no price in that hour: publish one first, or refuse it.") from error
    return _decide(fate, reason, by, now)


@transaction.atomic
def refuse_event(*, event_id: UUID, reason: str, by: User, now: datetime) -> UsageFate:
    """Leave an event of the queue rejected for ever. Raises UnableToDecide as `accept_event`."""
    return _decide(_lock(event_id, reason, by, now), reason, by, now)


def _lock(event_id: UUID, reason: str, by: User, now: datetime) -> UsageFate:
    if not by.is_staff or not by.has_perm(PERMISSION):
        raise UnableToDecide("You may not decide about usage.")
    if not SHORTEST_REASON <= len(" ".join(reason.split())) <= LONGEST_REASON:
        raise UnableToDecide(f"Say why, in {SHORTEST_REASON} to {LONGEST_REASON} characters.")
    fate = UsageFate.objects.filter(pk=event_id).first()
    if fate is None:
        raise UnableToDecide("There is no such event.")
    if fate.organization_id is not None:
        # The cap before everything else of an organization, as whoever counts usage does.
        lock_cap(organization_id=fate.organization_id, now=now)
    fate = UsageFate.objects.select_for_update().get(pk=event_id)
    if not fate.is_waiting:
        raise UnableToDecide("Nobody has to decide about this event.")
    return fate


def _record_in(fate: UsageFate, now: datetime) -> UsageRecord:
    # Rejected fates keep what was reported.
    report = _report_in(fate.content or {})
    if report.occurred_at < USAGE.before(now):
        raise UnableToDecide(f"It is older than {USAGE}: whether it was counted then is not known any more.")
    try:
        record = named_in([report]).record(report)
    except KeyError as error:
        raise UnableToDecide("It names something that is not there any more.") from error
    if record.corrects is not None:
        original = originals_of([record.corrects])[record.corrects]
        if original.is_open:
            raise UnableToDecide("What it corrects was not counted yet: decide about that first.")
        if against := original.why_not(record):
            raise UnableToDecide(str(against.label))
    return record


def _report_in(content: dict[str, str | int | None]) -> UsageReport:
    """Return a report as it was kept."""
    # Values are those of a UsageReport, written by billing.services.usage_reports.
    values: dict[str, object] = dict(content)
    values["event_id"] = UUID(str(content["event_id"]))
    values["occurred_at"] = datetime.fromisoformat(str(content["occurred_at"])).astimezone(UTC)
    values["corrects"] = UUID(str(content["corrects"])) if content["corrects"] else None
    return UsageReport(**values)  # type: ignore[arg-type]  # as above


def _decide(fate: UsageFate, reason: str, by: User, now: datetime) -> UsageFate:
    fate.decided_at, fate.decided_by, fate.decision = now, by.public_id, " ".join(reason.split())
    fate.save(update_fields=["outcome", "decided_at", "decided_by", "decision"])
    verdict = "refused" if fate.outcome == UsageFate.Outcome.REJECTED else "accepted"
    note_change(fate, words=f"Usage event {verdict}: {fate.decision}", by=by, now=now)
    if fate.organization_id is not None:
        record_event(
            f"usage.{verdict}",
            organization_id=fate.organization_id,
            target=("usage_event", str(fate.event_id)),
            changes={"outcome": ("rejected", fate.outcome), "reason": (None, fate.decision)},
            actor=Actor(kind=AuditEvent.ActorKind.USER.value, public_id=by.public_id, via=AuditEvent.Via.STAFF.value),
            now=now,
        )
    return fate
