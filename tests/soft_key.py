"""A passkey in software: what a security key does, and what a dishonest one could (WebAuthn level 2, ES256)."""

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from fido2.cbor import encode
from fido2.cose import ES256

USER_PRESENT, USER_VERIFIED, HAS_CREDENTIAL = 0x01, 0x04, 0x40
NOBODY = bytes(16)


def text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass
class SoftKey:
    """One credential. origin: what the browser says that it is looking at; site: whom the key believes to answer.

    uses: what it says next time that it has signed before, and is one more then; None: it does not count.
    """

    origin: str = "https://testserver"
    site: str = "testserver"
    credential_id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    secret: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    user_handle: str = ""
    uses: int | None = 0

    def but(self, **changes: Any) -> "SoftKey":
        """Return the same key with another origin, site or credential id."""
        return replace(self, **changes)

    def register(self, options: Any) -> str:
        """Answer a request to be enrolled; return what the page would send as `credential`."""
        asked = options["publicKey"]
        self.user_handle = asked["user"]["id"]
        public = encode(dict(ES256.from_cryptography_key(self.secret.public_key())))
        described = NOBODY + len(self.credential_id).to_bytes(2) + self.credential_id + public
        data = self._data(USER_PRESENT | USER_VERIFIED | HAS_CREDENTIAL) + described
        client = self._client("webauthn.create", asked["challenge"])
        return self._credential(
            {
                "clientDataJSON": text(client),
                "attestationObject": text(encode({"fmt": "none", "attStmt": {}, "authData": data})),
            },
            {"credProps": {"rk": True}},
        )

    def sign(self, options: Any) -> str:
        """Answer a request to sign in; return what the page would send as `credential`."""
        data = self._data(USER_PRESENT | USER_VERIFIED)
        client = self._client("webauthn.get", options["publicKey"]["challenge"])
        signature = self.secret.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(SHA256()))
        return self._credential(
            {
                "clientDataJSON": text(client),
                "authenticatorData": text(data),
                "signature": text(signature),
                "userHandle": self.user_handle,
            },
            {},
        )

    def _client(self, kind: str, challenge: str) -> bytes:
        return json.dumps({"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": False}).encode()

    def _data(self, flags: int) -> bytes:
        if self.uses is not None:
            self.uses += 1
        return hashlib.sha256(self.site.encode()).digest() + bytes([flags]) + (self.uses or 0).to_bytes(4)

    def _credential(self, response: dict[str, str], extensions: dict[str, Any]) -> str:
        identity = text(self.credential_id)
        return json.dumps(
            {
                "id": identity,
                "rawId": identity,
                "type": "public-key",
                "authenticatorAttachment": "platform",
                "clientExtensionResults": extensions,
                "response": response,
            }
        )
