"""Budget leases: room under the spend cap that this process holds, so that a request needs no database.

A lease is a reservation of `billing` for one project, or for one API key that has a cap of its own. It is taken in
chunks, lives ten seconds and is renewed while in use. Requests hold their worst case on it in memory and give back what
they did not need. Near the cap the chunks shrink to single requests; idle leases are given back. Proofs:
docs/algorithms/gateway.md.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic

import structlog
from django.db.models import Q

from billing.models import Reservation
from billing.selectors import left_under_caps
from billing.services.limits import Payer
from billing.services.reservations import BudgetExceeded, ReservationEnded, extend, release, reserve
from inference.gateway.database import UNREACHABLE, Database
from inference.gateway.errors import ApiError, no_database
from inference.gateway.keys import Caller
from portal.lib.money import NANO_PER_CENT, NANO_PER_USD, decimal_string
from portal.lib.public_ids import new_hold_id

log = structlog.get_logger(__name__)

LEASE_SECONDS = 10
# Near its end a lease is not trusted any more: our clock and the database's may differ a little.
MARGIN_SECONDS = 1.5
RENEW_BELOW_SECONDS = 6.0
IDLE_SECONDS = 2.0
# Another process gives an idle lease back within IDLE_SECONDS and its next round of upkeep, a second apart.
RECALL_SECONDS = IDLE_SECONDS + 1.5
RECALL_LOOK_SECONDS = 0.25

# A chunk is this many requests like the one that asked, within these bounds.
REQUESTS_PER_CHUNK = 32
SMALLEST_CHUNK_NANO = NANO_PER_CENT
LARGEST_CHUNK_NANO = NANO_PER_USD


def payer_of(caller: Caller) -> Payer:
    """Return who shares a lease with the caller: all keys of a project that have no caps of their own."""
    key = caller.api_key_id if caller.has_own_cap else None
    return Payer(caller.organization_id, caller.project_id, key)


@dataclass(slots=True, eq=False)
class Lease:
    """What the database holds for us, and what of it is promised to whom; in nano-dollars."""

    payer: Payer
    reservation_id: int
    # Held in the database: falls with every settlement that was written.
    reserved_nano: int
    cap_ids: frozenset[int]  # the caps that hold it
    valid_until: float  # monotonic
    used_at: float  # monotonic
    held_nano: int = 0  # worst cases of running requests
    unwritten_nano: int = 0  # finished requests that are not written yet
    is_lost: bool = False

    @property
    def room_nano(self) -> int:
        return self.reserved_nano - self.held_nano - self.unwritten_nano

    @property
    def is_valid(self) -> bool:
        return not self.is_lost and monotonic() < self.valid_until - MARGIN_SECONDS

    @property
    def is_idle(self) -> bool:
        return not self.held_nano and not self.unwritten_nano

    def hold(self, amount_nano: int) -> "Hold":
        self.held_nano += amount_nano
        self.used_at = monotonic()
        return Hold(self, amount_nano)


@dataclass(slots=True, eq=False)
class Hold:
    """The worst case of one running request."""

    lease: Lease
    amount_nano: int

    def give_back(self) -> None:
        """End the hold; safe to repeat."""
        self.lease.held_nano -= self.amount_nano
        self.amount_nano = 0
        self.lease.used_at = monotonic()

    def spend(self, bound_nano: int) -> None:
        """End the hold of a request that cost at most `bound_nano`, which stays taken until it is written."""
        self.give_back()
        self.lease.unwritten_nano += bound_nano


@dataclass(frozen=True, slots=True)
class _Funding:
    """What the database said: a reservation, and what the caps over it have left beside what is settled."""

    reservation: Reservation
    left_nano: int


class Budget:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._leases: dict[Payer, Lease] = {}
        self._locks: dict[Payer, asyncio.Lock] = {}
        # Limit less settled of the tightest cap, as last heard; for the header x-budget-remaining.
        self._left_nano: dict[Payer, int] = {}
        # By cap: until when nobody waits for other processes' leases under it any more (monotonic).
        self._refuse_until: dict[int, float] = {}

    async def hold(self, caller: Caller, amount_nano: int) -> Hold:
        """Hold the worst case of a request. Raises ApiError 402 without room, 503 without a database."""
        payer = payer_of(caller)
        lease = self._leases.get(payer)
        if lease is not None and lease.is_valid and lease.room_nano >= amount_nano:
            return lease.hold(amount_nano)
        lock = self._locks.setdefault(payer, asyncio.Lock())
        async with lock:
            while True:
                lease = self._leases.get(payer)
                if lease is not None and lease.is_valid and lease.room_nano >= amount_nano:
                    return lease.hold(amount_nano)
                try:
                    await self._fund(payer, lease if lease is not None and lease.is_valid else None, amount_nano)
                except UNREACHABLE as error:
                    raise no_database() from error

    async def _fund(self, payer: Payer, lease: Lease | None, amount_nano: int) -> None:
        """Make room for `amount_nano` on the payer's lease: a chunk, or near the cap exactly that."""
        missing_nano = amount_nano - (lease.room_nano if lease is not None else 0)
        try:
            await self._take(payer, lease, max(chunk_nano(amount_nano), missing_nano))
        except BudgetExceeded:
            try:
                await self._take_when_given_back(payer, lease, missing_nano)
            except BudgetExceeded as error:
                raise _over_budget(error) from error

    async def _take_when_given_back(self, payer: Payer, lease: Lease | None, amount_nano: int) -> None:
        """Take, waiting once for what idle leases of other processes withhold: each gives them back by itself.

        Whoever was refused after such a wait makes the next ones refuse at once for as long, so that running
        against an exhausted budget does not pile up.
        """
        deadline = monotonic() + RECALL_SECONDS
        while True:
            try:
                return await self._take(payer, lease, amount_nano)
            except BudgetExceeded as error:
                now, cap_id = monotonic(), error.cap_id
                if await self._recall_idle(cap_id):
                    continue
                if now < self._refuse_until.get(cap_id, 0):
                    raise
                if not await self._is_held_elsewhere(cap_id):
                    # It may have been given back between the refusal and this look.
                    return await self._take(payer, lease, amount_nano)
                if now >= deadline:
                    self._refuse_until[cap_id] = now + RECALL_SECONDS
                    raise
            await asyncio.sleep(RECALL_LOOK_SECONDS)

    async def _is_held_elsewhere(self, cap_id: int) -> bool:
        own = [lease.reservation_id for lease in self._leases.values() if cap_id in lease.cap_ids]
        return await self._database.run(_has_other_leases, cap_id, own, datetime.now(UTC))

    async def _take(self, payer: Payer, lease: Lease | None, amount_nano: int) -> None:
        started = monotonic()
        now = datetime.now(UTC)
        if lease is None:
            funding = await self._database.run(_open_lease, payer, amount_nano, now)
            reservation = funding.reservation
            self._leases[payer] = lease = Lease(
                payer, reservation.pk, reservation.amount_nano, frozenset(), started + LEASE_SECONDS, started
            )
        else:
            try:
                funding = await self._database.run(_extend_lease, payer, lease.reservation_id, amount_nano, now)
            except ReservationEnded:
                # We were silent for too long and it was given back: the next round opens another.
                lease.is_lost = True
                return
            lease.reserved_nano += amount_nano
            lease.valid_until = started + LEASE_SECONDS
        # A renewal may have moved it into other caps.
        lease.cap_ids = frozenset({funding.reservation.cap_id, *funding.reservation.limit_ids})
        self._left_nano[payer] = funding.left_nano

    async def _recall_idle(self, cap_id: int) -> bool:
        """Give back the leases under a cap in this process that nobody uses; return whether there were any."""
        idle = [lease for lease in self._leases.values() if cap_id in lease.cap_ids and lease.is_idle]
        for lease in idle:
            await self._give_back(lease)
        return bool(idle)

    async def _give_back(self, lease: Lease) -> None:
        # First of all nobody may hold on it any more.
        lease.is_lost = True
        if self._leases.get(lease.payer) is lease:
            del self._leases[lease.payer]
        try:
            await self._database.run(_release_lease, lease.reservation_id, datetime.now(UTC))
        except UNREACHABLE:
            log.warning("inference.lease_expires", reservation_id=lease.reservation_id)

    async def tend(self) -> None:
        """Renew the leases in use, give the idle ones back, forget the lost ones. Called every second."""
        for payer, lease in list(self._leases.items()):
            if lease.is_idle and (not lease.is_valid or monotonic() - lease.used_at > IDLE_SECONDS):
                await self._give_back(lease)
            elif lease.is_valid and lease.valid_until - monotonic() < RENEW_BELOW_SECONDS:
                try:
                    await self._take(payer, lease, 0)
                except BudgetExceeded:
                    # A cap of a new period, or a new one, has not the room: the lease ends when its time is up.
                    continue
                except UNREACHABLE as error:
                    log.warning("inference.lease_not_renewed", error=type(error).__name__)
        self._refuse_until = {each: until for each, until in self._refuse_until.items() if until > monotonic()}
        for payer in [payer for payer, lock in self._locks.items() if payer not in self._leases and not lock.locked()]:
            del self._locks[payer]

    async def close(self) -> None:
        """Give every lease back."""
        for lease in list(self._leases.values()):
            await self._give_back(lease)

    def written(self, lease: Lease, *, bound_nano: int, charged_nano: int, left_nano: int) -> None:
        """Take note that settlements bounded by `bound_nano` are in the database, where they cost `charged_nano`."""
        lease.unwritten_nano -= bound_nano
        lease.reserved_nano = max(0, lease.reserved_nano - charged_nano)
        self._left_nano[lease.payer] = left_nano

    def remaining(self, caller: Caller) -> str:
        """Return what the tightest cap has left in dollars, as last heard, less what we still have to write."""
        unwritten_nano = sum(lease.unwritten_nano for lease in self._leases_of(caller.organization_id))
        return decimal_string(max(0, self._left_nano.get(payer_of(caller), 0) - unwritten_nano))

    def _leases_of(self, organization_id: int) -> Iterable[Lease]:
        return (lease for payer, lease in self._leases.items() if payer.organization_id == organization_id)


def chunk_nano(amount_nano: int) -> int:
    """Return how much to lease for requests like one that holds `amount_nano`."""
    return min(max(amount_nano * REQUESTS_PER_CHUNK, SMALLEST_CHUNK_NANO), LARGEST_CHUNK_NANO)


def left_of(payer: Payer) -> int:
    """Return limit less settled of the tightest cap over the payer's work, in nano-dollars."""
    return left_under_caps(
        organization_id=payer.organization_id, project_id=payer.project_id, api_key_id=payer.api_key_id
    )


def _open_lease(payer: Payer, amount_nano: int, now: datetime) -> _Funding:
    reservation = reserve(
        payer=payer,
        purpose=Reservation.Purpose.GATEWAY_LEASE,
        # A holder of its own for each lease: one that was lost is not taken up again.
        holder=new_hold_id(),
        amount_nano=amount_nano,
        now=now,
        expires_at=now + timedelta(seconds=LEASE_SECONDS),
    )
    return _Funding(reservation, left_of(payer))


def _extend_lease(payer: Payer, reservation_id: int, additional_nano: int, now: datetime) -> _Funding:
    reservation = extend(
        reservation_id=reservation_id,
        additional_nano=additional_nano,
        now=now,
        expires_at=now + timedelta(seconds=LEASE_SECONDS),
    )
    return _Funding(reservation, left_of(payer))


def _release_lease(reservation_id: int, now: datetime) -> None:
    release(reservation_id=reservation_id, now=now)


def _has_other_leases(cap_id: int, own: Sequence[int], now: datetime) -> bool:
    in_cap = Q(cap_id=cap_id) | Q(limit_ids__contains=[cap_id])
    held = Reservation.objects.held().filter(in_cap, purpose=Reservation.Purpose.GATEWAY_LEASE, expires_at__gt=now)
    return held.exclude(pk__in=own).exists()


def _over_budget(error: BudgetExceeded) -> ApiError:
    """402 and never 429, which clients would retry."""
    return ApiError(
        402,
        str(error),
        code="budget_exceeded",
        kind="insufficient_quota",
        details={
            "scope": error.scope,
            "limit": decimal_string(error.limit_nano),
            "remaining": decimal_string(error.remaining_nano),
            "resets_at": error.resets_at.isoformat() if error.resets_at else None,
        },
    )
