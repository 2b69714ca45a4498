"""A limit that one process keeps by itself, for what is not worth a question to the cache."""

from collections import Counter

WINDOW_SECONDS = 60


class Throttle:
    """Lets so many through in a minute: of one name, and of all together."""

    def __init__(self, *, each: int, together: int) -> None:
        self._each, self._together = each, together
        self._began = 0.0
        # Never more names than `together`: who is refused is not counted.
        self._counts: Counter[str] = Counter()

    def admits(self, name: str, now: float) -> bool:
        """Count one more of a name and say whether it may pass. now: seconds of a clock that never goes back."""
        if now - self._began >= WINDOW_SECONDS:
            self._began = now
            self._counts.clear()
        if self._counts[name] >= self._each or self._counts.total() >= self._together:
            return False
        self._counts[name] += 1
        return True
