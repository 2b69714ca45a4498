"""Change the price list: versions begin and end on full hours, and none that was ever in force is edited."""

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Max

from catalog.models import Price, Sku
from catalog.models.price import PriceQuerySet
from catalog.selectors import UnitPrice, list_versions
from catalog.services.kept_prices import keep_prices, withdraw_kept
from portal.lib.errors import DomainError
from portal.lib.periods import hour_of
from portal.lib.tiers import NO_TIERS, BadTiers, Tiers, is_dearer, make_tiers, stored


class UnableToPublishPrice(DomainError):
    code = "unable_to_publish_price"


class UnableToEndPrice(DomainError):
    code = "unable_to_end_price"


# Who pays a higher price is told so long before.
NOTICE = timedelta(days=30)


def next_hour(now: datetime) -> datetime:
    """Return the first instant at which a price may change without touching an hour that has begun."""
    return hour_of(now) + timedelta(hours=1)


@transaction.atomic
def publish_price(
    *, sku: Sku, price_nano: int, unit_size: int, active_from: datetime, now: datetime, tiers: Tiers = NO_TIERS
) -> Price:
    """Begin a version of the SKU's price at `active_from`, end the one before it there, and return the new one.

    price_nano: nano-dollars per `unit_size` units. tiers: what the units of a month beyond some cost less.
    Safe to repeat: a price that is in force and stays is returned as it is. A version that was announced and has
    not begun is withdrawn, since nothing can have been priced with it.
    Raises UnableToPublishPrice if `active_from` is no full hour, or has passed although the SKU had a price before,
    if the SKU is sold by another unit, for tiers that contradict each other, or if something becomes dearer than it
    is and was to be in less than 30 days.
    """
    sku = Sku.objects.select_for_update(of=("self",)).select_related("meter").get(pk=sku.pk)
    if sku.keeps_id is not None:
        raise UnableToPublishPrice("This price is kept for runs that began at it: it never changes.")
    if hour_of(active_from) != active_from:
        raise UnableToPublishPrice("A price begins on a full hour, so that no hour of usage has two prices.")
    versions = Price.objects.filter(sku=sku)
    if active_from <= now and versions.filter(active_from__lte=now).exists():
        raise UnableToPublishPrice("A price cannot change for hours that have begun.")

    if versions.exclude(unit_size=unit_size).exists():
        raise UnableToPublishPrice("A SKU is sold by one unit: another one is another SKU.")
    try:
        make_tiers(tiers.mode, stored(tiers), price_nano=price_nano)
    except BadTiers as error:
        raise UnableToPublishPrice(str(error)) from error

    current = versions.in_force(now).first()
    _refuse_sudden_rise(UnitPrice(sku.code, "", price_nano, unit_size, tiers), versions, active_from, now)

    versions.filter(active_from__gt=now).delete()
    withdraw_kept(sku=sku, now=now)
    if current is not None and (current.price_nano, current.tier_mode, current.tiers) == (
        price_nano,
        tiers.mode.value,
        stored(tiers),
    ):
        _set_end(current, None)
        return current
    if current is not None:
        _set_end(current, active_from)
    keep_prices(sku=sku, at=active_from, new=UnitPrice(sku.code, "", price_nano, unit_size, tiers))
    latest = versions.aggregate(version=Max("version"))["version"]
    return Price.objects.create(
        sku=sku,
        version=(latest or 0) + 1,
        price_nano=price_nano,
        unit_size=unit_size,
        active_from=active_from,
        tier_mode=tiers.mode.value,
        tiers=stored(tiers),
    )


@transaction.atomic
def end_price(*, sku: Sku, active_to: datetime, now: datetime) -> Price:
    """Stop selling the SKU at `active_to`; usage after that is refused as unpriced. Returns the version that ends.

    Instances that run keep the price that they began at.

    Safe to repeat. A version that has not begun is withdrawn.
    Raises UnableToEndPrice if `active_to` is no full hour or has passed, or nothing is in force.
    """
    sku = Sku.objects.select_for_update(of=("self",)).select_related("meter").get(pk=sku.pk)
    if sku.keeps_id is not None:
        raise UnableToEndPrice("This price is kept for runs that began at it: it never ends.")
    if hour_of(active_to) != active_to or active_to <= now:
        raise UnableToEndPrice("A price ends on a full hour that has not begun.")
    versions = Price.objects.filter(sku=sku)
    current = versions.in_force(now).first()
    if current is None:
        raise UnableToEndPrice(f"{sku} has no price in force.")

    versions.filter(active_from__gt=now).delete()
    withdraw_kept(sku=sku, now=now)
    keep_prices(sku=sku, at=active_to, new=None)
    _set_end(current, active_to)
    return current


def _refuse_sudden_rise(price: UnitPrice, versions: PriceQuerySet, active_from: datetime, now: datetime) -> None:
    """Raise UnableToPublishPrice for a price that is dearer than today's and than what was announced, too soon."""
    if active_from <= now or active_from >= now + NOTICE:
        return
    known = [found for at in (now, active_from) for _, _, _, found in list_versions(versions.in_force(at))]
    if known and all(is_dearer(price, other) for other in known):
        raise UnableToPublishPrice("A higher price is announced at least 30 days before it begins.")


def _set_end(price: Price, active_to: datetime | None) -> None:
    price.active_to = active_to
    price.save(update_fields=["active_to"])
