"""Take usage that systems outside the portal report: every event id gets one fate, and every delivery an answer.

The law and worked numbers: docs/algorithms/metering.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import structlog
from django.core.serializers.json import DjangoJSONEncoder
from django.db import DataError, IntegrityError, connection, transaction
from django.utils.translation import gettext as _

from billing.models import UsageFate
from billing.selectors.closing import closed_until
from billing.selectors.fates import fates_of
from billing.services.credits import lock_cap
from billing.services.reported import Named, Original, UsageReport, named_in, originals_of
from billing.services.usage import UnpricedUsage, UsageRecord, record_usage, unpriced_hours
from portal.lib.errors import DomainError
from portal.lib.periods import hour_of

log = structlog.get_logger(__name__)

_json = DjangoJSONEncoder()


class Answered(StrEnum):
    """What is said about one delivery of an event."""

    COUNTED = "counted"
    LATE = "late"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"
    DEFERRED = "deferred"  # no fate yet: what it corrects has not come
    FAILED = "failed"  # no fate yet: it could not be recorded


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said about one delivery. fate: counted, late or rejected; empty while the id has none yet."""

    event_id: UUID
    outcome: Answered
    fate: str = ""
    reason: str = ""
    detail: str = ""


def report_usage(reports: Sequence[UsageReport], *, now: datetime) -> list[Answer]:
    """Give every event its fate and return an answer for each, in the order of `reports`.

    For the platform's role. Each organization's events are counted in a transaction of their own, by `record_usage`;
    what the database refuses of one event keeps none of the others out. Safe to repeat.
    """
    named = named_in(reports)
    groups: dict[int, list[int]] = {}
    for place, report in enumerate(reports):
        # Those of no organization that there is come together: no cap has to be locked for them.
        groups.setdefault(named.organizations.get(report.organization, 0), []).append(place)
    answers: dict[int, Answer] = {}
    for organization_id in sorted(groups):
        places = groups[organization_id]
        group = _Group(organization_id or None, named, now)
        answers |= zip(places, _take(group, [reports[place] for place in places]), strict=True)
    return [answers[place] for place in range(len(reports))]


@dataclass(frozen=True, slots=True)
class _Group:
    """Whose reports are taken (None: nobody's that there is), and when."""

    organization_id: int | None
    named: Named
    now: datetime


@dataclass(frozen=True, slots=True)
class _Told:
    """An id's fate. is_new: whether this call gave it."""

    fate: UsageFate
    is_new: bool


def _take(group: _Group, reports: Sequence[UsageReport]) -> list[Answer]:
    """Take reports in one transaction; where the database refuses that, half of them each, down to those it refuses."""
    try:
        return _take_all(group, reports)
    except (DataError, IntegrityError, DomainError, UnpricedUsage):
        if len(reports) > 1:
            middle = len(reports) // 2
            return [*_take(group, reports[:middle]), *_take(group, reports[middle:])]
        log.exception("billing.usage.report_failed", event_id=str(reports[0].event_id))
        detail = _("It could not be recorded. Send it again later.")
        return [Answer(reports[0].event_id, Answered.FAILED, reason="not_recorded", detail=detail)]


@transaction.atomic
def _take_all(group: _Group, reports: Sequence[UsageReport]) -> list[Answer]:
    if group.organization_id is not None:
        lock_cap(organization_id=group.organization_id, now=group.now)
    first: dict[UUID, UsageReport] = {}
    for report in reports:
        first.setdefault(report.event_id, report)
    # Corrections last: what they correct may come with them.
    told = _decide(group, [report for report in first.values() if report.corrects is None])
    told |= _decide(group, [report for report in first.values() if report.corrects is not None])
    answers, heard = [], set()
    for report in reports:
        mine = told.get(report.event_id)
        is_new = mine is not None and mine.is_new and report.event_id not in heard
        heard.add(report.event_id)
        answers.append(_answer(report, mine.fate, is_new=is_new) if mine else _wait(report))
    return answers


def _decide(group: _Group, reports: Sequence[UsageReport]) -> dict[UUID, _Told]:
    """Give the reports' ids their fates, count what is to be counted, and return what each id hears.

    What has to wait for the event that it corrects is left out.
    """
    known = fates_of(report.event_id for report in reports)
    new = [report for report in reports if report.event_id not in known]
    judged = _judge(group, new)
    won = _claim(judged, group.now)
    # Who was first, for another organization at the same time, is heard instead.
    known |= fates_of({fate.event_id for fate in judged} - won)
    mine = [fate for fate in judged if fate.event_id in won]
    counted = {fate.event_id for fate in mine if fate.outcome != UsageFate.Outcome.REJECTED}
    records = [group.named.record(report) for report in new if report.event_id in counted]
    record_usage(records, reservation_id=None, now=group.now)
    return {event_id: _Told(fate, is_new=False) for event_id, fate in known.items()} | {
        fate.event_id: _Told(fate, is_new=True) for fate in mine
    }


def _judge(group: _Group, reports: Sequence[UsageReport]) -> list[UsageFate]:
    """Return the fates of reports that are new; none for those that have to wait."""
    reasons = {report.event_id: group.named.why_not(report, group.now) for report in reports}
    records = {report.event_id: group.named.record(report) for report in reports if reasons[report.event_id] is None}
    unpriced = unpriced_hours(list(records.values()))
    originals = originals_of(record.corrects for record in records.values() if record.corrects)
    closed = closed_until(organization_id=group.organization_id) if group.organization_id else group.now
    fates = []
    for report in reports:
        reason, record = reasons[report.event_id], records.get(report.event_id)
        if record is not None:
            if record.corrects is not None and originals[record.corrects].is_open:
                continue
            reason = _why_not_counted(record, unpriced, originals)
        fates.append(_fate(group, report, reason, is_late=report.occurred_at < closed))
    return fates


def _why_not_counted(
    record: UsageRecord, unpriced: set[tuple[datetime, str]], originals: Mapping[UUID, Original]
) -> UsageFate.Reason | None:
    if (hour_of(record.occurred_at), record.sku) in unpriced:
        return UsageFate.Reason.UNPRICED
    return originals[record.corrects].why_not(record) if record.corrects is not None else None


def _fate(group: _Group, report: UsageReport, reason: UsageFate.Reason | None, *, is_late: bool) -> UsageFate:
    outcome = UsageFate.Outcome.LATE if is_late else UsageFate.Outcome.COUNTED
    return UsageFate(
        event_id=report.event_id,
        organization_id=group.organization_id,
        occurred_at=report.occurred_at,
        outcome=UsageFate.Outcome.REJECTED if reason else outcome,
        reason=reason or "",
        content_digest=report.digest,
        content=_json.encode(asdict(report)) if reason else None,
        recorded_at=group.now,
    )


_CLAIM = """
    INSERT INTO billing_usagefate (event_id, organization_id, occurred_at, outcome, reason, content_digest, content,
                                   recorded_at, decided_by, decision)
    SELECT event_id, %(organization_id)s, occurred_at, outcome, reason, content_digest, content::jsonb, %(now)s, '', ''
    FROM unnest(%(event_id)s::uuid[], %(occurred_at)s::timestamptz[], %(outcome)s::text[], %(reason)s::text[],
                %(content_digest)s::bytea[], %(content)s::text[])
        AS input (event_id, occurred_at, outcome, reason, content_digest, content)
    ORDER BY event_id
    ON CONFLICT (event_id) DO NOTHING
    RETURNING event_id
"""
_CLAIMED = ("event_id", "occurred_at", "outcome", "reason", "content_digest", "content")


def _claim(fates: Sequence[UsageFate], now: datetime) -> set[UUID]:
    """Write fates down and return the ids that had none; in order, so that two who claim the same do not cross."""
    if not fates:
        return set()
    columns = {name: [getattr(fate, name) for fate in fates] for name in _CLAIMED}
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, {**columns, "organization_id": fates[0].organization_id, "now": now})
        return {event_id for (event_id,) in cursor.fetchall()}


def _answer(report: UsageReport, fate: UsageFate, *, is_new: bool) -> Answer:
    if not is_new and (fate.content_digest is None or bytes(fate.content_digest) != report.digest):
        log.error("billing.usage.conflict", event_id=str(report.event_id))
        detail = _("This event is known with other content; what is known stays.")
        return Answer(report.event_id, Answered.REJECTED, fate.outcome, "conflict", detail)
    if fate.outcome == UsageFate.Outcome.REJECTED:
        detail = str(UsageFate.Reason(fate.reason).label)
        return Answer(report.event_id, Answered.REJECTED, fate.outcome, fate.reason, detail)
    outcome = Answered(fate.outcome) if is_new else Answered.DUPLICATE
    return Answer(report.event_id, outcome, fate.outcome)


def _wait(report: UsageReport) -> Answer:
    detail = _("What it corrects has not been counted. Send it again once that is.")
    return Answer(report.event_id, Answered.DEFERRED, reason="corrects_unknown", detail=detail)
