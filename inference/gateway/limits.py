"""Requests and tokens per minute and requests at once: per key, project and organization, over all processes.

Permits for requests are taken out of the common count a few at a time, so that most requests ask nobody; tokens are
counted when they are known, and what went over the limit is waited for. Law and proofs: docs/algorithms/limits.md.
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

import structlog

from accounts.models.rate_limit import Rates
from accounts.selectors.rate_limits import RatesInForce
from inference.gateway.counters import HELD_SECONDS, PART, UNREACHABLE, Ask, LocalCounters, SharedCounters, Told
from inference.gateway.errors import ApiError

log = structlog.get_logger(__name__)

# What was used is told to the others so often, and what is not used given back after so long.
TELL_SECONDS = 0.02
IDLE_SECONDS = 2.0
# Who lets requests in hears at least so often what the others used.
STALE_SECONDS = 0.25
# How long nobody asks a Valkey that did not answer.
PAUSE_SECONDS = 1.0
REFRESH_SECONDS = HELD_SECONDS / 3


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a limit holds for. scope: in the words of errors. name: a public id."""

    scope: str
    name: str
    rates: Rates


def subjects_of(
    scope: str, name: str, project_name: str, organization_name: str, rates: RatesInForce
) -> tuple[Subject, ...]:
    """Return who limits a caller. scope: "key" or "person". Subjects that nothing limits are left out."""
    subjects = (
        Subject(scope, name, rates.key),
        Subject("project", project_name, rates.project),
        Subject("organization", organization_name, rates.organization),
    )
    return tuple(subject for subject in subjects if subject.rates != Rates())


class _Share:
    """What this process has of one subject's limits, and what it has not told the others yet."""

    def __init__(self, subject: Subject, now: float) -> None:
        self.subject = subject
        self.permits = 0  # for requests, taken from the common count
        self.held = 0  # requests that may run at once
        self.got_all = True  # whether that is as many as were asked for
        self.running = 0
        self.starting = 0  # requests that wait for a permit
        self.used_tokens = 0
        self.requests_left = math.inf
        self.tokens_left = math.inf
        # Before the first answer nothing is known, and so nothing admitted.
        self.heard_at: float | None = None
        self.used_at = now

    @property
    def rates(self) -> Rates:
        return self.subject.rates

    @property
    def is_idle(self) -> bool:
        return not (self.running or self.starting or self.used_tokens)

    @property
    def has_more_than_it_needs(self) -> bool:
        return self.permits > 0 or self.held > self.running

    def shortage(self, now: float) -> str | None:
        """Return what a request lacks here, in the words of errors, or None when it may begin."""
        rates = self.rates
        if self.heard_at is None:
            return "requests"
        if rates.concurrent_requests is not None and self.running >= self.held:
            return "at_once"
        if rates.requests_per_minute is not None and not self.permits:
            return "requests"
        if rates.tokens_per_minute is not None and self.tokens_now(now) < 1:
            return "tokens"
        return None

    def begin(self, now: float) -> None:
        self.permits -= self.rates.requests_per_minute is not None
        self.running += 1
        self.used_at = now

    def ask(self, now: float) -> Ask:
        """Return what to say and to ask for; what was said is not said again."""
        is_wanted = self.starting > 0
        is_over = not is_wanted and now - self.used_at > IDLE_SECONDS
        ask = Ask(
            name=self.subject.name,
            rates=self.rates,
            requests=max(0, self.starting - self.permits),
            returned=self.permits if is_over else 0,
            tokens=self.used_tokens,
            running=self.running,
            at_once=self.running + max(self.starting, 0 if is_over else self._spare()),
            wants_portion=is_wanted,
        )
        self.permits -= ask.returned
        self.used_tokens = 0
        # Until the answer nothing begins on what the others may get now.
        self.held = min(self.held, ask.at_once)
        return ask

    def _spare(self) -> int:
        """Return how many of the places that nothing runs in to keep: few, and none of a small limit."""
        limit = self.rates.concurrent_requests or 0
        return max(0, min(self.held - self.running, limit // (4 * PART)))

    def hear(self, asked: Ask, told: Told, now: float) -> None:
        if self.rates.requests_per_minute is not None:
            self.permits += told.requests
        self.held, self.got_all = told.at_once, told.at_once >= asked.at_once
        self.requests_left, self.tokens_left, self.heard_at = told.requests_left, told.tokens_left, now

    def requests_now(self, now: float) -> int:
        return self._left(self.rates.requests_per_minute, self.requests_left, now, self.permits)

    def tokens_now(self, now: float) -> int:
        return self._left(self.rates.tokens_per_minute, self.tokens_left, now, -self.used_tokens)

    def _left(self, limit: int | None, left: float, now: float, more: int) -> int:
        if limit is None or self.heard_at is None:
            return 0
        return math.floor(min(float(limit), left + (now - self.heard_at) * limit / 60 + more))


class Admission:
    """One request that its limits let in, until it ends."""

    __slots__ = ("_changed", "_is_running", "_shares")

    def __init__(self, shares: Sequence[_Share], changed: Callable[[Sequence[_Share]], None]) -> None:
        self._shares = shares
        self._changed = changed
        self._is_running = True

    def spend_tokens(self, count: int) -> None:
        """Count what the request used. The level may fall below zero: the next requests wait until it has refilled."""
        for share in self._shares:
            share.used_tokens += count
        self._changed(self._shares)

    def end(self) -> None:
        """Let another request take its place; safe to repeat."""
        if not self._is_running:
            return
        self._is_running = False
        now = monotonic()
        for share in self._shares:
            share.running -= 1
            share.used_at = now
        self._changed(self._shares)

    def headers(self) -> dict[str, str]:
        return _headers(self._shares, monotonic())


class Limits:
    """What lets requests in. `shared` counts for all processes; while it is away this one keeps to its share."""

    def __init__(self, shared: SharedCounters) -> None:
        self._shared = shared
        self._alone = LocalCounters()
        self._shares: dict[str, _Share] = {}
        # Who waits for the next exchange, and who has something to tell.
        self._asking: dict[_Share, asyncio.Future[None]] = {}
        self._changed: set[_Share] = set()
        self._exchange: asyncio.Task[None] | None = None
        self._telling: asyncio.TimerHandle | None = None
        self._resume_at = 0.0

    async def admit(self, subjects: Sequence[Subject]) -> Admission:
        """Let a request begin. Raises ApiError 429 when a limit of any subject is used up."""
        shares = self._shares_of(subjects)
        refusal = await self._wait_for(shares)
        if refusal is not None:
            raise _too_fast(*refusal, shares, monotonic())
        return self._begin(shares)

    async def try_admit(self, subject: Subject) -> Admission | None:
        """Let a request begin as `admit` does, or return None."""
        shares = self._shares_of((subject,))
        return self._begin(shares) if await self._wait_for(shares) is None else None

    def _shares_of(self, subjects: Sequence[Subject]) -> list[_Share]:
        now = monotonic()
        return [self._share(subject, now) for subject in subjects]

    def _begin(self, shares: Sequence[_Share]) -> Admission:
        now = monotonic()
        for share in shares:
            share.begin(now)
        if stale := [share for share in shares if now - (share.heard_at or now) > STALE_SECONDS]:
            self._tell_soon(stale)
        return Admission(shares, self._tell_soon)

    async def _wait_for(self, shares: Sequence[_Share]) -> tuple[_Share, str] | None:
        """Ask for what is missing until nothing is; return what does not come, with whose it is."""
        now = monotonic()
        missing = [share for share in shares if share.shortage(now) is not None]
        if not missing:
            return None
        for share in shares:
            share.starting += 1
        try:
            while missing:
                await asyncio.gather(*(self._ask(share) for share in missing))
                now = monotonic()
                lacking = [(share, lack) for share in shares if (lack := share.shortage(now)) is not None]
                for share, lack in lacking:
                    # What came went to whoever was first: only where nothing is left is it a refusal.
                    if share in missing and not _may_come(share, lack):
                        return share, lack
                missing = [share for share, _ in lacking]
        finally:
            for share in shares:
                share.starting -= 1
        return None

    def _share(self, subject: Subject, now: float) -> _Share:
        share = self._shares.get(subject.name)
        if share is None:
            share = self._shares[subject.name] = _Share(subject, now)
        share.subject = subject
        return share

    # --- The exchange -----------------------------------------------------------------------------

    async def _ask(self, share: _Share) -> None:
        """Wait for the next exchange to hear of this share; all who ask meanwhile share it."""
        future = self._asking.get(share)
        if future is None:
            future = self._asking[share] = asyncio.get_running_loop().create_future()
        self._exchange_now()
        await asyncio.shield(future)

    def _tell_soon(self, shares: Sequence[_Share]) -> None:
        self._changed.update(shares)
        if self._telling is None:
            self._telling = asyncio.get_running_loop().call_later(TELL_SECONDS, self._exchange_now)

    def _exchange_now(self) -> None:
        self._telling = None
        if self._exchange is None or self._exchange.done():
            self._exchange = asyncio.create_task(self._exchange_all())

    async def _exchange_all(self) -> None:
        while self._asking or self._changed:
            asking, self._asking = self._asking, {}
            changed, self._changed = self._changed, set()
            try:
                await self._exchange_for([*asking, *(changed - asking.keys())])
            finally:
                for future in asking.values():
                    if not future.done():
                        future.set_result(None)

    async def _exchange_for(self, shares: Sequence[_Share]) -> None:
        now = monotonic()
        asks = [share.ask(now) for share in shares]
        told: list[Told] | None = None
        if now >= self._resume_at:
            try:
                told = await self._shared.exchange(asks)
            except UNREACHABLE as error:
                self._resume_at = monotonic() + PAUSE_SECONDS
                log.warning("inference.limits_alone", error=type(error).__name__, processes=self._alone.processes)
        if told is None:
            told = await self._alone.exchange(asks)
        now = monotonic()
        for share, ask, answer in zip(shares, asks, told, strict=True):
            share.hear(ask, answer, now)

    async def tend(self) -> None:
        """Say that we are alive and what runs here, give back what is idle, forget who is gone. Called every second."""
        now = monotonic()
        with suppress(*UNREACHABLE):
            self._alone.processes = max(1, await self._shared.processes())
        for name, share in list(self._shares.items()):
            idle = now - share.used_at > IDLE_SECONDS
            if share.is_idle and idle and not share.permits and not share.held:
                del self._shares[name]
            elif (idle and share.has_more_than_it_needs) or now - (share.heard_at or now) > REFRESH_SECONDS:
                self._changed.add(share)
        if self._changed:
            self._exchange_now()

    async def close(self) -> None:
        """Give everything back."""
        for share in self._shares.values():
            share.used_at = -math.inf
            self._changed.add(share)
        if self._changed:
            self._exchange_now()
        if self._exchange is not None:
            await self._exchange
        if self._telling is not None:
            self._telling.cancel()
        with suppress(*UNREACHABLE):
            await self._shared.close()


def _may_come(share: _Share, lack: str) -> bool:
    """Whether asking again may help: another request of ours took what had come."""
    return share.got_all if lack == "at_once" else lack == "requests" and share.requests_left >= 1


_SENTENCES = {
    "requests": "{whose} may send {limit} requests per minute",
    "tokens": "{whose} may use {limit} tokens per minute",
    "at_once": "{whose} may have {limit} requests running at once",
}
_WHOSE = {"key": "This key", "person": "You", "project": "This project", "organization": "Your organization"}


def _too_fast(share: _Share, lack: str, shares: Sequence[_Share], now: float) -> ApiError:
    rates = share.rates
    limit, seconds = {
        "requests": (rates.requests_per_minute, _seconds_to_one(rates.requests_per_minute, share.requests_left)),
        "tokens": (rates.tokens_per_minute, _seconds_to_one(rates.tokens_per_minute, share.tokens_left)),
        "at_once": (rates.concurrent_requests, 1.0),
    }[lack]
    sentence = _SENTENCES[lack].format(whose=_WHOSE[share.subject.scope], limit=limit)
    return ApiError(
        429,
        f"{sentence}. Slow down and try again in {math.ceil(seconds)} s.",
        code="rate_limit_exceeded",
        kind="requests" if lack == "at_once" else lack,
        headers=_headers(shares, now) | {"retry-after": str(math.ceil(seconds))},
        details={"scope": share.subject.scope, "limit": str(limit), "limited": _LIMITED[lack]},
    )


_LIMITED = {"requests": "requests_per_minute", "tokens": "tokens_per_minute", "at_once": "concurrent_requests"}


def _seconds_to_one(limit: int | None, left: float) -> float:
    return 1.0 if limit is None else max(1.0, (1 - left) * 60 / limit)


def _headers(shares: Sequence[_Share], now: float) -> dict[str, str]:
    """Return the headers of contracts 3, of requests and of tokens each what has least left."""
    shown: dict[str, tuple[int, int]] = {}
    for share in shares:
        for unit, limit, left_at in (
            ("requests", share.rates.requests_per_minute, share.requests_now),
            ("tokens", share.rates.tokens_per_minute, share.tokens_now),
        ):
            if limit is not None:
                now_left = max(0, left_at(now))
                if unit not in shown or now_left < shown[unit][1]:
                    shown[unit] = (limit, now_left)
    lines: dict[str, str] = {}
    for unit, (limit, left) in shown.items():
        lines[f"x-ratelimit-limit-{unit}"] = str(limit)
        lines[f"x-ratelimit-remaining-{unit}"] = str(left)
        lines[f"x-ratelimit-reset-{unit}"] = f"{(limit - left) * 60 / limit:.3f}s"
    lines["ratelimit-policy"] = ", ".join(f'"{unit}";q={limit};w=60' for unit, (limit, _) in shown.items())
    lines["ratelimit"] = ", ".join(
        f'"{unit}";r={left};t={math.ceil((limit - left) * 60 / limit)}' for unit, (limit, left) in shown.items()
    )
    return lines
