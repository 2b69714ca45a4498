"""Tell who uses something that it becomes dearer, 30 days before.

Noted first and mailed after, so that a mail server's bad hour loses no notice. All of it for the platform role.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.db import transaction

from accounts.models import Organization, Permission
from accounts.services.mails import addresses_with, mail_each, page_address
from billing.models import PriceNotice, SpendByDay
from billing.selectors.prices import prices_of_hours
from billing.selectors.spend import name_skus
from catalog.models import Price
from catalog.selectors import UnitPrice, list_versions
from portal.lib.batches import one_by_one
from portal.lib.periods import day_of
from portal.lib.tiers import is_dearer

log = structlog.get_logger(__name__)

USED_WITHIN = timedelta(days=90)
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class _Rise:
    """A version of the list that is announced and dearer than the one before it."""

    active_from: datetime
    price: UnitPrice


def note_price_changes(*, now: datetime) -> int:
    """Note a notice for each announced higher price and each organization that used the SKU in the last 90 days.

    Who has agreed on a price that stays as it is hears nothing. Return how many; safe to repeat.
    """
    return sum(_note(rise, now) for rise in _rises(now))


def mail_price_notices(*, now: datetime) -> int:
    """Mail what was not mailed yet, one mail for an organization; return to how many organizations.

    A crash between mail and commit mails twice.
    """
    ids = PriceNotice.objects.unmailed(now).values_list("organization_id", flat=True)
    return one_by_one(
        list(dict.fromkeys(ids[:5_000])),
        lambda pk: _mail(pk, now),
        lambda pk: log.exception("billing.price_notice_not_mailed", organization_id=pk),
    )


def _rises(now: datetime) -> Iterable[_Rise]:
    announced = Price.objects.filter(active_from__gt=now).order_by("active_from", "pk")
    for sku, active_from, _, price in list_versions(announced):
        before = Price.objects.filter(sku__code=sku).in_force(active_from - HOUR)
        if any(is_dearer(price, earlier) for _, _, _, earlier in list_versions(before)):
            yield _Rise(active_from, price)


def _note(rise: _Rise, now: datetime) -> int:
    price = rise.price
    told = PriceNotice.objects.filter(list_price_id=price.price_id).values("organization_id")
    used = SpendByDay.objects.filter(sku=price.sku, day__gte=day_of(now - USED_WITHIN))
    concerned = Organization.objects.filter(pk__in=used.values("organization_id"), closed_at=None)
    ids = concerned.exclude(pk__in=told).order_by("pk").values_list("pk", flat=True)
    notices = [notice for organization_id in ids if (notice := _notice(rise, organization_id, now))]
    PriceNotice.objects.bulk_create(notices, ignore_conflicts=True)
    return len(notices)


def _notice(rise: _Rise, organization_id: int, now: datetime) -> PriceNotice | None:
    """Return what an organization is told, None where what it pays does not rise."""
    hours, sku = (rise.active_from - HOUR, rise.active_from), rise.price.sku
    found = prices_of_hours(organization_id, [(hour, sku) for hour in hours])
    before, after = (found.get((hour, sku)) for hour in hours)
    if before is None or after is None or not is_dearer(after, before):
        return None
    return PriceNotice(
        organization_id=organization_id,
        sku=sku,
        list_price_id=rise.price.price_id,
        before_nano=before.price_nano,
        price_nano=after.price_nano,
        unit_size=after.unit_size,
        active_from=rise.active_from,
        noted_at=now,
    )


@transaction.atomic
def _mail(organization_id: int, now: datetime) -> int:
    notices = PriceNotice.objects.unmailed(now).filter(organization_id=organization_id)
    mine = list(notices.select_for_update(skip_locked=True, of=("self",)))
    # What was withdrawn since will not come.
    coming = set(
        Price.objects.filter(public_id__in=[each.list_price_id for each in mine]).values_list("public_id", flat=True)
    )
    rows = [each for each in mine if each.list_price_id in coming]
    if rows:
        organization = Organization.objects.get(pk=organization_id)
        names = name_skus({each.sku for each in rows})
        mail_each(
            "price_change",
            addresses_with(organization, Permission.MANAGE_BILLING),
            organization=organization.name,
            changes=[(names[each.sku], each, page_address("catalog:price-history", each.sku)) for each in rows],
            first=min(each.active_from for each in rows),
        )
    PriceNotice.objects.filter(pk__in=[each.pk for each in mine]).update(mailed_at=now)
    return 1 if rows else 0
