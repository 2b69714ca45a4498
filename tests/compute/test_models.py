"""What the database refuses, whoever asks."""

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import F

from compute.models import Pool
from tests.factories.compute import make_pool

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("limits", [{}, {"owner_demand": 2}, {"safety_margin": 1, "owner_demand": 1}])
def test_never_sells_more_units_than_are_free(limits):
    pool = make_pool(total_units=4, **limits)
    free = 4 - sum(limits.values())
    Pool.objects.filter(pk=pool.pk).update(sold_units=free)

    with pytest.raises(IntegrityError), transaction.atomic():
        Pool.objects.filter(pk=pool.pk).update(sold_units=F("sold_units") + 1)

    pool.refresh_from_db()
    assert pool.sold_units == free


def test_lets_owner_demand_rise_above_what_is_sold_and_units_come_back():
    pool = make_pool(total_units=4, sold_units=4)

    Pool.objects.filter(pk=pool.pk).update(owner_demand=3)
    Pool.objects.filter(pk=pool.pk).update(sold_units=F("sold_units") - 1)

    pool.refresh_from_db()
    assert (pool.owner_demand, pool.sold_units) == (3, 3)


def test_forces_row_level_security_on_every_tenant_table():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relname LIKE 'compute\\_%%' AND relkind = 'r' AND relforcerowsecurity"
        )
        forced = {row[0] for row in cursor.fetchall()}

    assert forced == {"compute_sshkey", "compute_instance", "compute_healthinterval", "compute_instanceevent"}
