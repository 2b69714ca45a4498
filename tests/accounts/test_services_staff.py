"""Staff groups."""

from io import StringIO

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command

from accounts.services.staff import GROUPS_OF_PERMISSION, StaffGroup, ensure_staff_groups

pytestmark = pytest.mark.django_db


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


def test_every_right_that_is_given_is_there():
    permissions = Permission.objects.select_related("content_type")

    known = {f"{each.content_type.app_label}.{each.codename}" for each in permissions}
    assert set(GROUPS_OF_PERMISSION) <= known


def test_the_command_gives_what_a_new_version_brings_and_takes_what_is_nobody_s_any_more():
    finance = ensure_staff_groups()[StaffGroup.FINANCE]
    hers = set(finance.permissions.values_list("pk", flat=True))
    finance.permissions.set(Permission.objects.filter(codename="delete_user"))

    call_command("staff_groups", stdout=StringIO())

    assert set(finance.permissions.values_list("pk", flat=True)) == hers
