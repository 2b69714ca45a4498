"""Find days on which an organization spends far more than usual, and tell its people.

Noted first and mailed after, so that a mail server's bad hour loses nothing. The law: docs/algorithms/anomalies.md.
"""

from dataclasses import asdict
from datetime import datetime, timedelta

import structlog
from django.db import transaction

from accounts.models import Organization, Permission
from accounts.services.audit import record_event
from accounts.services.mails import addresses_with, mail_each, page_address
from accounts.services.members import lock_organization
from billing.invoicing.anomaly import findings
from billing.models import AnomalyMails, SpendAnomaly
from billing.selectors.anomalies import anomaly_row, organization_ids_to_look_at, series_of
from portal.lib.batches import one_by_one
from portal.lib.periods import day_of

log = structlog.get_logger(__name__)


def find_anomalies(*, now: datetime) -> int:
    """Note every organization whose running UTC day, or the one before, is unusual by now; return how many.

    For the platform role: each in a transaction of its own. Safe to repeat: a day of an organization is noted once.
    """
    days = (day_of(now) - timedelta(days=1), day_of(now))
    return one_by_one(
        ((organization_id, day) for day in days for organization_id in organization_ids_to_look_at(day)),
        lambda one: _look(*one, now),
        lambda one: log.exception("billing.anomaly_not_looked_for", organization_id=one[0]),
    )


@transaction.atomic
def _look(organization_id: int, day: datetime, now: datetime) -> int:
    unusual = findings(series_of(organization_id, day))
    if not unusual:
        return 0
    anomaly = SpendAnomaly(
        organization_id=organization_id, day=day, findings=[asdict(one) for one in unusual], found_at=now
    )
    # Two that look at once find the same day.
    SpendAnomaly.objects.bulk_create([anomaly], ignore_conflicts=True)
    return 1


def mail_anomalies(*, now: datetime) -> int:
    """Mail every unusual day that was not mailed yet to those who may change caps; return how many.

    For the platform role. A crash between mail and commit mails twice.
    """
    return one_by_one(
        list(SpendAnomaly.objects.unmailed(now).values_list("pk", flat=True)[:500]),
        lambda pk: _mail(pk, now),
        lambda pk: log.exception("billing.anomaly_not_mailed", anomaly_id=pk),
    )


@transaction.atomic
def _mail(anomaly_id: int, now: datetime) -> int:
    waiting = SpendAnomaly.objects.select_for_update(skip_locked=True, of=("self",)).select_related("organization")
    anomaly = waiting.filter(pk=anomaly_id, mailed_at=None).first()
    if anomaly is None:
        return 0
    mail_each(
        "spend_anomaly",
        addresses_with(anomaly.organization, Permission.MANAGE_BILLING),
        anomaly=anomaly_row(anomaly),
        organization=anomaly.organization.name,
        address=page_address("billing:cap-list", anomaly.organization.slug),
    )
    anomaly.mailed_at = now
    anomaly.save(update_fields=["mailed_at"])
    return 1


@transaction.atomic
def set_anomaly_mails(*, organization: Organization, is_on: bool, now: datetime) -> None:
    """Let members be mailed of unusual days, or not; what changes nothing is left as it is."""
    lock_organization(organization.pk)
    before = AnomalyMails.objects.owned_by(organization).first()
    was_on = before is None or before.is_on
    if was_on == is_on:
        return
    AnomalyMails.objects.update_or_create(organization=organization, defaults={"is_on": is_on, "changed_at": now})
    record_event(
        "anomaly_mails.changed",
        organization_id=organization.pk,
        target=("organization", organization.public_id),
        changes={"is_on": (was_on, is_on)},
        now=now,
    )
