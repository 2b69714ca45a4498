"""Reads that other apps and pages use."""

from dataclasses import dataclass

from django.conf import settings

from accounts.models import Organization
from billing.models import SpendCap
from portal.lib.money import usd_to_nano


@dataclass(frozen=True, slots=True)
class Budget:
    """An organization's cap in nano-dollars; remaining is what a new reservation may take."""

    limit_nano: int
    settled_nano: int
    reserved_nano: int
    remaining_nano: int


def budget_of(organization: Organization) -> Budget:
    """Return the organization's budget; before its account is open, that is the starter credit."""
    amounts = ("limit_nano", "settled_nano", "reserved_nano")
    # At most one: without asking for the first, and without an instance, this is what most pages read.
    for limit_nano, settled_nano, reserved_nano in SpendCap.objects.of_organization(organization.pk).values_list(
        *amounts
    ):
        return Budget(limit_nano, settled_nano, reserved_nano, limit_nano - settled_nano - reserved_nano)
    starter_nano = starter_credit_nano()
    return Budget(starter_nano, 0, 0, starter_nano)


def starter_credit_nano() -> int:
    """Return what a new organization may spend before it pays, in nano-dollars."""
    return usd_to_nano(settings.STARTER_CREDIT_USD)


def organization_ids_without_cap() -> list[int]:
    """Return the organizations whose account nobody opened yet, oldest first. For the platform role."""
    with_cap = SpendCap.objects.filter(scope=SpendCap.Scope.ORGANIZATION).values("organization_id")
    return list(Organization.objects.exclude(pk__in=with_cap).order_by("pk").values_list("pk", flat=True))
