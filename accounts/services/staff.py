"""The staff of the portal's owner: seven groups, each with least privilege (staff pages say what each may do)."""

from django.contrib.auth.models import Group, Permission
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


# Right of the admin, with its app -> who has it.
GROUPS_OF_PERMISSION = {
    "accounts.hold_organization": (StaffGroup.COMPLIANCE, StaffGroup.SECURITY),
    "accounts.change_operatorkey": (StaffGroup.CAPACITY,),
    "accounts.view_operatorkey": (StaffGroup.CAPACITY, StaffGroup.SECURITY, StaffGroup.AUDITOR),
    "accounts.change_ratelimit": (StaffGroup.SALES, StaffGroup.CAPACITY),
    "accounts.view_ratelimit": (StaffGroup.SALES, StaffGroup.CAPACITY, StaffGroup.SUPPORT, StaffGroup.AUDITOR),
    "inference.change_deployment": (StaffGroup.CAPACITY,),
    "inference.view_deployment": (StaffGroup.CAPACITY, StaffGroup.SUPPORT, StaffGroup.AUDITOR),
    "billing.change_usagefate": (StaffGroup.FINANCE, StaffGroup.CAPACITY),
    "billing.view_usagefate": (StaffGroup.FINANCE, StaffGroup.CAPACITY, StaffGroup.SUPPORT, StaffGroup.AUDITOR),
    "catalog.view_priceproposal": (
        StaffGroup.CAPACITY,
        StaffGroup.FINANCE,
        StaffGroup.SALES,
        StaffGroup.SUPPORT,
        StaffGroup.AUDITOR,
    ),
    "catalog.propose_price": (StaffGroup.CAPACITY, StaffGroup.FINANCE),
    "catalog.approve_price": (StaffGroup.FINANCE,),
    "billing.view_contract": (StaffGroup.SALES, StaffGroup.FINANCE, StaffGroup.SUPPORT, StaffGroup.AUDITOR),
    "billing.draft_contract": (StaffGroup.SALES, StaffGroup.FINANCE),
    "billing.approve_contract": (StaffGroup.FINANCE,),
    "billing.view_refund": (StaffGroup.FINANCE, StaffGroup.SUPPORT, StaffGroup.AUDITOR),
    "billing.propose_refund": (StaffGroup.FINANCE,),
    "billing.approve_refund": (StaffGroup.FINANCE,),
    "billing.view_dispute": (StaffGroup.FINANCE, StaffGroup.SUPPORT, StaffGroup.AUDITOR),
    "billing.answer_dispute": (StaffGroup.FINANCE,),
    "billing.view_invoice": (StaffGroup.FINANCE, StaffGroup.SUPPORT, StaffGroup.AUDITOR),
    "billing.view_payment": (StaffGroup.FINANCE, StaffGroup.SUPPORT, StaffGroup.AUDITOR),
    "billing.view_creditnote": (StaffGroup.FINANCE, StaffGroup.SUPPORT, StaffGroup.AUDITOR),
    # One of them proposes, another issues.
    "billing.add_creditnote": (StaffGroup.FINANCE,),
    "billing.change_creditnote": (StaffGroup.FINANCE,),
    "billing.view_goodwill": (StaffGroup.FINANCE, StaffGroup.SUPPORT, StaffGroup.AUDITOR),
    # One of them proposes, another gives.
    "billing.add_goodwill": (StaffGroup.FINANCE,),
    "billing.change_goodwill": (StaffGroup.FINANCE,),
    "billing.view_givenupdebt": (StaffGroup.FINANCE, StaffGroup.AUDITOR),
    # One of them proposes, another gives up.
    "billing.add_givenupdebt": (StaffGroup.FINANCE,),
    "billing.change_givenupdebt": (StaffGroup.FINANCE,),
    "billing.view_skucost": (StaffGroup.FINANCE, StaffGroup.AUDITOR),
    "billing.add_skucost": (StaffGroup.FINANCE,),
    "billing.view_difference": (StaffGroup.FINANCE, StaffGroup.AUDITOR),
    "billing.change_difference": (StaffGroup.FINANCE,),
    "accounts.view_organizationterms": (
        StaffGroup.SALES,
        StaffGroup.FINANCE,
        StaffGroup.COMPLIANCE,
        StaffGroup.AUDITOR,
    ),
    "accounts.propose_terms": (StaffGroup.SALES, StaffGroup.FINANCE),
    "accounts.approve_terms": (StaffGroup.FINANCE,),
    "billing.view_billingdetails": (
        StaffGroup.SALES,
        StaffGroup.FINANCE,
        StaffGroup.COMPLIANCE,
        StaffGroup.AUDITOR,
    ),
    "billing.confirm_tax_details": (StaffGroup.FINANCE,),
    "billing.view_banktransfer": (StaffGroup.FINANCE, StaffGroup.SUPPORT, StaffGroup.AUDITOR),
    "billing.record_transfer": (StaffGroup.FINANCE,),
    "billing.view_standing": (StaffGroup.FINANCE, StaffGroup.SALES, StaffGroup.SUPPORT, StaffGroup.AUDITOR),
    "billing.approve_suspension": (StaffGroup.FINANCE,),
    "billing.view_ledgeraccount": (StaffGroup.FINANCE, StaffGroup.SUPPORT, StaffGroup.AUDITOR),
    "billing.view_ledgerentry": (StaffGroup.FINANCE, StaffGroup.SUPPORT, StaffGroup.AUDITOR),
}


@transaction.atomic
def ensure_staff_groups() -> dict[StaffGroup, Group]:
    """Return the staff groups, created where they are missing, with exactly the rights that are theirs; safe to repeat.

    `manage.py staff_groups` after each migration of a deployment, so that who works here has what a new version brings
    and no more; `make up` does it with each start.
    """
    groups = {group: Group.objects.get_or_create(name=group.value)[0] for group in StaffGroup}
    permissions = Permission.objects.select_related("content_type")
    known = {f"{each.content_type.app_label}.{each.codename}": each for each in permissions}
    for group, row in groups.items():
        mine = [name for name, holders in GROUPS_OF_PERMISSION.items() if group in holders]
        row.permissions.set([known[name] for name in mine])
    return groups
