"""Until when an organization's usage is on invoices that were issued."""

from datetime import UTC, datetime

from django.db.models import Max

from billing.models import Invoice

# Before anything was sold.
NOTHING_CLOSED = datetime(2000, 1, 1, tzinfo=UTC)


def closed_until(*, organization_id: int) -> datetime:
    """Return the instant before which usage of the organization belongs to months whose invoice is issued.

    What is counted for an earlier instant goes to the next invoice. Asked under the lock of the organization's cap,
    which whoever issues an invoice takes too, so that an event is either on it or late.
    """
    issued = Invoice.objects.of_organization(organization_id).issued().live()
    end: datetime | None = issued.aggregate(Max("period_end"))["period_end__max"]
    return end or NOTHING_CLOSED
