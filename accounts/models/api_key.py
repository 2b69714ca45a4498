"""Secrets for programs: a project's API keys, and the operator keys of the owner's own scheduler."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Greatest
from django.utils.translation import gettext_lazy as _

from accounts.models.organization import Organization, Project
from accounts.models.scope import Scope
from accounts.models.service_account import ServiceAccount
from accounts.models.user import User
from portal.lib.addresses import LONGEST_RANGE, is_within, networks_of
from portal.lib.key_format import HASH_VERSION
from portal.lib.public_ids import new_key_id

LONGEST_AGENT = 200
LONGEST_URL = 500
LONGEST_SOURCE = 80


class OperatorScope(models.TextChoices):
    POOLS_READ = "pools:read", _("See pools")
    DEMAND_WRITE = "demand:write", _("Set owner demand")
    RECLAIMS_PLAN = "reclaims:plan", _("Plan reclaims")
    USAGE_WRITE = "usage:write", _("Report usage")


class KeyState(models.TextChoices):
    ACTIVE = "active", _("Active")
    EXPIRED = "expired", _("Expired")
    REVOKED = "revoked", _("Revoked")
    DISABLED = "disabled", _("Disabled")


class Overlap(models.IntegerChoices):
    """How many seconds a key's former secret works on after a rotation."""

    NONE = 0, _("Stops at once")
    HOUR = 3_600, _("Works for 1 hour")
    DAY = 86_400, _("Works for 1 day")
    WEEK = 604_800, _("Works for 7 days")

    @property
    def span(self) -> timedelta:
        return timedelta(seconds=self.value)


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

    def has_ended(self, now: datetime) -> bool:
        """Whether it can never be used again."""
        return self.state(now) in (KeyState.REVOKED, KeyState.EXPIRED)

    def state(self, now: datetime) -> KeyState:
        if self.revoked_at is not None:
            return KeyState.REVOKED
        if self.expires_at is not None and self.expires_at <= now:
            return KeyState.EXPIRED
        return KeyState.ACTIVE


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def owned_by(self, organization: Organization) -> ApiKeyQuerySet:
        return self.filter(organization=organization)

    def unrevoked(self) -> ApiKeyQuerySet:
        return self.filter(revoked_at=None)

    def left_by(self, user: User) -> ApiKeyQuerySet:
        """Those that a person made and that stay when the person goes, until somebody else answers for them."""
        return self.filter(created_by=user, is_personal=False, service_account=None)

    def newest_first(self) -> ApiKeyQuerySet:
        return self.order_by("-created_at", "-pk")

    def with_projects(self) -> ApiKeyQuerySet:
        return self.select_related("project", "created_by", "service_account")

    def with_former_secrets(self) -> ApiKeyQuerySet:
        return self.prefetch_related("retired_secrets")

    def opened_by(self, digest: bytes, now: datetime) -> ApiKeyQuerySet:
        """Keys whose former secret has this digest and still works; at most one. Look for a present one first."""
        return self.filter(retired_secrets__digest=digest, retired_secrets__valid_until__gt=now)


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
    # Ranges that this key may be used from, as ipaddress writes networks; empty means anywhere.
    allowed_addresses = ArrayField(models.CharField(max_length=LONGEST_RANGE), default=list, db_default=[], blank=True)
    last_used_address = models.CharField(max_length=45, default="", db_default="", blank=True)
    last_used_agent = models.CharField(max_length=LONGEST_AGENT, default="", db_default="", blank=True)  # User-Agent
    created_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    # Made by a member for themselves: it ends with their membership, while the project's other keys stay.
    is_personal = models.BooleanField(default=False, db_default=False)
    # Whose it is when a program's; of the key's project, and it outlasts whoever made the key.
    service_account = models.ForeignKey(
        ServiceAccount, null=True, blank=True, on_delete=models.CASCADE, related_name="api_keys"
    )
    # When its service account was disabled; None again once that is enabled. Kept here, so that whoever looks at a
    # key needs no other row.
    disabled_at = models.DateTimeField(null=True, blank=True)
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
            models.CheckConstraint(
                condition=Q(is_personal=False) | Q(created_by__isnull=False) | Q(revoked_at__isnull=False),
                name="api_key_personal_has_its_person",
            ),
            models.CheckConstraint(
                condition=Q(is_personal=False) | Q(service_account=None), name="api_key_personal_or_of_service_account"
            ),
            models.CheckConstraint(
                condition=Q(disabled_at=None) | Q(service_account__isnull=False),
                name="api_key_disabled_with_its_service_account",
            ),
        ]
        # The gateway polls for what changed since it last looked.
        indexes = [models.Index(fields=["changed_at"], name="api_key_changed_at")]

    def __str__(self) -> str:
        return f"{self.name} ({self.label})"

    @property
    def full_name(self) -> str:
        """The key's name, with that of the service account whose it is."""
        return f"{self.service_account.name} / {self.name}" if self.service_account else self.name

    def state(self, now: datetime) -> KeyState:
        state = super().state(now)
        return KeyState.DISABLED if state is KeyState.ACTIVE and self.disabled_at is not None else state

    def scope_words(self) -> list[str]:
        """What the key may do, in words of the pages."""
        return [str(Scope(scope).label) for scope in self.scopes]

    def former_secrets_at(self, now: datetime) -> list[RetiredSecret]:
        """Return the former secrets that still work, the one that ends last first."""
        alive = [secret for secret in self.retired_secrets.all() if secret.valid_until > now]
        return sorted(alive, key=lambda secret: secret.valid_until, reverse=True)

    def may_be_used_from(self, address: str) -> bool:
        """Whether the key may be used from an address; from an unknown one ("") only if it may be from anywhere."""
        return is_within(address, networks_of(self.allowed_addresses))


class RetiredSecretQuerySet(models.QuerySet["RetiredSecret"]):
    def working_at(self, now: datetime) -> RetiredSecretQuerySet:
        return self.filter(valid_until__gt=now)

    def end(self, now: datetime) -> int:
        """Let secrets stop now and return how many did; the clocks of two machines may differ a little."""
        return self.update(valid_until=Greatest("retired_at", Value(now)))


class RetiredSecret(models.Model):
    """A secret that a key had before it was rotated. It works until the second that was stated then."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    api_key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="retired_secrets")
    digest = models.BinaryField(unique=True)
    last_four = models.CharField(max_length=4)
    retired_at = models.DateTimeField()
    valid_until = models.DateTimeField()

    objects = RetiredSecretQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="retired_secret_organization_id"),
            models.CheckConstraint(
                condition=Q(valid_until__gte=F("retired_at")), name="retired_secret_ends_after_it_was_retired"
            ),
        ]

    def __str__(self) -> str:
        return f"…{self.last_four} of {self.api_key_id} until {self.valid_until}"


class KeyLeak(models.Model):
    """A working secret that was found where it does not belong, and ended for it. Rules: services/leaked_keys.py."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    api_key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="leaks")
    is_former_secret = models.BooleanField()
    last_four = models.CharField(max_length=4)
    # What the finder said, with no secret in it.
    url = models.CharField(max_length=LONGEST_URL, blank=True)
    source = models.CharField(max_length=LONGEST_SOURCE, blank=True)
    reported_by = models.CharField(max_length=80)  # the id of the public key that the report was signed with
    reported_at = models.DateTimeField()
    told_at = models.DateTimeField(null=True, blank=True)  # when owners and admins were mailed

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "id"], name="key_leak_organization_id")]
        # The sweep looks for those whom nobody was told of.
        indexes = [models.Index(fields=["reported_at"], condition=Q(told_at=None), name="key_leak_untold")]

    def __str__(self) -> str:
        return f"…{self.last_four} of {self.api_key_id} at {self.reported_at}"


class OperatorKeyQuerySet(models.QuerySet["OperatorKey"]):
    def opened_by(self, digest: bytes, now: datetime) -> OperatorKeyQuerySet:
        """Return the key whose secret has this digest, or whose former secret has it and still works."""
        return self.filter(Q(digest=digest) | Q(former_digest=digest, former_valid_until__gt=now))


class OperatorKey(Secret):
    """A secret of the owner's own systems; it belongs to no organization and Capacity staff issue it.

    After a rotation the one secret before may work on until a stated second.
    """

    scopes = ArrayField(models.CharField(max_length=32, choices=OperatorScope))
    former_digest = models.BinaryField(null=True, unique=True)
    former_last_four = models.CharField(max_length=4, default="", db_default="", blank=True)
    former_valid_until = models.DateTimeField(null=True)

    objects = OperatorKeyQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(former_digest=None, former_valid_until=None)
                | Q(former_digest__isnull=False, former_valid_until__isnull=False),
                name="operator_key_former_secret_has_an_end",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.label})"
