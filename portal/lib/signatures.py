"""Signatures of others over what they send us: Ed25519, or ECDSA on P-256 with SHA-256."""

import base64
import binascii
from collections.abc import Iterable

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

LONGEST_NAME = 80

type PublicKey = Ed25519PublicKey | EllipticCurvePublicKey


class UnreadableKey(ValueError):
    """`str(error)` says which entry, for the operator."""


def read_public_keys(entries: Iterable[str]) -> dict[str, PublicKey]:
    """Return public keys by id. entries: `id:` and the DER form (SubjectPublicKeyInfo) in base64."""
    return {entry.partition(":")[0]: _read(entry) for entry in entries}


def is_signed(body: bytes, *, signature: str, by: PublicKey) -> bool:
    """Whether `signature` (base64; of ECDSA in DER form) is this key's over the body."""
    try:
        decoded = base64.b64decode(signature, validate=True)
        if isinstance(by, Ed25519PublicKey):
            by.verify(decoded, body)
        else:
            by.verify(decoded, body, ECDSA(SHA256()))
    except (binascii.Error, ValueError, InvalidSignature):
        return False
    return True


def _read(entry: str) -> PublicKey:
    name, _, encoded = entry.partition(":")
    if not 0 < len(name) <= LONGEST_NAME:
        raise UnreadableKey(f"“{name[:40]}” is no id: it has 1 to {LONGEST_NAME} characters")
    try:
        key = load_der_public_key(base64.b64decode(encoded, validate=True))
    except (binascii.Error, ValueError, UnsupportedAlgorithm) as error:
        raise UnreadableKey(f"“{name[:40]}” has no public key that can be read") from error
    if isinstance(key, Ed25519PublicKey):
        return key
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return key
    raise UnreadableKey(f"“{name[:40]}” is neither an Ed25519 key nor one on P-256")
