"""API keys as pages and programs see them."""

from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import Q

from accounts.models import ApiKey, Membership, Organization, Permission, ServiceAccount
from accounts.selectors.pages import PAGE_SIZE, is_text


def organization_id_of_key(digest: bytes) -> int | None:
    """Return whose key has this digest: one row through a function that may look past row-level security."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT accounts_organization_of_key(%s)", [digest])
        row = cursor.fetchone()
    return None if row is None else row[0]


@dataclass(frozen=True, slots=True)
class KeyView:
    """An API key as programs see it: everything but the secret, and but the money, which billing knows."""

    id: str
    name: str
    label: str
    kind: str
    state: str
    scopes: list[str]
    project: str
    service_account: str | None  # whose it is, when a program's
    allowed_models: list[str]  # empty: all
    allowed_addresses: list[str]  # empty: from anywhere
    expires_at: datetime | None
    overlap_ends_at: datetime | None  # until then the secret before the last rotation works too
    last_used_at: datetime | None
    last_used_address: str | None
    last_used_agent: str | None
    created_at: datetime


def key_view(api_key: ApiKey, now: datetime) -> KeyView:
    """Return what a program may know of a key. `api_key` comes with its project, service account and former secrets."""
    former = api_key.former_secrets_at(now) if api_key.is_usable(now) else []
    return KeyView(
        id=api_key.public_id,
        name=api_key.name,
        label=api_key.label,
        kind=api_key.kind,
        state=api_key.state(now).value,
        scopes=list(api_key.scopes),
        project=api_key.project.public_id,
        service_account=api_key.service_account.public_id if api_key.service_account else None,
        allowed_models=list(api_key.allowed_models),
        allowed_addresses=list(api_key.allowed_addresses),
        expires_at=api_key.expires_at,
        overlap_ends_at=former[0].valid_until if former else None,
        last_used_at=api_key.last_used_at,
        last_used_address=api_key.last_used_address or None,
        last_used_agent=api_key.last_used_agent or None,
        created_at=api_key.created_at,
    )


@dataclass(frozen=True, slots=True)
class KeyRow:
    """An API key as a line of the list."""

    public_id: str
    name: str
    label: str
    project: str
    service_account: str  # its name, or empty
    state: str
    state_label: str
    may_revoke: bool  # the reader may end it
    last_used_at: datetime | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class KeyPage:
    rows: list[KeyRow]
    next_after: str  # the public id to continue after, empty on the last page


def key_page(organization: Organization, reader: Membership, now: datetime, after: str) -> KeyPage:
    """Return 50 keys, newest first, from the one after the public id `after` on; from the newest if nothing is."""
    keys = ApiKey.objects.owned_by(organization)
    last = keys.filter(public_id=after).values_list("created_at", "pk").first() if is_text(after) else None
    if last is not None:
        keys = keys.filter(Q(created_at__lt=last[0]) | Q(created_at=last[0], pk__lt=last[1]))
    found = list(keys.select_related("project", "service_account").newest_first()[: PAGE_SIZE + 1])
    rows = [_key_row(key, reader, now) for key in found[:PAGE_SIZE]]
    return KeyPage(rows, rows[-1].public_id if len(found) > PAGE_SIZE else "")


def service_account_keys(account: ServiceAccount, reader: Membership, now: datetime) -> list[KeyRow]:
    """Return an account's keys, newest first: at most 50, of which a project has no more than 200 that work."""
    keys = account.api_keys.select_related("project", "service_account").newest_first()
    return [_key_row(key, reader, now) for key in keys[:PAGE_SIZE]]


def _key_row(key: ApiKey, reader: Membership, now: datetime) -> KeyRow:
    state = key.state(now)
    return KeyRow(
        public_id=key.public_id,
        name=key.name,
        label=key.label,
        project=key.project.name,
        service_account=key.service_account.name if key.service_account else "",
        state=state.value,
        state_label=str(state.label),
        may_revoke=not key.has_ended(now) and reader.may_in(Permission.MANAGE_KEYS, key.project_id),
        last_used_at=key.last_used_at,
        expires_at=key.expires_at,
    )
