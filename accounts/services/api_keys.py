"""Issue and revoke API keys."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from accounts.models import ApiKey, OperatorKey, Organization, Project, Scope, User
from accounts.models.api_key import OperatorScope
from accounts.services.audit import person, record_event
from portal.lib.errors import DomainError
from portal.lib.key_format import KeyKind, digest_of, new_secret

DEFAULT_LIFE = timedelta(days=90)
MAXIMUM_KEYS = 200
CUSTOMER_SCOPES = tuple(scope for scope in Scope if scope != Scope.KEYS_WRITE)


# The last use is known to the minute: enough to see what is unused, and a write a minute at the most.
TOUCH_AFTER = timedelta(minutes=1)


class UnableToIssueKey(DomainError):
    code = "unable_to_issue_key"


def kind_for(scopes: Sequence[Scope]) -> KeyKind:
    """Return the kind of key that may have these scopes: managing keys takes a management key."""
    return KeyKind.MANAGEMENT if Scope.KEYS_WRITE in scopes else KeyKind.LIVE


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key with its secret, which exists here and in the answer to the person, and nowhere else."""

    api_key: ApiKey
    secret: str


@transaction.atomic
def issue_key(
    *,
    project: Project,
    name: str,
    scopes: Sequence[Scope],
    created_by: User | None,
    now: datetime,
    kind: KeyKind = KeyKind.LIVE,
    expires_at: datetime | None = None,
) -> IssuedKey:
    """Issue a key of a project; without `expires_at` it lives 90 days.

    Raises UnableToIssueKey for an empty name or scope list, a date in the past, a management key that could
    call models, another key that could manage keys, or too many keys.
    """
    name = " ".join(name.split())
    if not name:
        raise UnableToIssueKey("Give the key a name, so that you know later what uses it.")
    if not scopes:
        raise UnableToIssueKey("Choose at least one scope.")
    if expires_at is not None and expires_at <= now:
        raise UnableToIssueKey("The expiry must be in the future.")
    if kind is KeyKind.MANAGEMENT and Scope.INFERENCE in scopes:
        raise UnableToIssueKey("A management key cannot call models: make a separate key for that.")
    if kind is not KeyKind.MANAGEMENT and Scope.KEYS_WRITE in scopes:
        raise UnableToIssueKey("Only a management key can create and revoke keys.")
    # Lock the project, so that two requests at once cannot pass the limit together.
    project = Project.objects.select_for_update().select_related("organization").get(pk=project.pk)
    if ApiKey.objects.filter(project=project, revoked_at=None).count() >= MAXIMUM_KEYS:
        raise UnableToIssueKey(f"A project has at most {MAXIMUM_KEYS} keys: revoke one that nobody uses.")

    secret = new_secret(settings.KEY_BRAND, kind)
    api_key = ApiKey.objects.create(
        organization=project.organization,
        project=project,
        name=name,
        kind=ApiKey.Kind(kind.value),
        scopes=[scope.value for scope in scopes],
        digest=digest_of(secret, settings.API_KEY_PEPPER),
        prefix=f"{settings.KEY_BRAND}_{kind.value}_",
        last_four=secret[-4:],
        created_by=created_by,
        created_at=now,
        expires_at=expires_at or now + DEFAULT_LIFE,
        changed_at=now,
    )
    record_event(
        "key.created",
        organization_id=project.organization_id,
        target=("key", api_key.public_id),
        changes={
            "name": (None, name),
            "project": (None, project.public_id),
            "scopes": (None, list(api_key.scopes)),
            "expires_at": (None, f"{api_key.expires_at:%Y-%m-%dT%H:%M:%SZ}"),
        },
        actor=person(created_by) if created_by else None,
        now=now,
    )
    return IssuedKey(api_key, secret)


# What a first program needs, and nothing that could cost a company its peace: no billing, keys or webhooks.
STARTER_SCOPES = (Scope.INFERENCE, Scope.INSTANCES_READ, Scope.INSTANCES_WRITE, Scope.USAGE_READ)


@transaction.atomic
def issue_starter_key(*, organization: Organization, created_by: User, now: datetime) -> IssuedKey:
    """Issue the key of the first steps, in the organization's first project.

    Raises UnableToIssueKey for too many keys.
    """
    project = Project.objects.owned_by(organization).in_order()[0]
    return issue_key(project=project, name="Starter key", scopes=STARTER_SCOPES, created_by=created_by, now=now)


@transaction.atomic
def revoke_key(*, api_key: ApiKey, now: datetime) -> ApiKey:
    """End a key at once, on every process within a second; revoking a revoked key changes nothing."""
    api_key = ApiKey.objects.select_for_update().get(pk=api_key.pk)
    if api_key.revoked_at is None:
        api_key.revoked_at = now
        api_key.changed_at = now
        api_key.save(update_fields=["revoked_at", "changed_at"])
        record_event("key.revoked", organization_id=api_key.organization_id, target=("key", api_key.public_id), now=now)
    return api_key


def touch_key(*, api_key: ApiKey, now: datetime) -> None:
    """Remember that a key was used, at most once a minute and without waiting for anybody."""
    if api_key.last_used_at is None or now - api_key.last_used_at >= TOUCH_AFTER:
        ApiKey.objects.filter(pk=api_key.pk).update(last_used_at=now)


def touch_keys(*, api_key_ids: Collection[int], now: datetime) -> None:
    """Do as `touch_key` does for many keys, in one statement."""
    is_due = Q(last_used_at=None) | Q(last_used_at__lte=now - TOUCH_AFTER)
    ApiKey.objects.filter(is_due, pk__in=api_key_ids).update(last_used_at=now)


@dataclass(frozen=True, slots=True)
class IssuedOperatorKey:
    operator_key: OperatorKey
    secret: str


def issue_operator_key(*, name: str, scopes: Sequence[OperatorScope], now: datetime) -> IssuedOperatorKey:
    """Issue a key for the owner's own systems."""
    secret = new_secret(settings.KEY_BRAND, KeyKind.OPERATOR)
    operator_key = OperatorKey.objects.create(
        name=name,
        scopes=[scope.value for scope in scopes],
        digest=digest_of(secret, settings.API_KEY_PEPPER),
        prefix=f"{settings.KEY_BRAND}_{KeyKind.OPERATOR.value}_",
        last_four=secret[-4:],
        created_at=now,
    )
    return IssuedOperatorKey(operator_key, secret)
