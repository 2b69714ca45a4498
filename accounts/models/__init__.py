"""Who: users, organizations and their members, projects, API keys."""

from accounts.models.api_key import ApiKey, KeyLeak, KeyState, OperatorKey, OperatorScope, Overlap, RetiredSecret
from accounts.models.audit import AuditEvent, AuditOrigin
from accounts.models.audit_endpoint import AuditEndpoint, EndpointState
from accounts.models.directory import DirectoryGroup, DirectoryGroupMember, DirectoryPerson, DirectoryToken
from accounts.models.domain import Domain, DomainState
from accounts.models.idempotency import KeptAnswer
from accounts.models.invitation import Invitation, InvitationState
from accounts.models.notice import Notice
from accounts.models.organization import Membership, Organization, Project, ProjectMembership
from accounts.models.rate_limit import RateLimit, Rates
from accounts.models.role import (
    CLOSED_WHILE_STOPPED,
    PERMISSION_OF_SCOPE,
    PERMISSIONS_OF_PROJECT_ROLE,
    PERMISSIONS_OF_ROLE,
    SCOPES_OF_PROJECT,
    Permission,
    ProjectRole,
    Role,
)
from accounts.models.scope import Scope
from accounts.models.service_account import ServiceAccount
from accounts.models.sso import SsoConnection, SsoIdentity
from accounts.models.terms import OrganizationTerms
from accounts.models.user import User

__all__ = [
    "CLOSED_WHILE_STOPPED",
    "PERMISSIONS_OF_PROJECT_ROLE",
    "PERMISSIONS_OF_ROLE",
    "PERMISSION_OF_SCOPE",
    "SCOPES_OF_PROJECT",
    "ApiKey",
    "AuditEndpoint",
    "AuditEvent",
    "AuditOrigin",
    "DirectoryGroup",
    "DirectoryGroupMember",
    "DirectoryPerson",
    "DirectoryToken",
    "Domain",
    "DomainState",
    "EndpointState",
    "Invitation",
    "InvitationState",
    "KeptAnswer",
    "KeyLeak",
    "KeyState",
    "Membership",
    "Notice",
    "OperatorKey",
    "OperatorScope",
    "Organization",
    "OrganizationTerms",
    "Overlap",
    "Permission",
    "Project",
    "ProjectMembership",
    "ProjectRole",
    "RateLimit",
    "Rates",
    "RetiredSecret",
    "Role",
    "Scope",
    "ServiceAccount",
    "SsoConnection",
    "SsoIdentity",
    "User",
]
