"""Staff groups."""

import pytest
from django.contrib.auth.models import Group

from accounts.services.staff import ensure_staff_groups


@pytest.mark.django_db
def test_makes_the_seven_groups_once():
    first = ensure_staff_groups()
    second = ensure_staff_groups()

    assert first == second
    assert sorted(Group.objects.values_list("name", flat=True)) == [
        "Auditor",
        "Capacity",
        "Compliance",
        "Finance",
        "Sales",
        "Security",
        "Support",
    ]
