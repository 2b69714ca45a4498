"""Secrets that we must be able to read again: envelope encryption, bound to the place where they are stored.

Each secret has a data key of its own, which encrypts it and is stored beside it, wrapped by the newest of
KEY_ENCRYPTION_KEYS. Both layers are AES-256-GCM with the secret's context as associated data, so a sealed value that
was moved to another row or column does not open. What only has to be recognized (API keys, tokens of links) is stored
as a digest instead. Form and reasons: docs/adr/0011-envelope-encryption.md.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
_VERSION = b"\x01"
_ID_BYTES = 5
# Version and id of the wrapping key: what says, without opening it, under which key a secret is. Two whole groups of
# base64, so that a text begins with it too.
HEADER_BYTES = len(_VERSION) + _ID_BYTES
_WRAPPED_BYTES = NONCE_BYTES + KEY_BYTES + TAG_BYTES
_SHORTEST = HEADER_BYTES + _WRAPPED_BYTES + NONCE_BYTES + TAG_BYTES
_TEXT_PREFIX = "sealed:"


class SealingError(Exception):
    """A secret cannot be sealed or opened. The message is for operators and holds nothing secret."""


class UnreadableKeys(SealingError, ValueError):
    """KEY_ENCRYPTION_KEYS is empty or has an entry that is no key."""


class UnknownKey(SealingError):
    """The key that wraps this secret is not in KEY_ENCRYPTION_KEYS any more."""


class NotSealedForThis(SealingError):
    """The value was sealed for another place, was changed, or was never sealed."""


@dataclass(frozen=True, slots=True)
class _Keys:
    newest: bytes  # header of what it wraps
    by_header: Mapping[bytes, AESGCM]


def seal(plain: str, *, context: str) -> bytes:
    """Return the secret sealed under a new data key and the newest key of the portal; no two calls return the same.

    context: where it is stored, such as table.column:row. Raises UnreadableKeys.
    """
    keys, data_key = _keys(), AESGCM.generate_key(KEY_BYTES * 8)
    nonce = os.urandom(NONCE_BYTES)
    content = nonce + AESGCM(data_key).encrypt(nonce, plain.encode(), _bound("content", context))
    return _wrapped(keys, data_key, context) + content


def unseal(sealed: bytes | memoryview, *, context: str) -> str:
    """Return the secret.

    Raises UnknownKey when the key that wraps it is gone, NotSealedForThis for another context or a changed value.
    """
    raw = bytes(sealed)
    data_key = _data_key(raw, context)
    content = raw[HEADER_BYTES + _WRAPPED_BYTES :]
    return _opened(AESGCM(data_key), content, _bound("content", context)).decode()


def needs_reseal(sealed: bytes | memoryview) -> bool:
    """Whether another than the newest key wraps this secret."""
    return bytes(sealed[:HEADER_BYTES]) != newest_header()


def reseal(sealed: bytes | memoryview, *, context: str) -> bytes:
    """Return the same secret with its data key wrapped by the newest key; the encrypted secret itself stays as it is.

    Raises as `unseal` does, for a changed content too: what is broken is not made to look fresh.
    """
    raw = bytes(sealed)
    unseal(raw, context=context)
    return _wrapped(_keys(), _data_key(raw, context), context) + raw[HEADER_BYTES + _WRAPPED_BYTES :]


def seal_text(plain: str, *, context: str) -> str:
    """As `seal`, for places that hold text, such as a JSON document or a session."""
    return text_of(seal(plain, context=context))


def unseal_text(text: str, *, context: str) -> str:
    """Return a secret that `seal_text` sealed. Raises as `unseal` does."""
    return unseal(bytes_of_text(text), context=context)


def is_sealed_text(text: str) -> bool:
    return text.startswith(_TEXT_PREFIX)


def text_of(sealed: bytes) -> str:
    """Return sealed bytes as the text that `unseal_text` reads."""
    return _TEXT_PREFIX + base64.urlsafe_b64encode(sealed).decode()


def bytes_of_text(text: str) -> bytes:
    """Return the sealed bytes that a text holds. Raises NotSealedForThis for any other text."""
    try:
        if not is_sealed_text(text):
            raise NotSealedForThis("the text is not a sealed secret")
        return base64.b64decode(text.removeprefix(_TEXT_PREFIX), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise NotSealedForThis("the text is not a sealed secret") from error


def newest_header() -> bytes:
    """Return the first HEADER_BYTES of everything that is sealed now. Raises UnreadableKeys."""
    return _keys().newest


def is_known_key(key_id: str) -> bool:
    """Whether the key of that id is among KEY_ENCRYPTION_KEYS."""
    return any(key_id_of(header) == key_id for header in _keys().by_header)


def key_id_of(header: bytes) -> str:
    """Return the id of a wrapping key as logs and `rotate_secrets` show it: ten hexadecimal digits."""
    return header[len(_VERSION) :].hex()


def check_keys(entries: Iterable[str]) -> None:
    """Raise UnreadableKeys unless there is a key and every entry is one: 32 random bytes in base64."""
    _read(tuple(entries))


def _keys() -> _Keys:
    return _read(tuple(settings.KEY_ENCRYPTION_KEYS))


@lru_cache(maxsize=8)
def _read(entries: tuple[str, ...]) -> _Keys:
    if not entries:
        raise UnreadableKeys("there is no key")
    found: dict[bytes, AESGCM] = {}
    for number, entry in enumerate(entries, 1):
        try:
            key = base64.b64decode(entry.replace("-", "+").replace("_", "/"), validate=True)
        except (binascii.Error, ValueError) as error:
            raise UnreadableKeys(f"entry {number} is not base64") from error
        if len(key) != KEY_BYTES:
            raise UnreadableKeys(f"entry {number} has {len(key)} bytes, not {KEY_BYTES}")
        header = _VERSION + hashlib.sha256(b"headroom key encryption key" + key).digest()[:_ID_BYTES]
        found.setdefault(header, AESGCM(key))
    return _Keys(newest=next(iter(found)), by_header=found)


def _wrapped(keys: _Keys, data_key: bytes, context: str) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return keys.newest + nonce + keys.by_header[keys.newest].encrypt(nonce, data_key, _bound("key", context))


def _data_key(raw: bytes, context: str) -> bytes:
    if len(raw) < _SHORTEST or not raw.startswith(_VERSION):
        raise NotSealedForThis("the value is not a sealed secret")
    header = raw[:HEADER_BYTES]
    key = _keys().by_header.get(header)
    if key is None:
        raise UnknownKey(f"the key {key_id_of(header)} is not in KEY_ENCRYPTION_KEYS")
    return _opened(key, raw[HEADER_BYTES : HEADER_BYTES + _WRAPPED_BYTES], _bound("key", context))


def _opened(key: AESGCM, sealed: bytes, bound_to: bytes) -> bytes:
    try:
        return key.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound_to)
    except InvalidTag as error:
        raise NotSealedForThis("the secret was sealed for another place, or changed") from error


def _bound(layer: str, context: str) -> bytes:
    return f"headroom sealing 1 {layer}\0{context}".encode()
