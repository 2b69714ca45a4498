"""Idempotency keys: a second request with a key gets the first one's answer, and one with other parameters an error."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from billing.demo_stripe.account import DAY
from billing.demo_stripe.refusals import Body, Refused

LONGEST = 255


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer that is given again for a day of the account's clock."""

    fingerprint: str
    status: int
    body: Body
    at: int


class Keys:
    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}
        self._in_use: set[str] = set()
        self._lock = threading.Lock()

    def reset(self) -> None:
        self._kept.clear()

    @contextmanager
    def held(self, key: str | None) -> Iterator[None]:
        """Keep the key while its request runs. Raises Refused when another request with it is running."""
        if key is None:
            yield
            return
        if not key or len(key) > LONGEST:
            raise Refused(f"An idempotency key has 1 to {LONGEST} characters.")
        with self._lock:
            if key in self._in_use:
                raise Refused(
                    "Another request with this idempotency key is running.",
                    status=409,
                    kind="idempotency_error",
                    code="idempotency_key_in_use",
                )
            self._in_use.add(key)
        try:
            yield
        finally:
            with self._lock:
                self._in_use.discard(key)

    def find(self, key: str | None, fingerprint: str, now: int) -> Kept | None:
        """Return the kept answer. Raises Refused when the key was used for something else."""
        kept = self._kept.get(key or "")
        if kept is None or now - kept.at > DAY:
            return None
        if kept.fingerprint != fingerprint:
            raise Refused(
                "The idempotency key was used with another address or other parameters; a new request needs a new key.",
                kind="idempotency_error",
            )
        return kept

    def keep(self, key: str | None, kept: Kept) -> None:
        if key is not None:
            self._kept[key] = kept


def fingerprint_of(method: str, path: str, body: bytes) -> str:
    return hashlib.sha256(b"\0".join((method.encode(), path.encode(), body))).hexdigest()
