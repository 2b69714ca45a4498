"""Close months: draft and issue what is due, organization by organization. Rules: docs/algorithms/invoicing.md."""

from datetime import datetime, timedelta

import structlog
from django.db import transaction

from accounts.models import Organization, OrganizationTerms
from billing.invoicing import Terms
from billing.models import Invoice
from billing.selectors.closing import closed_until
from billing.selectors.commitments import first_true_up, organization_ids_with_true_up
from billing.selectors.unbilled import organization_ids_with_unbilled, unbilled_buckets
from billing.services.invoices import begin_closing, draft_invoice, issue_invoice
from portal.lib.batches import one_by_one
from portal.lib.periods import Period, hour_of, month_of

log = structlog.get_logger(__name__)

# Usage that is reported so long after its month's end is still in its invoice.
GRACE = timedelta(hours=24)
# And so long after an hour, in an invoice of the running month; what comes later is on the next one.
THRESHOLD_GRACE = timedelta(hours=2)


def close_due_months(*, now: datetime) -> int:
    """Issue every invoice whose month ended a grace ago, and return how many there were.

    For the platform role: across organizations, each invoice in transactions of its own. Safe to repeat, and for two
    at once: one issues.
    """
    before = _end_of_due(now)
    due = {*organization_ids_with_unbilled(before=before), *organization_ids_with_true_up(before=before)}
    return one_by_one(
        sorted(due),
        lambda pk: len(close_months_of(organization=Organization.objects.get(pk=pk), now=now)),
        lambda pk: log.exception("billing.month_not_closed", organization_id=pk),
    )


def close_months_of(*, organization: Organization, now: datetime, terms: Terms | None = None) -> list[Invoice]:
    """Issue the invoices that are due of one organization, oldest month first, and return them."""
    end = _end_of_due(now)
    unbilled = unbilled_buckets(organization.pk, before=end)
    begins = [bucket.hour for bucket in unbilled[:1]]
    if true_up := first_true_up(organization.pk, before=end):
        begins.append(true_up)
    if not begins:
        return []
    # What came late for a time that has its invoice goes into the next one.
    start = max(month_of(min(begins)).start, _billed_until(organization))
    issued = []
    while (period := Period(start, month_of(start).end)).end <= end:
        if invoice := close_month(organization=organization, period=period, now=now, terms=terms):
            issued.append(invoice)
        start = period.end
    return issued


def invoice_above_thresholds(*, now: datetime) -> int:
    """Issue an invoice in the middle of the month for who has used more than their terms let wait; return how many.

    For the platform role, each in transactions of its own. Safe to repeat: what is billed is unbilled no more.
    """
    limits = OrganizationTerms.objects.in_force().filter(invoice_above_nano__isnull=False)
    return one_by_one(
        limits.select_related("organization").order_by("organization_id"),
        lambda terms: invoice_above_threshold(terms=terms, now=now) is not None,
        lambda terms: log.exception("billing.threshold_not_invoiced", organization_id=terms.organization_id),
    )


def invoice_above_threshold(*, terms: OrganizationTerms, now: datetime) -> Invoice | None:
    """Issue an invoice for the running month, up to an hour that is well over; None below the threshold of the terms.

    Months that are over are closed first, and on the first day of a month, while the one before waits for what is
    reported late, nothing is done.
    """
    organization, cut = terms.organization, hour_of(now - THRESHOLD_GRACE)
    month = month_of(cut)
    if terms.invoice_above_nano is None or now < month.start + GRACE:
        return None
    close_months_of(organization=organization, now=now)
    start = max(month.start, _billed_until(organization))
    unbilled_nano = sum(bucket.amount_nano for bucket in unbilled_buckets(organization.pk, before=cut))
    if cut <= start or unbilled_nano <= terms.invoice_above_nano:
        return None
    return close_month(organization=organization, period=Period(start, cut), now=now)


def close_month(
    *, organization: Organization, period: Period, now: datetime, terms: Terms | None = None
) -> Invoice | None:
    """Draft and issue the invoice of one month, or a part of it, and return it.

    None where nothing is to bill or it was issued before. Two transactions, so that an issue that fails leaves a draft
    for people to see. Raises UnableToInvoice for a period that is not within a month and over.
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


def _billed_until(organization: Organization) -> datetime:
    """Return the instant before which everything has its invoice."""
    return closed_until(organization_id=organization.pk)


def _end_of_due(now: datetime) -> datetime:
    """Return the end of the last month whose grace is over."""
    return month_of(now - GRACE).start
