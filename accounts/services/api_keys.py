"""Issue, change and revoke API keys, and note their use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus

from django.conf import settings
from django.db import connection, transaction

from accounts.models import ApiKey, Membership, Organization, Project, Scope, ServiceAccount, User
from accounts.models.api_key import LONGEST_AGENT
from accounts.services.audit import changed, person, record_event
from portal.lib.addresses import UnreadableRange, canonical_ranges
from portal.lib.errors import DomainError
from portal.lib.key_format import API_KEY_KINDS, KeyKind, digest_of, new_secret
from portal.lib.model_names import UnreadableName, canonical_names
from portal.lib.tenancy import set_organization

DEFAULT_LIFE = timedelta(days=90)
MAXIMUM_KEYS = 200
# What keys may give to other keys; the rest takes a person.
CUSTOMER_SCOPES = tuple(scope for scope in Scope if scope not in (Scope.KEYS_WRITE, Scope.AUDIT_READ))


# The last use is known to the minute: enough to see what is unused, and a write a minute at the most.
TOUCH_AFTER = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """What a key is narrowed to beside its scopes, as somebody gave it; empty means everything.

    allowed_models: names of served models. allowed_addresses: ranges such as 203.0.113.0/24.
    """

    allowed_models: Sequence[str] = ()
    allowed_addresses: Sequence[str] = ()


NO_LIMITS = KeyLimits()


class UnableToLimitKey(DomainError):
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    code = "unable_to_limit_key"


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
def issue_key(  # noqa: PLR0913  # all that a key is, each by name
    *,
    project: Project,
    name: str,
    scopes: Sequence[Scope],
    created_by: User | None,
    now: datetime,
    kind: KeyKind = KeyKind.LIVE,
    expires_at: datetime | None = None,
    limits: KeyLimits = NO_LIMITS,
    is_personal: bool = False,
    service_account: ServiceAccount | None = None,
) -> IssuedKey:
    """Issue a key of a project; without `expires_at` it lives 90 days.

    is_personal: it ends when `created_by` leaves the organization. service_account: whose it is, when a program's.
    Raises UnableToIssueKey for an empty name or scope list, a date in the past, a management key that could call
    models, another key that could manage keys, a personal key of who is no member, a service account that works
    elsewhere, rests or may less, a kind that opens nothing, too many keys, a closed organization or one with a bill
    long overdue; UnableToLimitKey.
    """
    name = _readable_name(name)
    limits = _canonical(limits)
    _check_scopes(scopes, kind)
    if expires_at is not None and expires_at <= now:
        raise UnableToIssueKey("The expiry must be in the future.")
    # Lock the project, so that two requests at once cannot pass the limit together, and its organization, so that it is
    # not closed meanwhile. Not against rows that refer to them: their writers may hold the audit log, our last lock.
    locked = Project.objects.select_for_update(no_key=True).select_related("organization")
    project = locked.get(pk=project.pk)
    if project.organization.closed_at is not None:
        raise UnableToIssueKey("This organization is closed.")
    if not project.organization.may_have_new:
        raise UnableToIssueKey("A bill is overdue: pay it, and new keys can be made again.")
    if is_personal:
        # After the organization, as whoever ends a membership does.
        _lock_member(project, created_by, scopes)
    if service_account is not None:
        _lock_service_account(service_account, project, scopes, is_personal=is_personal)
    if ApiKey.objects.filter(project=project, revoked_at=None).count() >= MAXIMUM_KEYS:
        raise UnableToIssueKey(f"A project has at most {MAXIMUM_KEYS} keys: revoke one that nobody uses.")

    secret = new_secret(settings.KEY_BRAND, kind)
    api_key = ApiKey.objects.create(
        organization=project.organization,
        project=project,
        name=name,
        kind=ApiKey.Kind(kind.value),
        scopes=[scope.value for scope in scopes],
        allowed_models=list(limits.allowed_models),
        allowed_addresses=list(limits.allowed_addresses),
        digest=digest_of(secret, settings.API_KEY_PEPPER),
        prefix=f"{settings.KEY_BRAND}_{kind.value}_",
        last_four=secret[-4:],
        created_by=created_by,
        is_personal=is_personal,
        service_account=service_account,
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
            **changed(
                allowed_models=([], api_key.allowed_models),
                allowed_addresses=([], api_key.allowed_addresses),
                service_account=(None, service_account.public_id if service_account else None),
            ),
        },
        actor=person(created_by) if created_by else None,
        now=now,
    )
    return IssuedKey(api_key, secret)


def _check_scopes(scopes: Sequence[Scope], kind: KeyKind) -> None:
    if not scopes:
        raise UnableToIssueKey("Choose at least one scope.")
    if kind not in API_KEY_KINDS:
        raise UnableToIssueKey("There are no keys of this kind.")
    if kind is KeyKind.MANAGEMENT and Scope.INFERENCE in scopes:
        raise UnableToIssueKey("A management key cannot call models: make a separate key for that.")
    if kind is not KeyKind.MANAGEMENT and Scope.KEYS_WRITE in scopes:
        raise UnableToIssueKey("Only a management key can create and revoke keys.")


def _readable_name(name: str) -> str:
    name = " ".join(name.split())
    if not name:
        raise UnableToIssueKey("Give the key a name, so that you know later what uses it.")
    return name


def _canonical(limits: KeyLimits) -> KeyLimits:
    try:
        return KeyLimits(
            allowed_models=canonical_names(limits.allowed_models),
            allowed_addresses=canonical_ranges(limits.allowed_addresses),
        )
    except (UnreadableName, UnreadableRange) as error:
        raise UnableToLimitKey(str(error)) from error


def _lock_member(project: Project, person_: User | None, scopes: Sequence[Scope]) -> None:
    """Hold the membership until the key exists, so that ending it at the same time ends the key too."""
    members = Membership.objects.filter(organization=project.organization_id, user=person_)
    member = members.select_for_update(no_key=True).first() if person_ is not None else None
    if member is None:
        raise UnableToIssueKey("Only a member can have a key of their own.")
    if not member.may_give(scopes, project.pk):
        raise UnableToIssueKey("A key of your own may do no more than you.")


def _lock_service_account(
    account: ServiceAccount, project: Project, scopes: Sequence[Scope], *, is_personal: bool
) -> None:
    """Hold the account until the key exists, so that disabling it at the same time disables the key too."""
    account = ServiceAccount.objects.select_for_update(no_key=True).get(pk=account.pk)
    if account.project_id != project.pk:
        raise UnableToIssueKey(f"The service account {account.name} works in another project.")
    if is_personal:
        raise UnableToIssueKey("A key is either yours alone or a service account's.")
    if account.state is not ServiceAccount.State.ENABLED:
        raise UnableToIssueKey(f"The service account {account.name} is disabled.")
    if beyond := [scope for scope in scopes if scope not in account.scopes]:
        raise UnableToIssueKey(f"The service account {account.name} may not do that: {', '.join(beyond)}.")


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
def change_key(*, api_key: ApiKey, name: str, limits: KeyLimits, now: datetime) -> ApiKey:
    """Give a key another name and other limits, on every process within a second.

    Raises UnableToIssueKey for an empty name, UnableToLimitKey.
    """
    name, limits = _readable_name(name), _canonical(limits)
    api_key = ApiKey.objects.select_for_update().get(pk=api_key.pk)
    changes = changed(
        name=(api_key.name, name),
        allowed_models=(api_key.allowed_models, list(limits.allowed_models)),
        allowed_addresses=(api_key.allowed_addresses, list(limits.allowed_addresses)),
    )
    if not changes:
        return api_key
    api_key.name = name
    api_key.allowed_models = list(limits.allowed_models)
    api_key.allowed_addresses = list(limits.allowed_addresses)
    api_key.changed_at = now
    api_key.save(update_fields=["name", "allowed_models", "allowed_addresses", "changed_at"])
    target = ("key", api_key.public_id)
    record_event("key.changed", organization_id=api_key.organization_id, target=target, changes=changes, now=now)
    return api_key


def note_key_change(*, api_key_id: int, now: datetime) -> None:
    """Make every process look at a key again within a second, for what other apps keep of it."""
    ApiKey.objects.filter(pk=api_key_id).update(changed_at=now)


def revoke_personal_keys(*, organization: Organization, user: User, now: datetime) -> int:
    """End the keys that a member made for themselves; return how many. The project's other keys stay."""
    keys = ApiKey.objects.owned_by(organization).filter(created_by=user, is_personal=True, revoked_at=None)
    # All locks before the first entry in the log.
    found = list(keys.select_for_update().order_by("pk"))
    for api_key in found:
        revoke_key(api_key=api_key, now=now)
    return len(found)


def revoke_keys_beyond_rights(*, membership: Membership, now: datetime) -> int:
    """End those of a member's own keys that may do what the member may no longer; return how many.

    membership: as it is now. Call it under the organization's lock and before the first entry in the log.
    """
    return revoke_keys_beyond_rights_of([membership], now=now)


def revoke_keys_beyond_rights_of(memberships: Sequence[Membership], *, now: datetime) -> int:
    """As `revoke_keys_beyond_rights`, for several members of one organization: all are locked before the first ends."""
    members = {(one.organization_id, one.user_id): one for one in memberships}
    keys = ApiKey.objects.filter(organization__in={organization for organization, _user in members}).unrevoked()
    own = keys.filter(created_by__in={user for _organization, user in members}, is_personal=True)
    beyond = [
        key
        for key in own.select_for_update().order_by("pk")
        if not members[key.organization_id, key.created_by_id].may_give(key.scopes, key.project_id)  # type: ignore[index]  # they have makers
    ]
    for api_key in beyond:
        revoke_key(api_key=api_key, now=now)
    return len(beyond)


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


@dataclass(frozen=True, slots=True)
class KeyUse:
    """Where a key was used from: the address, and the program as its User-Agent header calls it."""

    address: str = ""
    agent: str = ""


def touch_key(*, api_key: ApiKey, use: KeyUse, now: datetime) -> None:
    """Remember that a key was used, and where from, at most once a minute, after the transaction that it opened.

    Not in it: the key's row would stay locked until its end, and who waits there for the organization would cross
    with who changes the key.
    """
    if api_key.last_used_at is None or now - api_key.last_used_at >= TOUCH_AFTER:
        touch = partial(_touch_in, api_key.organization_id, {api_key.pk: use}, now)
        transaction.on_commit(touch, robust=True)


@transaction.atomic
def _touch_in(organization_id: int, uses: Mapping[int, KeyUse], now: datetime) -> None:
    set_organization(organization_id)
    touch_keys(uses=uses, now=now)


_TOUCH = """
    UPDATE accounts_apikey SET last_used_at = %(now)s, last_used_address = use.address, last_used_agent = use.agent
    FROM unnest(%(keys)s::bigint[], %(addresses)s::text[], %(agents)s::text[]) AS use (id, address, agent)
    WHERE accounts_apikey.id = use.id AND (last_used_at IS NULL OR last_used_at <= %(due)s)
"""


def touch_keys(*, uses: Mapping[int, KeyUse], now: datetime) -> None:
    """Do as `touch_key` does for many keys, in one statement. uses: by id of the key."""
    # In order, so that processes that note the same keys wait for each other instead of crossing.
    keys = sorted(uses)
    addresses = [uses[key].address for key in keys]
    # A program may call itself anything, and PostgreSQL takes every character but this one.
    agents = [uses[key].agent.replace("\0", "")[:LONGEST_AGENT] for key in keys]
    with connection.cursor() as cursor:
        cursor.execute(
            _TOUCH,
            {"now": now, "due": now - TOUCH_AFTER, "keys": keys, "addresses": addresses, "agents": agents},
        )
