"""Close months: draft and issue what is due, organization by organization. Rules: docs/algorithms/invoicing.md."""

from datetime import datetime, timedelta

import structlog
from django.db import transaction

from accounts.models import Organization
from billing.invoicing import Terms
from billing.models import Invoice
from billing.selectors.commitments import first_true_up, organization_ids_with_true_up
from billing.selectors.unbilled import organization_ids_with_unbilled, unbilled_buckets
from billing.services.invoices import begin_closing, draft_invoice, issue_invoice
from portal.lib.periods import Period, month_of

log = structlog.get_logger(__name__)

# Usage that is reported so long after its month's end is still in its invoice.
GRACE = timedelta(hours=24)


def close_due_months(*, now: datetime) -> int:
    """Issue every invoice whose month ended a grace ago, and return how many there were.

    For the platform role: across organizations, each invoice in transactions of its own. Safe to repeat, and for two
    at once: one issues.
    """
    issued = 0
    before = _end_of_due(now)
    due = {*organization_ids_with_unbilled(before=before), *organization_ids_with_true_up(before=before)}
    for organization_id in sorted(due):
        try:
            issued += len(close_months_of(organization=Organization.objects.get(pk=organization_id), now=now))
        except Exception:
            # A batch boundary: one organization's trouble must not keep the others' invoices back.
            log.exception("billing.month_not_closed", organization_id=organization_id)
    return issued


def close_months_of(*, organization: Organization, now: datetime, terms: Terms | None = None) -> list[Invoice]:
    """Issue the invoices that are due of one organization, oldest month first, and return them."""
    end = _end_of_due(now)
    unbilled = unbilled_buckets(organization.pk, before=end)
    begins = [bucket.hour for bucket in unbilled[:1]]
    if true_up := first_true_up(organization.pk, before=end):
        begins.append(true_up)
    if not begins:
        return []
    month = month_of(min(begins))
    last = Invoice.objects.owned_by(organization).issued().live().newest_first().first()
    if last is not None and last.period_end > month.start:
        # What came late for a month that has its invoice goes into the next one.
        month = month_of(last.period_end)
    issued = []
    while month.end <= end:
        if invoice := close_month(organization=organization, period=month, now=now, terms=terms):
            issued.append(invoice)
        month = month_of(month.end)
    return issued


def close_month(
    *, organization: Organization, period: Period, now: datetime, terms: Terms | None = None
) -> Invoice | None:
    """Draft and issue the invoice of one month, and return it; None where nothing is to bill or it was issued before.

    Two transactions, so that an issue that fails leaves a draft for people to see. Raises UnableToInvoice for a period
    that is no month that is over.
    """
    invoice = draft_invoice(organization=organization, period=period, now=now, terms=terms)
    if invoice is None:
        return None
    with transaction.atomic():
        closing = begin_closing(invoice=invoice, now=now)
        if closing.issued_at is not None:
            return None
        issued = issue_invoice(invoice=closing, now=now, terms=terms)
        return issued if issued.issued_at is not None else None


def _end_of_due(now: datetime) -> datetime:
    """Return the end of the last month whose grace is over."""
    return month_of(now - GRACE).start
