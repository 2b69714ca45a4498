"""The ORM outside the event loop: a few threads with connections of their own."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.utils import InterfaceError, OperationalError

from portal.lib.tenancy import GATEWAY_ALIAS, connected_as

THREADS = 4

# What Django raises while the database cannot be reached.
UNREACHABLE = (OperationalError, InterfaceError)


class Database:
    """Runs functions that use the ORM. `run` works as the gateway's role, `run_as_app` as the web's."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="gateway-database")

    async def run[**P, T](self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return work(...), done across organizations with the gateway's few rights."""
        return await self._in_pool(_as_gateway, partial(work, *args, **kwargs))

    async def run_as_app[**P, T](self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return work(...), done under row-level security like a page."""
        return await self._in_pool(_as_app, partial(work, *args, **kwargs))

    async def _in_pool[T](self, how: Callable[[Callable[[], T]], T], work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, how, work)

    def close(self) -> None:
        """Close every thread's connections and end the threads."""
        together = Barrier(THREADS)

        def close_all() -> None:
            # Waiting for each other is what makes every thread run this once.
            together.wait(timeout=10)
            connections.close_all()

        for done in [self._pool.submit(close_all) for _ in range(THREADS)]:
            done.result()
        self._pool.shutdown()


def _as_gateway[T](work: Callable[[], T]) -> T:
    # No request signals run here, so nobody else drops a connection that is broken or too old.
    connections[GATEWAY_ALIAS].close_if_unusable_or_obsolete()
    with connected_as(GATEWAY_ALIAS):
        return work()


def _as_app[T](work: Callable[[], T]) -> T:
    connections[DEFAULT_DB_ALIAS].close_if_unusable_or_obsolete()
    return work()
