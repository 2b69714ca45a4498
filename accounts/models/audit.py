"""Who did what: entries that nobody can change, each tied to the one before it. Rules: docs/algorithms/audit-log.md."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from accounts.models.organization import Organization
from portal.lib.public_ids import new_orig_id


class AuditOrigin(models.Model):
    """Where somebody acted from. Entries name it by id, so that erasing it leaves every entry as it was."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    public_id = models.CharField(max_length=32, unique=True, default=new_orig_id, editable=False)
    actor_id = models.CharField(max_length=32)
    address = models.CharField(max_length=45)  # IPv4 or IPv6
    browser = models.CharField(max_length=200)
    first_seen_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="audit_origin_organization_id"),
            models.UniqueConstraint(
                fields=["organization", "actor_id", "address", "browser"], name="audit_origin_once_per_actor_and_place"
            ),
        ]

    def __str__(self) -> str:
        return self.public_id


class AuditEventQuerySet(models.QuerySet["AuditEvent"]):
    def owned_by(self, organization: Organization) -> AuditEventQuerySet:
        return self.filter(organization=organization)

    def newest_first(self) -> AuditEventQuerySet:
        return self.order_by("-sequence")


class AuditEvent(models.Model):
    """One thing that was done in an organization. The database numbers it and ties it to the entry before it.

    People, keys and things are named by public id; `changes` is JSON text, since the digest covers its very letters.
    """

    class ActorKind(models.TextChoices):
        USER = "user", _("Person")
        KEY = "key", _("API key")
        PORTAL = "portal", _("The portal")
        DIRECTORY = "scim", _("Directory")

    class Via(models.TextChoices):
        SESSION = "session", _("Console")
        KEY = "key", _("API")
        DIRECTORY = "scim", _("Directory")
        SYSTEM = "system", _("By itself")
        STAFF = "staff", _("Staff")
        SUPPORT = "support", _("Support session")

    pk = models.CompositePrimaryKey("organization_id", "sequence")
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+", db_index=False)
    sequence = models.BigIntegerField(default=0)  # 1, 2, 3 … in each organization, given by the trigger
    at = models.DateTimeField()
    actor_kind = models.CharField(max_length=8, choices=ActorKind)
    actor_id = models.CharField(max_length=32, blank=True)
    via = models.CharField(max_length=8, choices=Via)
    impersonator_id = models.CharField(max_length=32, blank=True)
    action = models.CharField(max_length=48)  # such as key.revoked
    target_kind = models.CharField(max_length=24)
    target_id = models.CharField(max_length=64)
    changes = models.TextField()  # {"field": [before, after]}
    origin_id = models.CharField(max_length=32, blank=True)  # AuditOrigin.public_id
    request_id = models.CharField(max_length=64, blank=True)
    previous = models.BinaryField(default=bytes)
    digest = models.BinaryField(default=bytes)

    objects = AuditEventQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(via="support") | ~models.Q(impersonator_id=""),
                name="audit_event_support_names_the_impersonator",
            ),
        ]
        # The pages of one person's, key's or thing's entries.
        indexes = [
            models.Index(fields=["organization", "actor_id", "-sequence"], name="audit_event_of_actor"),
            models.Index(fields=["organization", "target_id", "-sequence"], name="audit_event_of_target"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.target_id} ({self.sequence})"
