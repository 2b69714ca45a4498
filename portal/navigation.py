"""The rail, as data: add an entry here when its page exists on main."""

import re
from dataclasses import dataclass

from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounts.models import Membership, Organization, Permission


@dataclass(frozen=True, slots=True)
class Entry:
    """One page that the rail leads to.

    icon: a name of the lucide set. of_organization: the address takes the organization's slug.
    """

    label: str | Promise
    icon: str
    url_name: str
    permission: Permission = Permission.VIEW
    of_organization: bool = True

    def address(self, organization_slug: str) -> str | None:
        """Return the page's address, or None while no such page exists."""
        try:
            return reverse(self.url_name, args=[organization_slug] if self.of_organization else [])
        except NoReverseMatch:
            return None


@dataclass(frozen=True, slots=True)
class Group:
    """Entries under one heading; the first group has none."""

    label: str | Promise
    entries: tuple[Entry, ...]


OVERVIEW_PATH = re.compile(r"/o/[^/]+/")
OVERVIEW = Entry(_("Overview"), "layout-dashboard", "overview")

ORGANIZATION = (
    Group(
        "",
        (
            OVERVIEW,
            Entry(_("Quickstart"), "zap", "quickstart", Permission.USE_MODELS),
        ),
    ),
    Group(
        _("Models"),
        (
            Entry(_("Catalog"), "boxes", "catalog:model-list", of_organization=False),
            Entry(_("API keys"), "key-round", "accounts:key-list"),
            Entry(_("Requests"), "list", "inference:receipt-list"),
            Entry(_("Rate limits"), "timer", "accounts:rate-limit-list"),
        ),
    ),
    Group(
        _("Compute"),
        (
            Entry(_("Launch"), "rocket", "compute:instance-launch", Permission.MANAGE_INSTANCES),
            Entry(_("Instances"), "server", "compute:instance-list"),
            Entry(_("SSH keys"), "square-terminal", "compute:ssh-key-list"),
        ),
    ),
    Group(
        _("Billing"),
        (
            Entry(_("Spend"), "chart-column", "billing:spend", Permission.VIEW_SPEND),
            Entry(_("Credit"), "wallet", "billing:credit", Permission.VIEW_SPEND),
            Entry(_("Spend caps"), "gauge", "billing:cap-list", Permission.VIEW_SPEND),
            Entry(_("Invoices"), "receipt-text", "billing:invoice-list", Permission.VIEW_SPEND),
        ),
    ),
    Group(
        _("Organization"),
        (
            Entry(_("Members"), "users-round", "accounts:member-list"),
            Entry(_("Directory"), "folder-sync", "accounts:directory", Permission.MANAGE_MEMBERS),
            Entry(_("Projects"), "folder-kanban", "accounts:project-list"),
            Entry(_("Domains"), "globe", "accounts:domain-list", Permission.MANAGE_ORGANIZATION),
            Entry(_("Single sign-on"), "log-in", "accounts:sso-settings", Permission.MANAGE_SIGN_ON),
            Entry(_("Service accounts"), "bot", "accounts:service-account-list"),
            Entry(_("Audit log"), "scroll-text", "accounts:audit-log", Permission.VIEW_AUDIT_LOG),
            Entry(_("Settings"), "settings-2", "accounts:organization-settings", Permission.MANAGE_ORGANIZATION),
            Entry(_("Data"), "database", "organization-data", Permission.OWN),
        ),
    ),
)

# What a person sets for themselves, whatever the organization.
PERSONAL = (
    Group(
        _("Your sign-in"),
        (
            Entry(_("E-mail address"), "mail", "account_email", of_organization=False),
            Entry(_("Password"), "lock", "account_change_password", of_organization=False),
            Entry(_("Passkeys and 2FA"), "fingerprint-pattern", "mfa_index", of_organization=False),
            Entry(_("Accounts elsewhere"), "link", "socialaccount_connections", of_organization=False),
            Entry(_("Sessions"), "monitor-smartphone", "usersessions_list", of_organization=False),
            Entry(_("Your data"), "database", "your-data", of_organization=False),
        ),
    ),
)

# The top bar for visitors.
PUBLIC = (
    Group(
        "",
        (
            Entry(_("Models"), "boxes", "catalog:model-list", of_organization=False),
            Entry(_("Instance types"), "server", "compute:instance-type-list", of_organization=False),
            Entry(_("Pricing"), "tag", "catalog:pricing", of_organization=False),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Link:
    """An entry as one reader sees it. current: the value of aria-current, or an empty string."""

    label: str
    icon: str
    address: str
    current: str


@dataclass(frozen=True, slots=True)
class LinkGroup:
    label: str
    links: tuple[Link, ...]


def links_for(groups: tuple[Group, ...], membership: Membership | None, path: str) -> tuple[LinkGroup, ...]:
    """Return the groups with the entries that exist and that the member may use; groups without any are left out."""
    slug = membership.organization.slug if membership else ""
    found = [
        (group, entry, address)
        for group in groups
        for entry in group.entries
        if (membership is None or membership.may_somewhere(entry.permission)) and (address := entry.address(slug))
    ]
    here = _nearest([address for _group, _entry, address in found], path)
    return tuple(
        LinkGroup(
            str(group.label),
            tuple(
                Link(str(entry.label), entry.icon, address, _current(address, here, path))
                for of, entry, address in found
                if of is group
            ),
        )
        for group in groups
        if any(of is group for of, _entry, _address in found)
    )


def overview_address(organization: Organization) -> str:
    """Return where an organization begins; until it has an overview, the home page."""
    return OVERVIEW.address(organization.slug) or reverse("home")


def _nearest(addresses: list[str], path: str) -> str:
    """Return the longest address that the path is at or below; no page is below an overview, /o/acme/."""
    below = [a for a in addresses if a == path or (path.startswith(a) and not OVERVIEW_PATH.fullmatch(a))]
    return max(below, key=len, default="")


def _current(address: str, here: str, path: str) -> str:
    if address != here:
        return ""
    return "page" if address == path else "true"
