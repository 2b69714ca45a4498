"""API keys as text: `hr_live_` + 34 random base62 characters + 6 of CRC32 over everything before (contracts 1).

The checksum lets every process refuse a mistyped key without asking the database.
"""

import hashlib
import hmac
import re
import zlib
from enum import StrEnum

from portal.lib.public_ids import ALPHABET, random_base62

RANDOM_LENGTH = 34
CHECKSUM_LENGTH = 6
HASH_VERSION = 1


class KeyKind(StrEnum):
    LIVE = "live"
    TEST = "test"
    MANAGEMENT = "mgmt"
    OPERATOR = "op"
    DIRECTORY = "scim"


# What API keys are of. TEST is a name kept for later: none is issued, and every door refuses it like an unknown key.
API_KEY_KINDS = (KeyKind.LIVE, KeyKind.MANAGEMENT)


_BODY = re.compile(
    rf"(?P<brand>[a-z]{{1,8}})_(?P<kind>live|test|mgmt|op|scim)_[0-9A-Za-z]{{{RANDOM_LENGTH + CHECKSUM_LENGTH}}}"
)


def new_secret(brand: str, kind: KeyKind) -> str:
    """Return a new key with 200 random bits."""
    body = f"{brand}_{kind.value}_{random_base62(RANDOM_LENGTH)}"
    return body + _checksum(body)


def kind_of(secret: str, brand: str) -> KeyKind | None:
    """Return the kind of a well-formed key of this brand, or None when it is malformed or its checksum is wrong."""
    # fullmatch: `$` would accept a trailing newline.
    match = _BODY.fullmatch(secret)
    if match is None or match["brand"] != brand:
        return None
    if _checksum(secret[:-CHECKSUM_LENGTH]) != secret[-CHECKSUM_LENGTH:]:
        return None
    return KeyKind(match["kind"])


def digest_of(secret: str, pepper: str) -> bytes:
    """Return what is stored instead of the key: 200 random bits need no slow hash, so this is HMAC-SHA-256."""
    return hmac.digest(pepper.encode(), secret.encode(), hashlib.sha256)


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits
