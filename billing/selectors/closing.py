"""Until when an organization's usage is on invoices that were issued."""

from datetime import datetime, timedelta

from portal.lib.periods import month_of

# How long after a month's end its invoice still waits for usage that comes late.
GRACE = timedelta(hours=72)


def closed_until(*, organization_id: int, now: datetime) -> datetime:
    """Return the instant before which usage of the organization belongs to invoices that are issued.

    What is counted for an earlier instant goes to the next invoice. Asked under the lock of the organization's cap,
    which whoever issues an invoice takes too, so that an event is either on it or late.

    Until invoices say it themselves, a month counts as invoiced 72 hours after its end, whoever it belongs to.
    """
    return month_of(now - GRACE).start
