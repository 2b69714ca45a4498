"""Reads that need more than one queryset, and the look-ups that come before an organization is known."""

from accounts.selectors.audit import (
    AuditFilters,
    AuditPage,
    AuditRow,
    Head,
    audit_page,
    heads,
    link_batches,
    links,
)
from accounts.selectors.audit_endpoints import EndpointRow, endpoint_row, endpoint_rows
from accounts.selectors.keys import KeyPage, KeyRow, KeyView, key_page, key_view, organization_id_of_key
from accounts.selectors.members import (
    InvitationRow,
    InvitationView,
    MemberPage,
    MemberRow,
    grantable_roles,
    invitation_rows,
    invitation_view,
    is_invited,
    is_only_owner,
    member_page,
    organization_id_of_invitation,
)
from accounts.selectors.organizations import ProjectPage, membership_in, memberships_of, project_page

__all__ = [
    "AuditFilters",
    "AuditPage",
    "AuditRow",
    "EndpointRow",
    "Head",
    "InvitationRow",
    "InvitationView",
    "KeyPage",
    "KeyRow",
    "KeyView",
    "MemberPage",
    "MemberRow",
    "ProjectPage",
    "audit_page",
    "endpoint_row",
    "endpoint_rows",
    "grantable_roles",
    "heads",
    "invitation_rows",
    "invitation_view",
    "is_invited",
    "is_only_owner",
    "key_page",
    "key_view",
    "link_batches",
    "links",
    "member_page",
    "membership_in",
    "memberships_of",
    "organization_id_of_invitation",
    "organization_id_of_key",
    "project_page",
]
