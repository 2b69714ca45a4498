"""Capacity of a development portal."""

from django.conf import settings
from django.db import transaction

from catalog.models import InstanceType, Region
from compute.models import Pool
from portal.lib.errors import DomainError

# Small enough that a person can sell one out by hand.
DEMO_UNITS = 8
DEMO_OWNER_DEMAND = 2
DEMO_MARGIN = 1


class UnableToMakePools(DomainError):
    code = "unable_to_make_pools"


@transaction.atomic
def ensure_demo_pools() -> int:
    """Make a pool on the local engine for every region and listed instance type without one; return how many.

    Safe to repeat. Raises UnableToMakePools outside development, where capacity is real.
    """
    if not settings.DEVELOPMENT:
        raise UnableToMakePools("Demonstration pools are for development: real ones come from the operator.")
    known = set(Pool.objects.values_list("region_id", "instance_type_id"))
    shapes = list(InstanceType.objects.filter(is_listed=True).order_by("pk"))
    missing = [
        Pool(
            region=region,
            instance_type=shape,
            backend="local",
            total_units=DEMO_UNITS,
            owner_demand=DEMO_OWNER_DEMAND,
            safety_margin=DEMO_MARGIN,
        )
        for region in Region.objects.order_by("pk")
        for shape in shapes
        if (region.pk, shape.pk) not in known
    ]
    return len(Pool.objects.bulk_create(missing))
