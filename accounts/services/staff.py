"""The staff of the portal's owner: seven groups, each with least privilege (staff pages say what each may do)."""

from django.contrib.auth.models import Group
from django.db import models, transaction
from django.utils.translation import gettext_lazy as _


class StaffGroup(models.TextChoices):
    SALES = "Sales", _("Sales")
    SUPPORT = "Support", _("Support")
    FINANCE = "Finance", _("Finance")
    COMPLIANCE = "Compliance", _("Compliance")
    CAPACITY = "Capacity", _("Capacity")
    SECURITY = "Security", _("Security")
    AUDITOR = "Auditor", _("Auditor")


@transaction.atomic
def ensure_staff_groups() -> dict[StaffGroup, Group]:
    """Return the staff groups, created where they are missing; nothing happens to those that exist."""
    return {group: Group.objects.get_or_create(name=group.value)[0] for group in StaffGroup}
