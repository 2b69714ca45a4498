"""Keep the price that runs of instances began at, when the list becomes dearer. Rules: docs/algorithms/rating.md.

A kept price is a SKU of its own on the public list, so that whoever prices, shows, bills or verifies usage needs to
know nothing of it. It never changes.
"""

from datetime import datetime

from catalog.models import Price, Product, Sku
from catalog.models.price import kept_sku_code
from catalog.selectors import UnitPrice, list_versions
from portal.lib.tiers import is_dearer, stored


def keep_prices(*, sku: Sku, at: datetime, new: UnitPrice | None) -> None:
    """Let runs that began at a version which is cheaper than `new` keep it from `at` on; None: the SKU is sold no more.

    For instances only. The caller has locked the SKU and withdrawn what had not begun. Versions that are kept already
    stay as they are.
    """
    if sku.product != Product.INSTANCES:
        return
    former = Price.objects.filter(sku=sku, active_from__lt=at)
    kept = set(Price.objects.filter(sku__keeps__in=former).values_list("sku__keeps", flat=True))
    ids = dict(former.values_list("public_id", "pk"))
    for _, _, _, version in list_versions(former.order_by("version")):
        if ids[version.price_id] not in kept and (new is None or is_dearer(new, version)):
            _keep(sku, version, ids[version.price_id], at)


def withdraw_kept(*, sku: Sku, now: datetime) -> None:
    """Take back what was to be kept from an instant to come: the version that it was for is withdrawn."""
    Price.objects.filter(sku__keeps__sku=sku, active_from__gt=now).delete()


def _keep(sku: Sku, version: UnitPrice, version_pk: int, at: datetime) -> None:
    keeper, _ = Sku.objects.get_or_create(
        keeps_id=version_pk,
        defaults={
            "code": kept_sku_code(sku.code, version.price_id),
            "meter": sku.meter,
            "product": sku.product,
            "name": f"{sku.name[:100]}, by runs that began at {version.price_id}",
        },
    )
    Price.objects.create(
        sku=keeper,
        version=1,
        price_nano=version.price_nano,
        unit_size=version.unit_size,
        active_from=at,
        tier_mode=version.tiers.mode.value,
        tiers=stored(version.tiers),
    )
