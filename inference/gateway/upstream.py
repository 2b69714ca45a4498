"""The servers that do the work: which one, and what they answered. Nothing here knows of money."""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import monotonic

import aiohttp
import structlog

from inference.gateway.errors import ApiError, unavailable
from inference.gateway.offers import Upstream
from inference.gateway.places import Place, Places

log = structlog.get_logger(__name__)

CONNECT_SECONDS = 3.0
# Shorter than what servers keep an idle connection for, so that we seldom write into one that just closed.
KEEP_ALIVE_SECONDS = 4.0
# How long the rest of a finished stream may take to arrive.
DRAIN_SECONDS = 0.05
MAXIMUM_REFUSAL_BYTES = 64 * 1024
FAILURES_UNTIL_DOWN = 2
DOWN_SECONDS = 2.0
LONGEST_DOWN_SECONDS = 30.0
MOST_DOUBLINGS = 8

# A deployment that is busy, broken or does not accept our key: another one may answer.
OURS_TO_BLAME = frozenset({401, 403, 404, 408, 429})
FIRST_SERVER_ERROR = 500
FIRST_ERROR = 400


class UpstreamFailed(Exception):
    """No answer came, and another deployment may give one."""


class UpstreamTimedOut(UpstreamFailed):
    pass


class UpstreamCut(Exception):
    """The answer broke off after its first byte."""


class Refusal(Exception):
    """The upstream says that the request itself is wrong; its answer is passed on."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


@dataclass(slots=True)
class Stream:
    """An answer that has begun."""

    place: Place
    response: aiohttp.ClientResponse
    first: bytes

    @property
    def upstream(self) -> Upstream:
        return self.place.upstream

    async def read(self) -> bytes:
        """Return what came next, or nothing at the end. Raises UpstreamCut when it breaks off."""
        if self.first:
            first, self.first = self.first, b""
            return first
        try:
            return await self.response.content.readany()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UpstreamCut from error

    async def drain(self) -> None:
        """Read what follows the end mark, which is nothing, so that the connection can be used again."""
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while await self.read():
                    pass
        except (TimeoutError, UpstreamCut):
            return

    def close(self) -> None:
        """End the connection; what was not read is not wanted, and the upstream stops working on it."""
        self.response.close()
        self.place.leave()


@dataclass(frozen=True, slots=True)
class Whole:
    upstream: Upstream
    body: bytes


@dataclass(slots=True)
class _Health:
    """How a deployment did of late; times are monotonic."""

    failures: int = 0  # one after the other
    failed_at: float = -math.inf

    def note_failure(self, now: float) -> None:
        self.failures += 1
        self.failed_at = now

    def is_up(self, now: float) -> bool:
        """Whether to ask it: each failure after the second doubles the pause."""
        if self.failures < FAILURES_UNTIL_DOWN:
            return True
        doublings = min(self.failures - FAILURES_UNTIL_DOWN, MOST_DOUBLINGS)
        return now >= self.failed_at + min(DOWN_SECONDS * (1 << doublings), LONGEST_DOWN_SECONDS)

    def may_be_tried(self, now: float) -> bool:
        """Whether to ask it where no other can be asked."""
        return self.is_up(now) or now >= self.failed_at + DOWN_SECONDS


_WELL = _Health()


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked of the deployments of a model. body: what each of them gets. organization_id: on whose behalf."""

    upstreams: Sequence[Upstream]
    path: str
    body: Callable[[Upstream], bytes]
    organization_id: int


class Upstreams:
    """Connections to deployments and this process's view of their health."""

    def __init__(self, places: Places, *, key: str, idle_seconds: float) -> None:
        """idle_seconds: how long an upstream may stay silent before it counts as hanging."""
        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        if key:
            headers["authorization"] = f"Bearer {key}"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_SECONDS),
            headers=headers,
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=idle_seconds),
        )
        self._places = places
        self._health: dict[int, _Health] = {}

    async def close(self) -> None:
        await self._session.close()

    async def fetch(self, order: Order) -> Whole:
        """Return a whole answer. Raises ApiError 503 or 504, or Refusal."""

        async def attempt(place: Place) -> Whole:
            response = await self._post(place.upstream, order)
            try:
                return Whole(place.upstream, await response.read())
            finally:
                response.release()

        whole, place = await self._first_of(order, attempt)
        place.leave()
        return whole

    async def open(self, order: Order) -> Stream:
        """Return an answer whose first byte is there. Raises ApiError 503 or 504, or Refusal."""

        async def attempt(place: Place) -> Stream:
            response = await self._post(place.upstream, order)
            try:
                first = await response.content.readany()
            except BaseException:
                response.close()
                raise
            if not first:
                response.release()
                raise UpstreamFailed("an empty stream")
            return Stream(place, response, first)

        stream, _ = await self._first_of(order, attempt)
        return stream

    async def _first_of[T](self, order: Order, attempt: Callable[[Place], Awaitable[T]]) -> tuple[T, Place]:
        """Return what the first deployment answers that can, with the place there, which is the caller's to leave.

        One after another, before the client has seen a byte, each once.
        """
        failure: UpstreamFailed | None = None
        left = self._in_order(order.upstreams)
        while left:
            place = await self._places.take(left, order.organization_id)
            upstream = place.upstream
            left = [each for each in left if each.id != upstream.id]
            health = self._health.setdefault(upstream.id, _Health())
            try:
                answer = await self._attempt_twice_when_stale(place, attempt)
            except UpstreamFailed as error:
                place.leave()
                failure = error
                health.note_failure(monotonic())
                log.warning("inference.upstream_failed", deployment=upstream.public_id, reason=str(error))
                continue
            except BaseException:
                place.leave()
                raise
            health.failures = 0
            return answer, place
        if isinstance(failure, UpstreamTimedOut):
            raise ApiError(
                504,
                "The model did not answer in time. Nothing was charged.",
                code="upstream_timeout",
                kind="server_error",
            )
        raise unavailable(
            "The model cannot be reached at the moment. Nothing was charged.",
            code="model_unavailable",
            retry_after_seconds=2,
        )

    async def _attempt_twice_when_stale[T](self, place: Place, attempt: Callable[[Place], Awaitable[T]]) -> T:
        try:
            try:
                return await attempt(place)
            except aiohttp.ServerDisconnectedError:
                # A kept connection that the upstream closed while we wrote: says nothing about its health.
                return await attempt(place)
        except TimeoutError as error:
            # A connection that is not accepted says that the server is away, silence that it hangs.
            if isinstance(error, aiohttp.ConnectionTimeoutError):
                raise UpstreamFailed("connection not accepted") from error
            raise UpstreamTimedOut("silent for too long") from error
        except aiohttp.ClientError as error:
            raise UpstreamFailed(type(error).__name__) from error

    async def _post(self, upstream: Upstream, order: Order) -> aiohttp.ClientResponse:
        response = await self._session.post(upstream.base_url + order.path, data=order.body(upstream))
        if response.status < FIRST_ERROR:
            return response
        try:
            if response.status in OURS_TO_BLAME or response.status >= FIRST_SERVER_ERROR:
                raise UpstreamFailed(f"status {response.status}")
            raise Refusal(response.status, await response.content.read(MAXIMUM_REFUSAL_BYTES))
        finally:
            response.close()

    def _in_order(self, upstreams: Sequence[Upstream]) -> list[Upstream]:
        """Return who may be asked: by weighted chance, those that the last probe found ill at the end."""
        now = monotonic()
        known = [(each, self._health.get(each.id) or _WELL) for each in upstreams]
        up = [each for each, health in known if health.is_up(now)]
        up = up or [each for each, health in known if health.may_be_tried(now)]
        if len(up) == 1:
            return up
        # Weighted shuffle: the larger the weight, the nearer to 1 the key.
        return sorted(up, key=lambda each: (not each.is_healthy, -(random.random() ** (1 / each.weight))))  # noqa: S311
