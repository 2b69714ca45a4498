"""Where rates are counted: in Valkey for all processes together, or while it is away in this one for its share.

Both follow one law (docs/algorithms/limits.md). `SharedCounters` has it in Lua, so that a subject is judged in one
step; `LocalCounters` has it in Python. A test plays the same sequences to both.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol

from redis.asyncio import Redis
from redis.exceptions import RedisError

from accounts.models.rate_limit import Rates

# A process takes so small a part of what is left that others find some too, and at most so many at a time.
PART = 16
LARGEST_PORTION = 64
# Requests at once that a process was given are its own for so long, unless it says again that it needs them.
HELD_SECONDS = 10
# A process that is silent for so long does not count any more.
ALIVE_SECONDS = 15
TIMEOUT_SECONDS = 0.25
MAXIMUM_SUBJECTS = 100_000

# What asking Valkey raises when it cannot be reached, or answers that it is not ready.
UNREACHABLE = (RedisError, OSError, TimeoutError)

_NONE = -1


@dataclass(frozen=True, slots=True)
class Ask:
    """What a process says and wants of one subject. Requests and tokens by number, `at_once` in all."""

    name: str
    rates: Rates
    requests: int  # needed now, at least
    returned: int  # taken before and not needed
    tokens: int  # used
    running: int  # at this moment
    at_once: int  # needed: those that run, and those that wait to
    # Whether a few more than needed are welcome.
    wants_portion: bool


@dataclass(frozen=True, slots=True)
class Told:
    """What it gets: permits for requests, how many may run at once in all, and what is left for everybody."""

    requests: int
    at_once: int
    requests_left: float
    tokens_left: float


class Counters(Protocol):
    async def exchange(self, asks: Sequence[Ask]) -> list[Told]:
        """Judge each ask. Raises what `UNREACHABLE` names, and then perhaps some were judged."""
        ...


# KEYS: levels, runners. ARGV: limits of requests, tokens and at once (-1: none); requests needed and returned, tokens
# used, running now and needed at once, whether a portion is wanted; the process, how long it holds in ms; PART and
# LARGEST_PORTION.
_LAW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local limit_r, limit_t, limit_c = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local need, returned, used = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local running, at_once, portion = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9] == '1'
local process, held_ms, part, largest = ARGV[10], tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13])

local kept = redis.call('HMGET', KEYS[1], 'r', 't', 'at')
local elapsed = kept[3] and math.max(0, now - tonumber(kept[3])) or 0
local function level(known, limit)
  if not known then return limit end
  return math.min(limit, tonumber(known) + elapsed * limit / 60000)
end

local granted, left_r, left_t = need, -1, -1
local wait = 0
if limit_r >= 0 then
  left_r = math.min(limit_r, level(kept[1], limit_r) + returned)
  local whole = math.floor(left_r)
  local wanted = need
  if portion then wanted = math.max(need, math.min(largest, math.floor(whole / part))) end
  granted = math.max(0, math.min(wanted, whole))
  left_r = left_r - granted
  wait = (limit_r - left_r) * 60000 / limit_r
end
if limit_t >= 0 then
  left_t = level(kept[2], limit_t) - used
  wait = math.max(wait, (limit_t - left_t) * 60000 / limit_t)
end
redis.call('DEL', KEYS[1])
if wait > 0 then
  redis.call('HSET', KEYS[1], 'at', now)
  if limit_r >= 0 then redis.call('HSET', KEYS[1], 'r', string.format('%.6f', left_r)) end
  if limit_t >= 0 then redis.call('HSET', KEYS[1], 't', string.format('%.6f', left_t)) end
  -- A bucket that is full again is as good as none.
  redis.call('PEXPIRE', KEYS[1], math.ceil(wait) + 1000)
end

local held = at_once
if limit_c >= 0 then
  local free, runners = limit_c, redis.call('HGETALL', KEYS[2])
  for index = 1, #runners, 2 do
    local count, until_ms = string.match(runners[index + 1], '^(%d+):(%d+)$')
    if tonumber(until_ms) <= now then
      redis.call('HDEL', KEYS[2], runners[index])
    elseif runners[index] ~= process then
      free = free - tonumber(count)
    end
  end
  local wanted = at_once
  if portion then wanted = at_once + math.min(largest, math.max(0, math.floor((free - at_once) / part))) end
  -- What runs already is counted, even if the limit has become smaller since.
  held = math.max(running, math.min(wanted, free))
  if held > 0 then
    redis.call('HSET', KEYS[2], process, string.format('%d:%d', held, now + held_ms))
    redis.call('PEXPIRE', KEYS[2], held_ms)
  else
    redis.call('HDEL', KEYS[2], process)
  end
end
return {granted, held, limit_r < 0 and 'none' or tostring(left_r), limit_t < 0 and 'none' or tostring(left_t)}
"""


class SharedCounters:
    """The counts of all processes, in Valkey."""

    def __init__(self, url: str, process: str) -> None:
        self._valkey = Redis.from_url(
            url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS, decode_responses=True
        )
        self._law = self._valkey.register_script(_LAW)
        self._process = process

    async def exchange(self, asks: Sequence[Ask]) -> list[Told]:
        async with self._valkey.pipeline(transaction=False) as pipeline:
            for ask in asks:
                # The braces keep both keys of a subject on one server of a cluster.
                keys = [f"limits:{{{ask.name}}}:levels", f"limits:{{{ask.name}}}:runners"]
                await self._law(keys, self._arguments(ask), client=pipeline)
            answers = await pipeline.execute()
        return [
            Told(int(requests), int(at_once), _limited(requests_left), _limited(tokens_left))
            for requests, at_once, requests_left, tokens_left in answers
        ]

    def _arguments(self, ask: Ask) -> list[int | str]:
        rates = ask.rates
        limits = (rates.requests_per_minute, rates.tokens_per_minute, rates.concurrent_requests)
        said = (ask.requests, ask.returned, ask.tokens, ask.running, ask.at_once, int(ask.wants_portion))
        return [
            *(_NONE if limit is None else limit for limit in limits),
            *said,
            self._process,
            HELD_SECONDS * 1000,
            PART,
            LARGEST_PORTION,
        ]

    async def processes(self) -> int:
        """Say that this process is alive, and return how many are. Raises what `UNREACHABLE` names."""
        seconds, _ = await self._valkey.time()
        async with self._valkey.pipeline(transaction=False) as pipeline:
            pipeline.zadd(_PROCESSES, {self._process: seconds + ALIVE_SECONDS})
            pipeline.zremrangebyscore(_PROCESSES, 0, seconds)
            pipeline.zcard(_PROCESSES)
            pipeline.expire(_PROCESSES, ALIVE_SECONDS)
            *_, count, _ = await pipeline.execute()
        return int(count)

    async def close(self) -> None:
        """Leave the others, and end the connections. Raises what `UNREACHABLE` names."""
        try:
            await self._valkey.zrem(_PROCESSES, self._process)
        finally:
            await self._valkey.aclose()


_PROCESSES = "limits:processes"


def _limited(left: str) -> float:
    """Return what is left; without a limit that is more than anybody asks for."""
    return math.inf if left == "none" else float(left)


@dataclass(slots=True)
class _Level:
    """A bucket that refills evenly within a minute."""

    left: float
    at: float  # seconds

    def refill(self, limit: int, now: float) -> None:
        self.left = min(float(limit), self.left + max(0.0, now - self.at) * limit / 60)
        self.at = now


@dataclass(slots=True)
class _Subject:
    requests: _Level | None = None
    tokens: _Level | None = None
    held: dict[str, int] = field(default_factory=dict)


class LocalCounters:
    """The counts of this process alone, of its share of every limit. `processes`: among how many that is divided."""

    def __init__(self, process: str = "", clock: Callable[[], float] = monotonic) -> None:
        self.processes = 1
        self._process = process
        self._clock = clock
        self._subjects: OrderedDict[str, _Subject] = OrderedDict()

    async def exchange(self, asks: Sequence[Ask]) -> list[Told]:
        return [self.judge(ask, self._process) for ask in asks]

    def judge(self, ask: Ask, process: str) -> Told:
        """Return what a process gets."""
        now = self._clock()
        subject = self._subjects.setdefault(ask.name, _Subject())
        if len(self._subjects) > MAXIMUM_SUBJECTS:
            self._subjects.popitem(last=False)
        requests, requests_left = self._requests(subject, ask, now)
        return Told(requests, self._at_once(subject, ask, process), requests_left, self._tokens(subject, ask, now))

    def _share(self, limit: int) -> int:
        return max(1, limit // self.processes)

    def _requests(self, subject: _Subject, ask: Ask, now: float) -> tuple[int, float]:
        if ask.rates.requests_per_minute is None:
            subject.requests = None
            return ask.requests, math.inf
        limit = self._share(ask.rates.requests_per_minute)
        level = subject.requests = subject.requests or _Level(limit, now)
        level.refill(limit, now)
        level.left = min(float(limit), level.left + ask.returned)
        whole = math.floor(level.left)
        wanted = max(ask.requests, min(LARGEST_PORTION, whole // PART)) if ask.wants_portion else ask.requests
        granted = max(0, min(wanted, whole))
        level.left -= granted
        return granted, level.left

    def _tokens(self, subject: _Subject, ask: Ask, now: float) -> float:
        if ask.rates.tokens_per_minute is None:
            subject.tokens = None
            return math.inf
        limit = self._share(ask.rates.tokens_per_minute)
        level = subject.tokens = subject.tokens or _Level(limit, now)
        level.refill(limit, now)
        level.left -= ask.tokens
        return level.left

    def _at_once(self, subject: _Subject, ask: Ask, process: str) -> int:
        if ask.rates.concurrent_requests is None:
            return ask.at_once
        limit = self._share(ask.rates.concurrent_requests)
        free = limit - sum(count for other, count in subject.held.items() if other != process)
        wanted = ask.at_once
        if ask.wants_portion:
            wanted += min(LARGEST_PORTION, max(0, (free - ask.at_once) // PART))
        held = max(ask.running, min(wanted, free))
        subject.held[process] = held
        return held
