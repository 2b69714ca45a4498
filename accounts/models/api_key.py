"""Secrets for programs: a project's API keys, and the operator keys of the owner's own scheduler."""

from __future__ import annotations

from datetime import datetime

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.models.organization import Organization, Project
from accounts.models.user import User
from portal.lib.key_format import HASH_VERSION
from portal.lib.public_ids import new_key_id


class Scope(models.TextChoices):
    INFERENCE = "inference", _("Call models")
    INSTANCES_READ = "instances:read", _("See instances")
    INSTANCES_WRITE = "instances:write", _("Launch and end instances")
    USAGE_READ = "usage:read", _("See usage and receipts")
    BILLING_READ = "billing:read", _("See spend and invoices")
    KEYS_WRITE = "keys:write", _("Create and revoke keys")
    WEBHOOKS_WRITE = "webhooks:write", _("Manage webhooks")


class OperatorScope(models.TextChoices):
    POOLS_READ = "pools:read", _("See pools")
    DEMAND_WRITE = "demand:write", _("Set owner demand")
    RECLAIMS_PLAN = "reclaims:plan", _("Plan reclaims")
    USAGE_WRITE = "usage:write", _("Report usage")


class KeyState(models.TextChoices):
    ACTIVE = "active", _("Active")
    EXPIRED = "expired", _("Expired")
    REVOKED = "revoked", _("Revoked")


class Secret(models.Model):
    """What every kind of key stores of its secret: never the secret itself."""

    public_id = models.CharField(max_length=32, unique=True, default=new_key_id, editable=False)
    name = models.CharField(_("name"), max_length=80)
    digest = models.BinaryField(unique=True)  # HMAC-SHA-256 of the whole key with the server's pepper
    hash_version = models.PositiveSmallIntegerField(default=HASH_VERSION)
    prefix = models.CharField(max_length=16)
    last_four = models.CharField(max_length=4)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True

    @property
    def label(self) -> str:
        """The key as it may be shown: prefix, dots, last four characters."""
        return f"{self.prefix}…{self.last_four}"

    def is_usable(self, now: datetime) -> bool:
        return self.state(now) is KeyState.ACTIVE

    def state(self, now: datetime) -> KeyState:
        if self.revoked_at is not None:
            return KeyState.REVOKED
        if self.expires_at is not None and self.expires_at <= now:
            return KeyState.EXPIRED
        return KeyState.ACTIVE


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def owned_by(self, organization: Organization) -> ApiKeyQuerySet:
        return self.filter(organization=organization)

    def newest_first(self) -> ApiKeyQuerySet:
        return self.order_by("-created_at", "-pk")

    def with_projects(self) -> ApiKeyQuerySet:
        return self.select_related("project", "created_by")


class ApiKey(Secret):
    """A secret of a project for programs."""

    class Kind(models.TextChoices):
        LIVE = "live", _("Live")
        TEST = "test", _("Test")
        MANAGEMENT = "mgmt", _("Management")

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="api_keys")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="api_keys")
    kind = models.CharField(max_length=8, choices=Kind, default=Kind.LIVE)
    scopes = ArrayField(models.CharField(max_length=32, choices=Scope))
    # Names of served models this key may call; empty means all.
    allowed_models = ArrayField(models.CharField(max_length=120), default=list, blank=True)
    created_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    # Moves with every change that a running gateway must hear of within a second (decisions: Inference).
    changed_at = models.DateTimeField()

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="api_key_organization_id"),
            models.CheckConstraint(
                condition=~Q(kind="mgmt") | ~Q(scopes__contains=["inference"]),
                name="api_key_management_cannot_call_models",
            ),
        ]
        # The gateway polls for what changed since it last looked.
        indexes = [models.Index(fields=["changed_at"], name="api_key_changed_at")]

    def __str__(self) -> str:
        return f"{self.name} ({self.label})"

    def scope_words(self) -> list[str]:
        """What the key may do, in words of the pages."""
        return [str(Scope(scope).label) for scope in self.scopes]


class OperatorKey(Secret):
    """A secret of the owner's own systems; it belongs to no organization and Capacity staff issue it."""

    scopes = ArrayField(models.CharField(max_length=32, choices=OperatorScope))

    def __str__(self) -> str:
        return f"{self.name} ({self.label})"
