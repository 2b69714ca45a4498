"""Work in the background of a gateway, for as long as it lives."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from inference.gateway.database import UNREACHABLE

log = structlog.get_logger(__name__)


async def every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    """Repeat `work` for ever; a database that is away is waited for."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except UNREACHABLE as error:
            log.warning("inference.database_unreachable", error=type(error).__name__)
        except Exception:
            # A batch boundary: the next round must come whatever this one was.
            log.exception("inference.upkeep_failed")
