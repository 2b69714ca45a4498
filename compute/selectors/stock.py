"""Reads that pages, programs and other apps need."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.utils.translation import gettext as _

from catalog.models import InstanceType
from compute.models import Pool

# From here on a page says that few are left, since the next click may come too late.
FEW_UNITS = 2

type Place = tuple[str, str]  # name of a region, name of an instance type


def capacity_left(instance_types: Iterable[InstanceType] | None = None) -> dict[Place, int]:
    """Return the units that can be sold now by (region name, instance type name), never below zero, in one query.

    A pair without a pool is missing. instance_types: only these; None means all.
    """
    pools = Pool.objects.select_related("region", "instance_type")
    if instance_types is not None:
        pools = pools.filter(instance_type__in=list(instance_types))
    return {(pool.region.name, pool.instance_type.name): max(pool.free_units, 0) for pool in pools}


@dataclass(frozen=True, slots=True)
class Stock:
    """What a page says about one instance type in one region: a word, never the number of units."""

    region: str
    region_description: str
    status: str  # available, limited, unavailable
    label: str

    @property
    def is_free(self) -> bool:
        return self.status != "unavailable"


def stock_by_type(instance_type: str | None = None) -> dict[str, tuple[Stock, ...]]:
    """Return where each instance type (or only that one) is offered and how much is left there, by region name."""
    pools = Pool.objects.select_related("region", "instance_type").order_by("region__name")
    if instance_type is not None:
        pools = pools.filter(instance_type__name=instance_type)
    stock: dict[str, tuple[Stock, ...]] = {}
    for pool in pools:
        stock[pool.instance_type.name] = (*stock.get(pool.instance_type.name, ()), _stock(pool))
    return stock


def _stock(pool: Pool) -> Stock:
    if pool.free_units <= 0:
        status, label = "unavailable", _("Sold out")
    elif pool.free_units <= FEW_UNITS:
        status, label = "limited", _("Few left")
    else:
        status, label = "available", _("Available")
    return Stock(pool.region.name, pool.region.description, status, label)
