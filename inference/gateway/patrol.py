"""Running answers end within seconds when whoever asked for them may no longer ask.

The door lets a request in once; an answer may run for minutes after that. So each one is watched: what let it in is
asked again, a key when it changed or has expired, a session every two seconds.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from http import HTTPStatus

import structlog

from inference.gateway.asgi import ClientGone, Receive
from inference.gateway.errors import ApiError

log = structlog.get_logger(__name__)


class AccessEnded(Exception):
    """The door is shut to whoever asked; `refusal` is what it says now."""

    def __init__(self, refusal: ApiError) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal

    @property
    def told(self) -> ApiError:
        """What stands at the end of an answer that had begun."""
        return ApiError(
            self.refusal.status,
            "Access ended while the answer was on its way. Only what was delivered is charged.",
            code=self.refusal.code,
            kind=self.refusal.kind,
        )


class Watch:
    """One running answer.

    ask_again: does what the door did, and raises ApiError if it is shut now. digest: of the key that asked, None for
    a session. expires_at: when the key ends without anybody saying so.
    """

    def __init__(
        self, ask_again: Callable[[], Awaitable[object]], *, digest: bytes | None, expires_at: datetime | None
    ) -> None:
        self._ask_again = ask_again
        self._end: Callable[[AccessEnded], None] | None = None
        self.digest = digest
        self.expires_at = expires_at

    @contextmanager
    def ending(self, end: Callable[[AccessEnded], None]) -> Iterator[None]:
        """Call `end` when access ends while the block runs."""
        self._end = end
        try:
            yield
        finally:
            self._end = None

    async def look(self) -> None:
        try:
            await self._ask_again()
        except ApiError as refusal:
            # Without a database nobody knows: what runs goes on.
            if refusal.status != HTTPStatus.SERVICE_UNAVAILABLE and self._end is not None:
                self._end(AccessEnded(refusal))


class Patrol:
    """The answers that run in this process."""

    def __init__(self) -> None:
        self._watches: set[Watch] = set()

    @contextmanager
    def over(self, watch: Watch) -> Iterator[Watch]:
        self._watches.add(watch)
        try:
            yield watch
        finally:
            self._watches.discard(watch)

    async def look_at_keys(self, changed: set[bytes], now: datetime) -> None:
        """Ask again for every answer whose key is among those that changed, or has expired."""
        await _look(
            watch
            for watch in self._watches
            if watch.digest in changed or (watch.expires_at is not None and watch.expires_at <= now)
        )

    async def look_at_sessions(self) -> None:
        await _look(watch for watch in self._watches if watch.digest is None)


async def _look(watches: Iterable[Watch]) -> None:
    # Of those that are there now: others come and go while we ask.
    for watch in list(watches):
        try:
            await watch.look()
        except Exception:
            # A batch boundary: one that cannot be asked must not keep the others running.
            log.exception("inference.access_not_asked_again")


@asynccontextmanager
async def unless_interrupted(receive: Receive, watch: Watch) -> AsyncIterator[None]:
    """Break off what runs inside when nobody waits for it any more, or may. Raises ClientGone or AccessEnded then."""
    task = asyncio.current_task()
    leaving = asyncio.ensure_future(_until_gone(receive))
    reason: ClientGone | AccessEnded | None = None

    def interrupt(why: ClientGone | AccessEnded) -> None:
        nonlocal reason
        # Once: a second cancellation would hit what comes after the block.
        if reason is None and task is not None:
            reason = why
            task.cancel()

    def leave(_: asyncio.Future[None]) -> None:
        if not leaving.cancelled():
            interrupt(ClientGone())

    leaving.add_done_callback(leave)
    try:
        with watch.ending(interrupt):
            yield
    except asyncio.CancelledError:
        if reason is None or task is None:
            raise
        task.uncancel()
        raise reason from None
    finally:
        leaving.remove_done_callback(leave)
        leaving.cancel()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
