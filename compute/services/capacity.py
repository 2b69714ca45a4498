"""Take units out of pools and give them back; the only writer of `sold_units`."""

from http import HTTPStatus
from typing import ClassVar

from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext as _

from catalog.models import InstanceType, Region
from compute.models import Instance, Pool
from portal.lib.errors import DomainError


class InsufficientCapacity(DomainError):
    """The pool has fewer free units than asked; nothing was taken."""

    status: ClassVar[HTTPStatus] = HTTPStatus.CONFLICT
    code: ClassVar[str] = "insufficient_capacity"


@transaction.atomic
def take_units(*, region: Region, instance_type: InstanceType, count: int) -> Pool:
    """Sell `count` units by one conditional update, so that no race can oversell, and return their pool.

    Raises InsufficientCapacity with a sentence that says where there is some.
    """
    pools = Pool.objects.filter(region=region, instance_type=instance_type)
    room = F("total_units") - F("owner_demand") - F("safety_margin") - count
    if not pools.filter(sold_units__lte=room).update(sold_units=F("sold_units") + count):
        raise InsufficientCapacity(_no_capacity(region, instance_type, count))
    return pools.get()


def give_back_unit(instance: Instance) -> None:
    """Return the unit of a locked instance to its pool, exactly once; the caller saves the row."""
    if instance.holds_unit:
        Pool.objects.filter(pk=instance.pool_id).update(sold_units=F("sold_units") - 1)
        instance.holds_unit = False


def _no_capacity(region: Region, instance_type: InstanceType, count: int) -> str:
    pools = Pool.objects.filter(instance_type=instance_type).select_related("region").order_by("region__name")
    elsewhere = [pool.region.name for pool in pools if pool.free_units >= count and pool.region_id != region.pk]
    facts = {"type": instance_type.name, "region": region.name, "others": ", ".join(elsewhere)}
    if elsewhere:
        return _("%(type)s has just sold out in %(region)s. It is free in %(others)s.") % facts
    return _("%(type)s has just sold out everywhere. Choose another instance type, or try again later.") % facts
