"""What finished requests came to, written in batches: receipts and usage, in one transaction per lease."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic

import structlog

from billing.services.usage import RecordedUsage
from inference.gateway.budget import Budget, Lease, left_of
from inference.gateway.database import Database
from inference.services.receipts import Settlement, settle_requests

log = structlog.get_logger(__name__)

FLUSH_SECONDS = 0.03
MAXIMUM_BATCH = 500
LONGEST_PAUSE_SECONDS = 30.0
CLOSING_SECONDS = 10.0


@dataclass(slots=True)
class _Batch:
    """Settlements of one lease, with what they can cost at the most in nano-dollars."""

    lease: Lease
    settlements: list[Settlement] = field(default_factory=list)
    bound_nano: int = 0
    # After a failure: when to try again, and how long to wait after the next one.
    not_before: float = 0.0
    pause_seconds: float = 0.1


class Meter:
    """Collects settlements and writes them; a database that is away delays them and loses none."""

    def __init__(self, database: Database, budget: Budget) -> None:
        self._database = database
        self._budget = budget
        self._batches: dict[int, _Batch] = {}
        self._failed: list[_Batch] = []
        self._something = asyncio.Event()
        self._writing = asyncio.Lock()

    def settle(self, settlement: Settlement, lease: Lease, bound_nano: int) -> None:
        """Take a finished request; `bound_nano` is already counted as unwritten on its lease."""
        batch = self._batches.setdefault(lease.reservation_id, _Batch(lease))
        batch.settlements.append(settlement)
        batch.bound_nano += bound_nano
        self._something.set()

    @property
    def unwritten_count(self) -> int:
        return sum(len(batch.settlements) for batch in [*self._batches.values(), *self._failed])

    async def run(self) -> None:
        """Write what there is every few tens of milliseconds, until cancelled."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._something.wait(), self._pause())
            self._something.clear()
            # Being stopped does not tear up what is being written: `close` waits for it.
            await asyncio.shield(self.flush())
            await asyncio.sleep(FLUSH_SECONDS)

    async def close(self) -> None:
        """Write everything; what cannot be written within ten seconds is logged, by request id, and given up."""
        deadline = monotonic() + CLOSING_SECONDS
        # What is being written right now is not counted as unwritten, and may yet come back.
        await self.flush()
        while self.unwritten_count and monotonic() < deadline:
            await self.flush()
            if self.unwritten_count:
                await asyncio.sleep(FLUSH_SECONDS * 10)
        for batch in [*self._batches.values(), *self._failed]:
            for settlement in batch.settlements:
                log.error("inference.receipt_lost", request_id=settlement.request_id)

    async def flush(self) -> None:
        """Write every batch whose time has come, side by side."""
        async with self._writing:
            now = monotonic()
            due = [batch for batch in self._failed if batch.not_before <= now]
            self._failed = [batch for batch in self._failed if batch.not_before > now]
            due += self._batches.values()
            self._batches = {}
            await asyncio.gather(*(self._write(batch) for batch in due))

    async def _write(self, batch: _Batch) -> None:
        while batch.settlements:
            part = batch.settlements[:MAXIMUM_BATCH]
            try:
                recorded, left_nano = await self._database.run(_settle, part, batch.lease)
            except Exception as error:  # a batch boundary: nothing may stop the others, nothing is dropped
                self._postpone(batch, error)
                return
            del batch.settlements[: len(part)]
            # The bound of the whole batch is given up with its last part.
            bound_nano = 0 if batch.settlements else batch.bound_nano
            self._budget.written(
                batch.lease, bound_nano=bound_nano, charged_nano=recorded.charged_nano, left_nano=left_nano
            )

    def _postpone(self, batch: _Batch, error: Exception) -> None:
        # Whether it was written is unknown: so is what the lease still holds.
        batch.lease.is_lost = True
        batch.not_before = monotonic() + batch.pause_seconds
        batch.pause_seconds = min(batch.pause_seconds * 2, LONGEST_PAUSE_SECONDS)
        self._failed.append(batch)
        log.error("inference.receipts_delayed", error=type(error).__name__, count=len(batch.settlements))

    def _pause(self) -> float | None:
        if not self._failed:
            return None
        return max(0.0, min(batch.not_before for batch in self._failed) - monotonic())


def _settle(settlements: Sequence[Settlement], lease: Lease) -> tuple[RecordedUsage, int]:
    now = datetime.now(UTC)
    recorded = settle_requests(settlements=settlements, reservation_id=lease.reservation_id, now=now)
    return recorded, left_of(lease.payer)
