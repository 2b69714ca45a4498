"""Roles of members, and what each may do: the one table that code, pages and docs/permissions.md share."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models.scope import Scope


class Role(models.TextChoices):
    OWNER = "owner", _("Owner")
    ADMIN = "admin", _("Admin")
    DEVELOPER = "developer", _("Developer")
    BILLING = "billing", _("Billing")
    VIEWER = "viewer", _("Viewer")


class ProjectRole(models.TextChoices):
    PRINCIPAL_INVESTIGATOR = "principal_investigator", _("Principal investigator")
    MEMBER = "member", _("Member")


class Permission(models.TextChoices):
    VIEW = "view", _("See pages of the organization")
    USE_MODELS = "use_models", _("Call models in the console")
    MANAGE_KEYS = "manage_keys", _("Create, rotate and revoke API keys")
    MANAGE_SERVICE_ACCOUNTS = "manage_service_accounts", _("Create, disable and delete service accounts")
    MANAGE_INSTANCES = "manage_instances", _("Launch, stop and end instances; manage SSH keys and volumes")
    VIEW_SPEND = "view_spend", _("See spend, caps and invoices")
    MANAGE_BILLING = "manage_billing", _("Change caps, payment methods and tax details")
    MANAGE_PROJECTS = "manage_projects", _("Create and rename projects")
    MANAGE_PROJECT_MEMBERS = "manage_project_members", _("Say who leads a project and who works in it")
    MANAGE_MEMBERS = "manage_members", _("Invite and remove members, change roles")
    MANAGE_ORGANIZATION = "manage_organization", _("Change the organization's settings")
    MANAGE_SIGN_ON = "manage_sign_on", _("Set up single sign-on, require it, name who may enter without")
    VIEW_AUDIT_LOG = "view_audit_log", _("See, export and verify the audit log")
    OWN = "own", _("Transfer or delete the organization")


_EVERYBODY = {Permission.VIEW}
_BUILDERS = {
    Permission.USE_MODELS,
    Permission.MANAGE_KEYS,
    Permission.MANAGE_INSTANCES,
    Permission.VIEW_SPEND,
}
_MONEY = {Permission.VIEW_SPEND, Permission.MANAGE_BILLING}
_LEADERS = {
    Permission.MANAGE_PROJECTS,
    Permission.MANAGE_SERVICE_ACCOUNTS,
    Permission.MANAGE_PROJECT_MEMBERS,
    Permission.MANAGE_MEMBERS,
    Permission.MANAGE_ORGANIZATION,
    Permission.VIEW_AUDIT_LOG,
}

PERMISSIONS_OF_ROLE: dict[Role, frozenset[Permission]] = {
    Role.OWNER: frozenset(Permission),
    Role.ADMIN: frozenset(_EVERYBODY | _BUILDERS | _MONEY | _LEADERS),
    Role.DEVELOPER: frozenset(_EVERYBODY | _BUILDERS),
    Role.BILLING: frozenset(_EVERYBODY | _MONEY),
    Role.VIEWER: frozenset(_EVERYBODY),
}

# What an organization is refused while its work is stopped for an unpaid bill: what these permissions begin or make.
# It needs the others to pay, to export, to leave and to stay safe. Where a door departs from this, it says so itself.
CLOSED_WHILE_STOPPED = frozenset(
    {
        Permission.USE_MODELS,
        Permission.MANAGE_KEYS,
        Permission.MANAGE_SERVICE_ACCOUNTS,
        Permission.MANAGE_INSTANCES,
        Permission.MANAGE_PROJECTS,
    }
)

_WORKERS = {Permission.MANAGE_KEYS, Permission.MANAGE_INSTANCES}

# What a part in a project adds to the role in the organization, within that project only.
PERMISSIONS_OF_PROJECT_ROLE: dict[ProjectRole, frozenset[Permission]] = {
    ProjectRole.PRINCIPAL_INVESTIGATOR: frozenset(
        _WORKERS | {Permission.MANAGE_SERVICE_ACCOUNTS, Permission.MANAGE_PROJECT_MEMBERS}
    ),
    ProjectRole.MEMBER: frozenset(_WORKERS),
}
GIVEN_IN_PROJECTS = frozenset[Permission]().union(*PERMISSIONS_OF_PROJECT_ROLE.values())

# Nobody gives a key what they may not do themselves in the whole organization, which is how far a key reaches.
PERMISSION_OF_SCOPE: dict[Scope, Permission] = {
    Scope.INFERENCE: Permission.USE_MODELS,
    Scope.INSTANCES_READ: Permission.VIEW,
    Scope.INSTANCES_WRITE: Permission.MANAGE_INSTANCES,
    Scope.USAGE_READ: Permission.VIEW_SPEND,
    Scope.BILLING_READ: Permission.VIEW_SPEND,
    Scope.KEYS_WRITE: Permission.MANAGE_KEYS,
    Scope.WEBHOOKS_WRITE: Permission.MANAGE_KEYS,
    Scope.AUDIT_READ: Permission.VIEW_AUDIT_LOG,
}
# But these reach no further than the key's project, so whoever manages its keys may give them.
SCOPES_OF_PROJECT = frozenset({Scope.INFERENCE})
