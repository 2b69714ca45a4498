"""A secret that waits in the session for the one page that shows it: sealed, and gone once it was taken."""

import json
import time

from django.contrib.sessions.backends.base import SessionBase

from portal.lib.sealing import SealingError, seal_text, unseal_text

LIFE_SECONDS = 900


def put_secret(session: SessionBase, name: str, secret: str) -> None:
    """Keep `secret` for the next page that takes it, for 15 minutes at most. It is never stored in the clear."""
    slot = _slot(name)
    session[slot] = seal_text(json.dumps([int(time.time()) + LIFE_SECONDS, secret]), context=_context(slot))


def take_secret(session: SessionBase, name: str) -> str | None:
    """Return the secret and forget it; None if there is none or it waited too long."""
    slot = _slot(name)
    sealed = session.pop(slot, None)
    if sealed is None:
        return None
    try:
        until, secret = json.loads(unseal_text(sealed, context=_context(slot)))
    except SealingError:
        return None
    return str(secret) if time.time() < until else None


def _slot(name: str) -> str:
    return f"one_time:{name}"


def _context(slot: str) -> str:
    return f"session.{slot}"
