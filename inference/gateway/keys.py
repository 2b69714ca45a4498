"""Who is calling: API keys, from memory, with what changed in the database forgotten within a second."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic

from django.db.models import Subquery
from django.db.models.functions import Coalesce

from accounts.models import ApiKey, RetiredSecret, Scope
from accounts.selectors.rate_limits import limits_over_key, rates_of_limits
from accounts.services.api_keys import KeyUse, touch_keys
from billing.selectors import has_cap
from inference.gateway.database import UNREACHABLE, Database
from inference.gateway.errors import ApiError, invalid_key, no_database, wrong_address
from inference.gateway.limits import Subject, subjects_of
from portal.lib.addresses import Network, is_within, networks_of
from portal.lib.key_format import KeyKind, digest_of, kind_of

MAXIMUM_KEYS = 100_000
# A change may commit after the instant that it carries: so every look goes back this far.
LOOK_BACK = timedelta(seconds=15)
MAXIMUM_AGE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf a request runs: a key, or a person in the console."""

    organization_id: int
    project_id: int
    api_key_id: int | None = None
    user_id: int | None = None
    # Public id of the key or person, as logs say it.
    name: str = ""
    # Where the project wants its requests served; "" for anywhere.
    region: str = ""
    # Whose rates hold for it: the key's or person's, the project's, the organization's.
    subjects: tuple[Subject, ...] = ()
    allowed_models: frozenset[str] = frozenset()
    allowed_networks: tuple[Network, ...] = ()
    may_infer: bool = True
    # Whether the key has a spend cap beside those of its project and organization.
    has_own_cap: bool = False
    # A former secret ends before its key does.
    expires_at: datetime | None = None
    # Of the secret that was shown; None for a person.
    digest: bytes | None = None


@dataclass(frozen=True, slots=True)
class _Known:
    caller: Caller | None  # None: there is no such key, or it is revoked or disabled
    loaded_at: float


class KeyRing:
    """The keys that this process has seen lately, by digest; unknown ones too, so that guessing stays cheap."""

    def __init__(self, database: Database, *, brand: str, pepper: str) -> None:
        self._database = database
        self._brand = brand
        self._pepper = pepper
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._loading: dict[bytes, asyncio.Task[Caller | None]] = {}
        self._used: dict[int, KeyUse] = {}
        # Moves with every look for changes, so that a load that began before one is not trusted after it.
        self._looks = 0

    async def caller_of(self, authorization: str, use: KeyUse, now: datetime) -> Caller:
        """Return who the Authorization header names. Raises ApiError 401, 403, or 503 without a database."""
        kind, _, secret = authorization.partition(" ")
        secret = secret.strip()
        if kind.lower() != "bearer" or kind_of(secret, self._brand) is not KeyKind.LIVE:
            # Malformed, mistyped or of another kind: the database never hears of it.
            raise invalid_key()
        digest = digest_of(secret, self._pepper)
        known = self._known.get(digest)
        if known is not None and monotonic() - known.loaded_at < MAXIMUM_AGE_SECONDS:
            caller = known.caller
        else:
            caller = await self._load_once(digest)
        if caller is None or (caller.expires_at is not None and caller.expires_at <= now):
            raise invalid_key()
        if not is_within(use.address, caller.allowed_networks):
            raise wrong_address()
        if not caller.may_infer:
            raise ApiError(
                403, "This key needs the scope inference.", code="insufficient_scope", kind="permission_error"
            )
        if caller.api_key_id is not None:
            self._used[caller.api_key_id] = use
        return caller

    async def note_uses(self, now: datetime) -> None:
        """Write down which keys were used. Raises what Django raises when the database cannot be reached."""
        used, self._used = self._used, {}
        if not used:
            return
        try:
            await self._database.run(touch_keys, uses=used, now=now)
        except UNREACHABLE:
            self._used = used | self._used
            raise

    async def forget_changed(self, now: datetime) -> set[bytes]:
        """Forget the keys that changed lately, and return the digests of their secrets.

        Raises what Django raises when the database cannot be reached.
        """
        self._looks += 1
        changed = await self._database.run(_changed_since, now - LOOK_BACK)
        for digest in changed:
            self._known.pop(digest, None)
        return changed

    async def _load_once(self, digest: bytes) -> Caller | None:
        """Load a key; callers who want the same one at once share the query."""
        loading = self._loading.get(digest)
        if loading is None:
            loading = self._loading[digest] = asyncio.create_task(self._load(digest))
            loading.add_done_callback(lambda _: self._loading.pop(digest, None))
        try:
            return await asyncio.shield(loading)
        except UNREACHABLE as error:
            raise no_database() from error

    async def _load(self, digest: bytes) -> Caller | None:
        looks = self._looks
        caller = await self._database.run(_load_caller, digest)
        if looks == self._looks:
            self._known[digest] = _Known(caller, monotonic())
            if len(self._known) > MAXIMUM_KEYS:
                self._known.popitem(last=False)
        return caller


_COLUMNS = (
    "organization_id",
    "organization__public_id",
    "project_id",
    "project__public_id",
    "project__region_name",
    "pk",
    "public_id",
    "scopes",
    "allowed_models",
    "allowed_addresses",
    "expires_at",
)


def _load_caller(digest: bytes) -> Caller | None:
    """Return whom a secret stands for, present or former, with one query: guessing costs no more than that."""
    former = RetiredSecret.objects.filter(digest=digest)
    # Each looked up by its own unique index; `or` between two conditions would read every key.
    of_secret = Coalesce(
        Subquery(ApiKey.objects.filter(digest=digest).values("pk")[:1]), Subquery(former.values("api_key")[:1])
    )
    working = ApiKey.objects.filter(revoked_at=None, disabled_at=None, pk=of_secret)
    # A former secret has an end, which is compared with the time of each request.
    until = Subquery(former.values("valid_until")[:1])
    row = working.values_list(*_COLUMNS, has_cap(), until, limits_over_key()).first()
    if row is None:
        return None
    organization_id, organization, project_id, project, region, pk, public_id, scopes, models, addresses, *ends = row
    expires_at, has_own_cap, valid_until, limits = ends
    rates = rates_of_limits(limits)
    return Caller(
        organization_id=organization_id,
        project_id=project_id,
        api_key_id=pk,
        name=public_id,
        region=region,
        subjects=subjects_of("key", public_id, project, organization, rates),
        allowed_models=frozenset(models),
        allowed_networks=networks_of(addresses),
        may_infer=Scope.INFERENCE.value in scopes,
        has_own_cap=has_own_cap,
        expires_at=min((end for end in (expires_at, valid_until) if end is not None), default=None),
        digest=digest,
    )


def _changed_since(instant: datetime) -> set[bytes]:
    """Return the digests of the present and the former secrets of keys that changed."""
    changed = ApiKey.objects.filter(changed_at__gt=instant)
    return {
        bytes(digest)
        for pair in changed.values_list("digest", "retired_secrets__digest")
        for digest in pair
        if digest is not None
    }
