"""Memberships and projects, among them the look-ups that come before an organization is known."""

from dataclasses import dataclass

from django.db.models import Q

from accounts.models import Membership, Organization, Project, User
from accounts.selectors.pages import PAGE_SIZE, is_text


def membership_in(user: User, slug: str) -> Membership | None:
    """Return the user's membership of an organization that is not closed, or None. Needs `set_user` before."""
    memberships = Membership.objects.of_user(user).in_open().select_related("organization")
    return memberships.filter(organization__slug=slug).first()


def memberships_of(user: User) -> list[Membership]:
    """Return the user's memberships of organizations that are not closed, by name. Needs `set_user` before."""
    memberships = Membership.objects.of_user(user).in_open().select_related("organization")
    return list(memberships.order_by("organization__name", "pk"))


@dataclass(frozen=True, slots=True)
class ProjectPage:
    projects: list[Project]
    next_after: str  # the public id to continue after, empty on the last page


def project_page(organization: Organization, after: str) -> ProjectPage:
    """Return 50 projects, oldest first, from the one after the public id `after` on; from the oldest if nothing is."""
    projects = Project.objects.owned_by(organization)
    last = projects.filter(public_id=after).values_list("created_at", "pk").first() if is_text(after) else None
    if last is not None:
        projects = projects.filter(Q(created_at__gt=last[0]) | Q(created_at=last[0], pk__gt=last[1]))
    found = list(projects.in_order()[: PAGE_SIZE + 1])
    return ProjectPage(found[:PAGE_SIZE], found[PAGE_SIZE - 1].public_id if len(found) > PAGE_SIZE else "")
