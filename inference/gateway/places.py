"""Places at deployments: each works on so many requests at once, over all gateways, and the others wait in turn.

The turn goes round the organizations that wait, so that nobody's burst keeps another waiting for longer than one of
its own requests. Law: docs/algorithms/routing.md.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Sequence
from contextlib import suppress

from accounts.models import Rates
from inference.gateway.errors import ApiError, unavailable
from inference.gateway.limits import Admission, Limits, Subject
from inference.gateway.offers import Upstream

WAIT_SECONDS = 5.0
LONGEST_QUEUE = 500
LONGEST_QUEUE_OF_ORGANIZATION = 100
# How often a queue looks whether another process has left a place; who leaves one here is heard at once.
LOOK_SECONDS = 0.05


class Place:
    """One request's place at a deployment."""

    __slots__ = ("_admission", "_places", "upstream")

    def __init__(self, upstream: Upstream, admission: Admission | None, places: "Places") -> None:
        self.upstream = upstream
        self._admission = admission
        self._places = places

    def leave(self) -> None:
        """Let another in; safe to repeat."""
        admission, self._admission = self._admission, None
        if admission is not None:
            admission.end()
            self._places.look_again()


type _Waiter = asyncio.Future[Place]


class _Queue:
    """Requests that wait for a place at any of the same deployments."""

    def __init__(self, upstreams: Sequence[Upstream]) -> None:
        self.upstreams = upstreams
        self._lines: OrderedDict[int, deque[_Waiter]] = OrderedDict()
        self.serving: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def join(self, organization_id: int) -> _Waiter:
        """Raises ApiError 503 where the line is as long as anybody would wait in."""
        if len(self._lines.get(organization_id, ())) >= LONGEST_QUEUE_OF_ORGANIZATION or len(self) >= LONGEST_QUEUE:
            raise busy()
        waiter: _Waiter = asyncio.get_running_loop().create_future()
        self._lines.setdefault(organization_id, deque()).append(waiter)
        return waiter

    def leave(self, organization_id: int, waiter: _Waiter) -> None:
        line = self._lines.get(organization_id)
        if line is not None:
            with suppress(ValueError):
                line.remove(waiter)
            if not line:
                del self._lines[organization_id]

    def next(self) -> _Waiter:
        """Return whose turn it is; the turn passes to the next organization."""
        organization_id, line = next(iter(self._lines.items()))
        waiter = line.popleft()
        self._lines.move_to_end(organization_id)
        if not line:
            del self._lines[organization_id]
        return waiter


class Places:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._queues: dict[frozenset[int], _Queue] = {}
        self._left = asyncio.Event()

    async def take(self, upstreams: Sequence[Upstream], organization_id: int) -> Place:
        """Return a place at the first deployment that has one, or wait for the first that gets one.

        upstreams: at least one, in the order in which they are to be asked. Raises ApiError 503 when none came in time.
        """
        key = frozenset(upstream.id for upstream in upstreams)
        queue = self._queues.get(key)
        if queue is None:
            place = await self._first_free(upstreams)
            if place is not None:
                return place
            queue = self._queues.setdefault(key, _Queue(upstreams))
        queue.upstreams = upstreams
        waiter = queue.join(organization_id)
        if queue.serving is None:
            queue.serving = asyncio.create_task(self._serve(key, queue))
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                # Shielded, so that a place which comes in the moment of giving up can be given back.
                return await asyncio.shield(waiter)
        except BaseException as reason:
            queue.leave(organization_id, waiter)
            if waiter.done():
                waiter.result().leave()
            if isinstance(reason, TimeoutError):
                raise busy() from reason
            raise

    async def _serve(self, key: frozenset[int], queue: _Queue) -> None:
        """Give places to who waits, in turn, until nobody does."""
        try:
            while len(queue):
                self._left.clear()
                place = await self._first_free(queue.upstreams)
                if place is None:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(LOOK_SECONDS):
                            await self._left.wait()
                elif len(queue):
                    queue.next().set_result(place)
                else:
                    place.leave()
        finally:
            queue.serving = None
            if self._queues.get(key) is queue:
                del self._queues[key]

    async def _first_free(self, upstreams: Sequence[Upstream]) -> Place | None:
        for upstream in upstreams:
            if upstream.places is None:
                return Place(upstream, None, self)
            subject = Subject("deployment", upstream.public_id, Rates(concurrent_requests=upstream.places))
            admission = await self._limits.try_admit(subject)
            if admission is not None:
                return Place(upstream, admission, self)
        return None

    def look_again(self) -> None:
        self._left.set()


def busy() -> ApiError:
    return unavailable(
        "All machines that serve this model are busy. Nothing was charged; try again in a moment.",
        code="model_busy",
        retry_after_seconds=2,
    )
