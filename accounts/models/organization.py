"""Organizations, the tenants and billed parties, with their projects and members."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import cached_property

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts.models.role import (
    GIVEN_IN_PROJECTS,
    PERMISSION_OF_SCOPE,
    PERMISSIONS_OF_PROJECT_ROLE,
    PERMISSIONS_OF_ROLE,
    SCOPES_OF_PROJECT,
    Permission,
    ProjectRole,
    Role,
)
from accounts.models.scope import Scope
from accounts.models.user import User
from portal.lib.public_ids import new_mem_id, new_org_id, new_proj_id


class OrganizationQuerySet(models.QuerySet["Organization"]):
    def closed(self) -> OrganizationQuerySet:
        return self.filter(closed_at__isnull=False)

    def due_to_close(self, now: datetime) -> OrganizationQuerySet:
        return self.filter(closed_at=None, closes_at__lte=now)

    def unannounced(self) -> OrganizationQuerySet:
        """Those whose owners have not been mailed how it stands."""
        is_open, is_closed = Q(closes_at=None, closed_at=None), Q(closed_at__isnull=False)
        is_closing = Q(closes_at__isnull=False, closed_at=None)
        told = Q(is_open, announced="open") | Q(is_closing, announced="closing") | Q(is_closed, announced="closed")
        return self.exclude(told)


class Organization(models.Model):
    """The tenant: everything a customer has belongs to exactly one.

    open -> closing (an owner asked, `closes_at` is when) -> closed: nobody enters, nothing runs, the bill stays.
    Until it is closed an owner may keep it.
    """

    class Standing(models.TextChoices):
        OPEN = "open", _("Open")
        CLOSING = "closing", _("Being deleted")
        CLOSED = "closed", _("Closed")

    class PaymentState(models.TextChoices):
        GOOD = "good", _("Good")
        PAST_DUE = "past_due", _("Past due")
        GRACE = "grace", _("Grace")
        SUSPENDED = "suspended", _("Suspended")
        TERMINATED = "terminated", _("Terminated")
        DISPUTED = "disputed", _("Disputed")

    class Kind(models.TextChoices):
        STARTUP = "startup", _("Startup")
        RESEARCH = "research", _("Research institution")
        ENTERPRISE = "enterprise", _("Enterprise")

    public_id = models.CharField(max_length=32, unique=True, default=new_org_id, editable=False)
    name = models.CharField(_("name"), max_length=120)
    slug = models.SlugField(_("address"), max_length=60, unique=True)
    kind = models.CharField(_("kind"), max_length=20, choices=Kind)
    created_at = models.DateTimeField()
    # While it stands nothing of the organization is deleted for its age, and none of its members is erased.
    legal_hold = models.BooleanField(_("legal hold"), default=False)
    closes_at = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)
    # Since then people of its verified domains enter through its identity provider; break-glass owners need not.
    sso_required_at = models.DateTimeField(null=True, blank=True)
    # How it stands with its bills: billing writes it, pages and services that give something new read it.
    payment_state = models.CharField(max_length=12, choices=PaymentState, default=PaymentState.GOOD, db_default="good")
    # What owners were last mailed about; another standing than this one has to be told.
    announced = models.CharField(max_length=8, choices=Standing, default=Standing.OPEN, db_default="open")

    objects = OrganizationQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(closed_at=None) | Q(closes_at__isnull=False, closed_at__gte=F("closes_at")),
                name="organization_closed_after_grace",
            ),
        ]
        permissions = [("hold_organization", "Can set and clear legal holds")]

    def __str__(self) -> str:
        return f"{self.name} ({self.slug})"

    @property
    def standing(self) -> Organization.Standing:
        if self.closed_at is not None:
            return self.Standing.CLOSED
        return self.Standing.OPEN if self.closes_at is None else self.Standing.CLOSING

    @property
    def may_have_new(self) -> bool:
        """Whether it may get new instances, keys and higher caps: not while a bill is long overdue."""
        return self.payment_state in (self.PaymentState.GOOD, self.PaymentState.PAST_DUE)

    @property
    def is_stopped(self) -> bool:
        """Whether nothing runs for it and its pages are for reading, paying and leaving only."""
        return self.payment_state in (self.PaymentState.SUSPENDED, self.PaymentState.TERMINATED)


class ProjectQuerySet(models.QuerySet["Project"]):
    def owned_by(self, organization: Organization) -> ProjectQuerySet:
        return self.filter(organization=organization)

    def in_order(self) -> ProjectQuerySet:
        return self.order_by("created_at", "pk")


class Project(models.Model):
    """A budget and a set of keys and instances inside an organization."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="projects")
    public_id = models.CharField(max_length=32, unique=True, default=new_proj_id, editable=False)
    name = models.CharField(_("name"), max_length=120)
    slug = models.SlugField(_("address"), max_length=60)
    created_at = models.DateTimeField()
    # The region in which its requests to models are served, and nowhere else; empty for any.
    region_name = models.CharField(_("region"), max_length=40, default="", db_default="", blank=True)

    objects = ProjectQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="project_organization_id"),
            models.UniqueConstraint(fields=["organization", "slug"], name="project_slug_unique_in_organization"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.public_id})"


class MembershipQuerySet(models.QuerySet["Membership"]):
    def owned_by(self, organization: Organization) -> MembershipQuerySet:
        return self.filter(organization=organization)

    def of_user(self, user: User) -> MembershipQuerySet:
        return self.filter(user=user)

    def in_open(self) -> MembershipQuerySet:
        return self.filter(organization__closed_at=None)

    def in_order(self) -> MembershipQuerySet:
        return self.select_related("user").order_by("created_at", "pk")


class Membership(models.Model):
    """A person in an organization, with one role."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    public_id = models.CharField(max_length=32, unique=True, default=new_mem_id, editable=False)
    role = models.CharField(_("role"), max_length=20, choices=Role)
    created_at = models.DateTimeField()
    # An owner who may enter without single sign-on where it is required, so that nobody is locked out with it.
    is_break_glass = models.BooleanField(default=False, db_default=False)

    objects = MembershipQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="membership_organization_id"),
            models.UniqueConstraint(fields=["user", "organization"], name="membership_once_per_user"),
            models.CheckConstraint(
                condition=Q(is_break_glass=False) | Q(role=Role.OWNER.value), name="membership_break_glass_is_owner"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} as {self.get_role_display()} of {self.organization}"

    def may(self, permission: Permission) -> bool:
        return permission in PERMISSIONS_OF_ROLE[Role(self.role)]

    @cached_property
    def parts(self) -> dict[int, ProjectRole]:
        """The member's part in each project where they have one, by the project's number."""
        return {project: ProjectRole(role) for project, role in self.projects.values_list("project_id", "role")}

    def may_in(self, permission: Permission, project_id: int) -> bool:
        """Whether this member may do something in a project: by their role, or by their part in it."""
        if self.may(permission):
            return True
        part = self.parts.get(project_id) if permission in GIVEN_IN_PROJECTS else None
        return part is not None and permission in PERMISSIONS_OF_PROJECT_ROLE[part]

    def may_somewhere(self, permission: Permission) -> bool:
        """Whether there is a project in which this member may do something."""
        if self.may(permission):
            return True
        parts = set(self.parts.values()) if permission in GIVEN_IN_PROJECTS else set()
        return any(permission in PERMISSIONS_OF_PROJECT_ROLE[part] for part in parts)

    def may_give(self, scopes: Iterable[str], project_id: int) -> bool:
        """Whether this member may let a key of a project do all of this."""
        return all(
            self.may(PERMISSION_OF_SCOPE[Scope(scope)])
            or (scope in SCOPES_OF_PROJECT and self.may_in(Permission.MANAGE_KEYS, project_id))
            for scope in scopes
        )

    def may_grant(self, role: Role) -> bool:
        """Whether this member may give somebody the role, or take it away: owners are made and unmade by owners."""
        return self.may(Permission.MANAGE_MEMBERS) and (role != Role.OWNER or self.role == Role.OWNER)


class ProjectMembershipQuerySet(models.QuerySet["ProjectMembership"]):
    def owned_by(self, organization: Organization) -> ProjectMembershipQuerySet:
        return self.filter(organization=organization)

    def in_order(self) -> ProjectMembershipQuerySet:
        return self.select_related("membership__user").order_by("created_at", "pk")


class ProjectMembership(models.Model):
    """A member's part in one project: who leads it and who works in it. It ends with the membership."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="members")
    membership = models.ForeignKey(Membership, on_delete=models.CASCADE, related_name="projects")
    role = models.CharField(_("role"), max_length=24, choices=ProjectRole)
    created_at = models.DateTimeField()

    objects = ProjectMembershipQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="project_membership_organization_id"),
            models.UniqueConstraint(fields=["project", "membership"], name="project_membership_once_per_member"),
        ]

    def __str__(self) -> str:
        return f"{self.membership.user} as {self.get_role_display()} of {self.project}"
