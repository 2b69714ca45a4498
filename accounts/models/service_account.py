"""Service accounts: members of a project that are programs, and own keys that outlast the people who made them."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts.models.organization import Organization, Project
from accounts.models.scope import Scope
from accounts.models.user import User
from portal.lib.public_ids import new_svc_id

LONGEST_DESCRIPTION = 500


class ServiceAccountQuerySet(models.QuerySet["ServiceAccount"]):
    def owned_by(self, organization: Organization) -> ServiceAccountQuerySet:
        return self.filter(organization=organization)

    def present(self) -> ServiceAccountQuerySet:
        """Those that were not deleted."""
        return self.filter(deleted_at=None)

    def enabled(self) -> ServiceAccountQuerySet:
        return self.present().filter(disabled_at=None)

    def in_order(self) -> ServiceAccountQuerySet:
        return self.select_related("project").order_by("created_at", "pk")


class ServiceAccount(models.Model):
    """A program that works in a project. It never signs in: it acts by its keys, and may what they may.

    enabled <-> disabled (its keys rest) -> deleted (its keys have ended). The row of a deleted one stays, since its
    keys, and what they used, name it.
    """

    class State(models.TextChoices):
        ENABLED = "enabled", _("Enabled")
        DISABLED = "disabled", _("Disabled")
        DELETED = "deleted", _("Deleted")

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="service_accounts")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="service_accounts")
    public_id = models.CharField(max_length=32, unique=True, default=new_svc_id, editable=False)
    name = models.CharField(_("name"), max_length=80)
    description = models.CharField(_("description"), max_length=LONGEST_DESCRIPTION, blank=True)
    # The most that any of its keys may do.
    scopes = ArrayField(models.CharField(max_length=32, choices=Scope))
    created_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField()
    disabled_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)

    objects = ServiceAccountQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="service_account_organization_id"),
            models.UniqueConstraint(
                fields=["project", "name"],
                condition=Q(deleted_at=None),
                name="service_account_name_unique_in_project",
            ),
            models.CheckConstraint(
                condition=Q(deleted_at=None) | Q(disabled_at__isnull=False, deleted_at__gte=F("disabled_at")),
                name="service_account_deleted_is_disabled",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.public_id})"

    @property
    def state(self) -> State:
        if self.deleted_at is not None:
            return self.State.DELETED
        return self.State.ENABLED if self.disabled_at is None else self.State.DISABLED

    def scope_words(self) -> list[str]:
        """What its keys may do, in words of the pages."""
        return [str(Scope(scope).label) for scope in self.scopes]
