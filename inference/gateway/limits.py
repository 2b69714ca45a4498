"""Requests and tokens per minute, per key, counted in this process.

A guard against runaway loops, not a promise of fairness: with several gateway processes each counts for itself.
Every limit is a bucket that refills evenly, so that a pause of a second gives a sixtieth of a minute back.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass, field
from time import monotonic

from accounts.models.api_key import REQUESTS_PER_MINUTE, TOKENS_PER_MINUTE
from inference.gateway.errors import ApiError

MAXIMUM_CALLERS = 100_000


@dataclass(frozen=True, slots=True)
class Rates:
    requests_per_minute: int = REQUESTS_PER_MINUTE
    tokens_per_minute: int = TOKENS_PER_MINUTE


@dataclass(slots=True)
class _Bucket:
    limit: int
    level: float = field(default=0.0)
    at: float = field(default_factory=monotonic)

    def __post_init__(self) -> None:
        self.level = float(self.limit)

    def refill(self, now: float) -> None:
        self.level = min(float(self.limit), self.level + (now - self.at) * self.limit / 60)
        self.at = now

    @property
    def remaining(self) -> int:
        return max(0, int(self.level))

    @property
    def seconds_to_full(self) -> float:
        return (self.limit - self.level) * 60 / self.limit

    @property
    def seconds_to_one(self) -> float:
        return max(0.0, (1 - self.level) * 60 / self.limit)


@dataclass(slots=True)
class Window:
    """What one caller has left."""

    requests: _Bucket
    tokens: _Bucket

    def spend_tokens(self, count: int) -> None:
        """Count what a request used. The level may fall below zero: the next requests wait until it has refilled."""
        self.tokens.level -= count

    def headers(self) -> dict[str, str]:
        shown = {"requests": self.requests, "tokens": self.tokens}
        lines: dict[str, str] = {}
        for name, bucket in shown.items():
            lines[f"x-ratelimit-limit-{name}"] = str(bucket.limit)
            lines[f"x-ratelimit-remaining-{name}"] = str(bucket.remaining)
            lines[f"x-ratelimit-reset-{name}"] = f"{bucket.seconds_to_full:.3f}s"
        lines["ratelimit-policy"] = ", ".join(f'"{name}";q={bucket.limit};w=60' for name, bucket in shown.items())
        lines["ratelimit"] = ", ".join(
            f'"{name}";r={bucket.remaining};t={math.ceil(bucket.seconds_to_full)}' for name, bucket in shown.items()
        )
        return lines


class Limits:
    def __init__(self, rates: Rates) -> None:
        self._rates = rates
        self._windows: OrderedDict[str, Window] = OrderedDict()

    def admit(self, name: str) -> Window:
        """Count a request of this caller. Raises ApiError 429 when a limit is used up."""
        now = monotonic()
        window = self._windows.get(name)
        if window is None:
            window = self._windows[name] = Window(
                _Bucket(self._rates.requests_per_minute), _Bucket(self._rates.tokens_per_minute)
            )
            if len(self._windows) > MAXIMUM_CALLERS:
                self._windows.popitem(last=False)
        window.requests.refill(now)
        window.tokens.refill(now)
        for unit, bucket in (("requests", window.requests), ("tokens", window.tokens)):
            if bucket.level < 1:
                raise ApiError(
                    429,
                    f"This key may use {bucket.limit} {unit} per minute. Slow down and try again.",
                    code="rate_limit_exceeded",
                    kind=unit,
                    headers=window.headers() | {"retry-after": str(math.ceil(bucket.seconds_to_one))},
                )
        window.requests.level -= 1
        return window
