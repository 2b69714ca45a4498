"""Who: users, organizations and their members, projects, API keys."""

from accounts.models.api_key import ApiKey, KeyLeak, KeyState, OperatorKey, OperatorScope, Overlap, RetiredSecret, Scope
from accounts.models.audit import AuditEvent, AuditOrigin
from accounts.models.directory import DirectoryGroup, DirectoryGroupMember, DirectoryPerson, DirectoryToken
from accounts.models.domain import Domain, DomainState
from accounts.models.idempotency import KeptAnswer
from accounts.models.invitation import Invitation, InvitationState
from accounts.models.notice import Notice
from accounts.models.organization import Membership, Organization, Project, ProjectMembership
from accounts.models.role import PERMISSIONS_OF_ROLE, Permission, ProjectRole, Role
from accounts.models.user import User

__all__ = [
    "PERMISSIONS_OF_ROLE",
    "ApiKey",
    "AuditEvent",
    "AuditOrigin",
    "DirectoryGroup",
    "DirectoryGroupMember",
    "DirectoryPerson",
    "DirectoryToken",
    "Domain",
    "DomainState",
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
    "Overlap",
    "Permission",
    "Project",
    "ProjectMembership",
    "ProjectRole",
    "RetiredSecret",
    "Role",
    "Scope",
    "User",
]
