"""A secret that waits in the session for the one page that shows it: encrypted, and gone once it was taken."""

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase

LIFE_SECONDS = 900


def put_secret(session: SessionBase, name: str, secret: str) -> None:
    """Keep `secret` for the next page that takes it, for 15 minutes at most. It is never stored in the clear."""
    session[_slot(name)] = _cipher().encrypt(secret.encode()).decode()


def take_secret(session: SessionBase, name: str) -> str | None:
    """Return the secret and forget it; None if there is none or it waited too long."""
    encrypted = session.pop(_slot(name), None)
    if encrypted is None:
        return None
    try:
        return _cipher().decrypt(encrypted.encode(), ttl=LIFE_SECONDS).decode()
    except InvalidToken:
        return None


def _slot(name: str) -> str:
    return f"one_time:{name}"


def _cipher() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.MFA_ENCRYPTION_KEYS])
