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
from accounts.selectors.keys import KeyPage, KeyRow, KeyView, key_page, key_view, organization_id_of_key
from accounts.selectors.organizations import ProjectPage, membership_in, memberships_of, project_page

__all__ = [
    "AuditFilters",
    "AuditPage",
    "AuditRow",
    "Head",
    "KeyPage",
    "KeyRow",
    "KeyView",
    "ProjectPage",
    "audit_page",
    "heads",
    "key_page",
    "key_view",
    "link_batches",
    "links",
    "membership_in",
    "memberships_of",
    "organization_id_of_key",
    "project_page",
]
