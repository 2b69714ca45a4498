"""Turn confirmed healthy seconds into usage. Definitions and worked numbers: docs/algorithms/reconciling.md."""

from datetime import datetime, timedelta
from uuid import UUID, uuid5

from billing.services.reservations import BudgetExceeded
from billing.services.usage import UsageRecord, record_usage
from compute.models import HealthInterval, Instance
from compute.services.funding import RENEW_BEFORE, STOP_BEFORE, fund, keep_hold
from compute.services.run_prices import run_prices
from portal.lib.periods import Period, hour_of

# Two passing probes further apart than this prove nothing about the time between them, so it is not billed.
PROBE_GAP = timedelta(seconds=90)
# The namespace of the ids of our usage events.
NAMESPACE = UUID("b7e5fd1a-6a0e-4b0c-9d7c-0f4f6f1f0c55")


def confirm_healthy(instance: Instance, *, probed_from: datetime, probed_to: datetime) -> None:
    """Note a passing probe of a locked instance: open a healthy interval, or confirm the open one.

    probed_from, probed_to: just before and after the probe; the first second that is billed is the first full
    one after it, the last confirmed is the last full one before it. The caller saves the row and sees that the
    lease is renewed.
    """
    interval = _open_interval(instance)
    if interval is not None and probed_from - interval.confirmed_to > PROBE_GAP:
        _end(instance, interval, interval.confirmed_to, now=probed_to)
        interval = None
    if interval is None:
        keep_hold(instance, now=probed_to)
        start = _second_after(probed_to)
        HealthInterval.objects.create(
            organization_id=instance.organization_id,
            instance=instance,
            started_at=start,
            confirmed_to=start,
            metered_to=start,
        )
    elif (confirmed := _second_of(probed_from)) > interval.confirmed_to:
        interval.confirmed_to = confirmed
        interval.save(update_fields=["confirmed_to"])


def end_where_confirmed(instance: Instance, *, now: datetime) -> None:
    """End the open interval of a locked instance at its last passing probe: what came after is not billed."""
    if interval := _open_interval(instance):
        _end(instance, interval, interval.confirmed_to, now=now)


def end_if_unconfirmed(instance: Instance, *, now: datetime) -> bool:
    """End the open interval when its last passing probe is too long ago; return whether that was so."""
    interval = _open_interval(instance)
    if interval is None or now - interval.confirmed_to <= PROBE_GAP:
        return False
    _end(instance, interval, interval.confirmed_to, now=now)
    return True


def end_at_request(instance: Instance, *, now: datetime) -> None:
    """End the open interval of a locked instance at the accepted stop.

    The last second billed lies before `now`, and no further from the last passing probe than a probe may be.
    """
    if interval := _open_interval(instance):
        _end(instance, interval, min(_second_of(now), interval.confirmed_to + PROBE_GAP), now=now)


def renew_lease(instance: Instance, *, now: datetime) -> bool:
    """Meter and renew the lease of a locked, healthy instance when it runs out; False: it must stop now.

    One usage event per renewal and hour. While the cap has no room the lease is used up to its last seconds.
    """
    interval = _open_interval(instance)
    if interval is None or interval.funded_until(instance.unspent_seconds) - now > RENEW_BEFORE:
        return True
    _meter(instance, interval, interval.confirmed_to, now=now)
    interval.save(update_fields=["metered_to"])
    try:
        fund(instance, now=now)
    except BudgetExceeded:
        return interval.funded_until(instance.unspent_seconds) - now > STOP_BEFORE
    return True


def _open_interval(instance: Instance) -> HealthInterval | None:
    # Whoever changes an interval holds its instance's row.
    return HealthInterval.objects.open().filter(instance=instance).first()


def _end(instance: Instance, interval: HealthInterval, end: datetime, *, now: datetime) -> None:
    end = max(end, interval.metered_to)
    _meter(instance, interval, end, now=now)
    interval.ended_at = end
    interval.save(update_fields=["metered_to", "ended_at"])


def _meter(instance: Instance, interval: HealthInterval, until: datetime, *, now: datetime) -> None:
    """Record [metered_to, until), one event per hour; each id and instant follows from where its part starts."""
    parts = list(Period(interval.metered_to, max(until, interval.metered_to)).split_at_hours())
    if not parts:
        return
    prices = run_prices(instance, {hour_of(part.start) for part in parts})
    skus = [prices[hour].sku if (hour := hour_of(part.start)) in prices else instance.sku for part in parts]
    records = [
        UsageRecord(
            event_id=uuid5(NAMESPACE, f"{instance.public_id} {part.start.isoformat()} {sku}"),
            occurred_at=part.start,
            organization_id=instance.organization_id,
            project_id=instance.project_id,
            sku=sku,
            quantity=part.seconds,
            resource_id=instance.public_id,
            api_key_id=instance.launched_with_id,
            user_id=instance.launched_by_id,
        )
        for part, sku in zip(parts, skus, strict=True)
    ]
    record_usage(records, reservation_id=instance.reservation_id, now=now)
    interval.metered_to = until
    instance.unspent_seconds = max(instance.unspent_seconds - sum(part.seconds for part in parts), 0)


def _second_of(instant: datetime) -> datetime:
    return instant.replace(microsecond=0)


def _second_after(instant: datetime) -> datetime:
    second = _second_of(instant)
    return second if second == instant else second + timedelta(seconds=1)
