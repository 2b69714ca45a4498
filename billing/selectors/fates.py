"""What became of usage events, by their ids."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from billing.models import UsageEvent, UsageFate
from portal.lib.periods import Period, day_of

QUEUE_SIZE = 50


@dataclass(frozen=True, slots=True)
class FateView:
    """The fate of an event id. outcome: counted, late or rejected; reason and detail: why it was rejected.

    organization: public id, null where the report named none that there is. decision: what a person made of it.
    """

    event_id: UUID
    organization: str | None
    outcome: str
    reason: str
    detail: str
    occurred_at: datetime
    recorded_at: datetime
    decided_at: datetime | None
    decision: str


def fates_of(event_ids: Iterable[UUID]) -> dict[UUID, UsageFate]:
    return UsageFate.objects.in_bulk(list(event_ids))


def fate_of(event_id: UUID, day: date | None = None) -> FateView | None:
    """Return the fate of an event id, or None for one that nothing is known of.

    day: the UTC day that the event is of. Without it only what has a row is found, which is all that was reported from
    outside and whatever of our own was late; events are looked for in the one partition of that day.
    """
    fate = UsageFate.objects.select_related("organization").filter(pk=event_id).first()
    if fate is not None:
        return fate_view(fate)
    return _counted(event_id, day) if day else None


def queue() -> list[UsageFate]:
    """Return what waits for a person, the oldest first, at most 50."""
    fates = UsageFate.objects.waiting().select_related("organization")
    return list(fates.order_by("recorded_at", "event_id")[:QUEUE_SIZE])


def fate_view(fate: UsageFate) -> FateView:
    return FateView(
        event_id=fate.event_id,
        organization=fate.organization.public_id if fate.organization else None,
        outcome=fate.outcome,
        reason=fate.reason,
        detail=str(UsageFate.Reason(fate.reason).label) if fate.reason else "",
        occurred_at=fate.occurred_at,
        recorded_at=fate.recorded_at,
        decided_at=fate.decided_at,
        decision=fate.decision,
    )


def _counted(event_id: UUID, day: date) -> FateView | None:
    start = day_of(datetime.fromisoformat(f"{day.isoformat()}T00:00:00+00:00"))
    events = UsageEvent.objects.within(Period(start, start + timedelta(days=1))).select_related("organization")
    event = events.filter(event_id=event_id).first()
    if event is None:
        return None
    return FateView(
        event_id=event.event_id,
        organization=event.organization.public_id,
        outcome=UsageFate.Outcome.COUNTED.value,
        reason="",
        detail="",
        occurred_at=event.occurred_at,
        recorded_at=event.recorded_at,
        decided_at=None,
        decision="",
    )
