"""The servers that do the work: which one, and what they answered. Nothing here knows of money."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic

import aiohttp
import structlog

from inference.gateway.errors import ApiError, unavailable
from inference.gateway.offers import Upstream

log = structlog.get_logger(__name__)

CONNECT_SECONDS = 3.0
# Shorter than what servers keep an idle connection for, so that we seldom write into one that just closed.
KEEP_ALIVE_SECONDS = 4.0
# How long the rest of a finished stream may take to arrive.
DRAIN_SECONDS = 0.05
MAXIMUM_REFUSAL_BYTES = 64 * 1024
FAILURES_UNTIL_DOWN = 2
DOWN_SECONDS = 2.0

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

    upstream: Upstream
    response: aiohttp.ClientResponse
    first: bytes

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


@dataclass(frozen=True, slots=True)
class Whole:
    upstream: Upstream
    body: bytes


@dataclass(slots=True)
class _Health:
    failures: int = 0
    down_until: float = field(default=0.0)


class Upstreams:
    """Connections to deployments and this process's view of their health."""

    def __init__(self, *, key: str, idle_seconds: float) -> None:
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
        self._health: dict[int, _Health] = {}

    async def close(self) -> None:
        await self._session.close()

    async def fetch(self, upstreams: Sequence[Upstream], path: str, body: Callable[[Upstream], bytes]) -> Whole:
        """Return a whole answer. Raises ApiError 503 or 504, or Refusal."""

        async def attempt(upstream: Upstream) -> Whole:
            response = await self._post(upstream, path, body(upstream))
            try:
                return Whole(upstream, await response.read())
            finally:
                response.release()

        return await self._first_of(upstreams, attempt)

    async def open(self, upstreams: Sequence[Upstream], path: str, body: Callable[[Upstream], bytes]) -> Stream:
        """Return an answer whose first byte is there. Raises ApiError 503 or 504, or Refusal."""

        async def attempt(upstream: Upstream) -> Stream:
            response = await self._post(upstream, path, body(upstream))
            try:
                first = await response.content.readany()
            except BaseException:
                response.close()
                raise
            if not first:
                response.release()
                raise UpstreamFailed("an empty stream")
            return Stream(upstream, response, first)

        return await self._first_of(upstreams, attempt)

    async def _first_of[T](self, upstreams: Sequence[Upstream], attempt: Callable[[Upstream], Awaitable[T]]) -> T:
        """Return what the first deployment answers that can; one after another, before the client has seen a byte."""
        failure: UpstreamFailed | None = None
        for upstream in self._in_order(upstreams):
            health = self._health.setdefault(upstream.id, _Health())
            try:
                answer = await self._attempt_twice_when_stale(upstream, attempt)
            except UpstreamFailed as error:
                failure = error
                health.failures += 1
                if health.failures >= FAILURES_UNTIL_DOWN:
                    health.down_until = monotonic() + DOWN_SECONDS
                log.warning("inference.upstream_failed", deployment=upstream.public_id, reason=str(error))
                continue
            health.failures = 0
            return answer
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

    async def _attempt_twice_when_stale[T](self, upstream: Upstream, attempt: Callable[[Upstream], Awaitable[T]]) -> T:
        try:
            try:
                return await attempt(upstream)
            except aiohttp.ServerDisconnectedError:
                # A kept connection that the upstream closed while we wrote: says nothing about its health.
                return await attempt(upstream)
        except TimeoutError as error:
            # A connection that is not accepted says that the server is away, silence that it hangs.
            if isinstance(error, aiohttp.ConnectionTimeoutError):
                raise UpstreamFailed("connection not accepted") from error
            raise UpstreamTimedOut("silent for too long") from error
        except aiohttp.ClientError as error:
            raise UpstreamFailed(type(error).__name__) from error

    async def _post(self, upstream: Upstream, path: str, body: bytes) -> aiohttp.ClientResponse:
        response = await self._session.post(upstream.base_url + path, data=body)
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
        up = [each for each in upstreams if each.id not in self._health or self._health[each.id].down_until <= now]
        if len(up) == 1:
            return up
        # Weighted shuffle: the larger the weight, the nearer to 1 the key.
        return sorted(up, key=lambda each: (not each.is_healthy, -(random.random() ** (1 / each.weight))))  # noqa: S311
