"""What an organization's directory says: its people and groups, and the secrets by which it says so (SCIM)."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils.translation import gettext_lazy as _

from accounts.models.api_key import Secret
from accounts.models.organization import Membership, Organization
from accounts.models.role import Role
from accounts.models.user import User
from portal.lib.public_ids import new_dirtok_id, new_scimgroup_id, new_scimuser_id

# What a group of the directory may give; owners are made by owners only.
GIVEN_ROLES = (Role.ADMIN, Role.DEVELOPER, Role.BILLING, Role.VIEWER)
# What somebody begins as whose groups give nothing.
DEFAULT_ROLE = Role.VIEWER
LONGEST_NAME = 200


class DirectoryTokenQuerySet(models.QuerySet["DirectoryToken"]):
    def owned_by(self, organization: Organization) -> DirectoryTokenQuerySet:
        return self.filter(organization=organization)

    def active(self, now: datetime) -> DirectoryTokenQuerySet:
        return self.filter(revoked_at=None, expires_at__gt=now)

    def newest_first(self) -> DirectoryTokenQuerySet:
        return self.order_by("-created_at", "-pk")


class DirectoryToken(Secret):
    """A secret by which a directory provisions people; no API key, since it opens members and nothing else."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="directory_tokens")
    public_id = models.CharField(max_length=32, unique=True, default=new_dirtok_id, editable=False)
    created_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")

    objects = DirectoryTokenQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="directory_token_organization_id"),
            models.CheckConstraint(condition=Q(expires_at__isnull=False), name="directory_token_ends"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.label})"


class DirectoryQuerySet[Record: models.Model](models.QuerySet[Record]):
    def owned_by(self, organization: Organization) -> Self:
        return self.filter(organization=organization)

    def in_order(self) -> Self:
        return self.order_by("created_at", "pk")


class DirectoryPersonQuerySet(DirectoryQuerySet["DirectoryPerson"]):
    pass


class DirectoryPerson(models.Model):
    """Somebody whom the directory lists. Active there and a member here are one thing: no record says both."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="directory_people")
    public_id = models.CharField(max_length=32, unique=True, default=new_scimuser_id, editable=False)
    user_name = models.CharField(max_length=LONGEST_NAME)
    external_id = models.CharField(max_length=LONGEST_NAME, blank=True)
    email = models.CharField(max_length=254)  # in lower case
    given_name = models.CharField(max_length=LONGEST_NAME, blank=True)
    family_name = models.CharField(max_length=LONGEST_NAME, blank=True)
    formatted_name = models.CharField(max_length=LONGEST_NAME, blank=True)
    display_name = models.CharField(max_length=LONGEST_NAME, blank=True)
    # None: inactive. However a membership ends, whoever it was is inactive from then on.
    membership = models.OneToOneField(
        Membership, null=True, blank=True, on_delete=models.SET_NULL, related_name="directory_person"
    )
    created_at = models.DateTimeField()
    changed_at = models.DateTimeField()

    objects = DirectoryPersonQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="directory_person_organization_id"),
            models.UniqueConstraint(fields=["organization", "email"], name="directory_person_email_once"),
            models.UniqueConstraint("organization", Lower("user_name"), name="directory_person_user_name_once"),
        ]
        indexes = [models.Index(fields=["organization", "external_id"], name="directory_person_external_id")]

    def __str__(self) -> str:
        return self.public_id

    @property
    def is_active(self) -> bool:
        return self.membership_id is not None

    def name(self) -> str:
        """What the person is called, or nothing."""
        return self.display_name or self.formatted_name or f"{self.given_name} {self.family_name}".strip()


class DirectoryGroupQuerySet(DirectoryQuerySet["DirectoryGroup"]):
    pass


class DirectoryGroup(models.Model):
    """A group of the directory, and the role that its people have here; which one is chosen here, not there."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="directory_groups")
    public_id = models.CharField(max_length=32, unique=True, default=new_scimgroup_id, editable=False)
    display_name = models.CharField(max_length=LONGEST_NAME)
    external_id = models.CharField(max_length=LONGEST_NAME, blank=True)
    role = models.CharField(_("role"), max_length=20, choices=Role, blank=True, default="")  # empty: gives none
    created_at = models.DateTimeField()
    changed_at = models.DateTimeField()

    objects = DirectoryGroupQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="directory_group_organization_id"),
            models.UniqueConstraint("organization", Lower("display_name"), name="directory_group_display_name_once"),
            models.CheckConstraint(
                condition=Q(role__in=["", *(role.value for role in GIVEN_ROLES)]), name="directory_group_makes_no_owner"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.display_name} ({self.public_id})"


class DirectoryGroupMember(models.Model):
    """Somebody in a group of the directory, active or not."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    group = models.ForeignKey(DirectoryGroup, on_delete=models.CASCADE, related_name="members")
    person = models.ForeignKey(DirectoryPerson, on_delete=models.CASCADE, related_name="groups")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="directory_group_member_organization_id"),
            models.UniqueConstraint(fields=["group", "person"], name="directory_group_member_once"),
        ]

    def __str__(self) -> str:
        return f"{self.person_id} in {self.group_id}"
