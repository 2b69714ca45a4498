"""An OpenID Connect provider on loopback that plays by the rules, or breaks the one that a test wants broken.

It is asked over HTTP as a real one is. A browser's part, going there and coming back, is `answer_for`.
"""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

type Claims = dict[str, Any]


def new_key() -> RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public_jwk(key: RSAPrivateKey, kid: str) -> dict[str, Any]:
    return {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig"}


@dataclass
class Provider:
    """client_id, client_secret: the one program that it knows. person: claims of whoever signs in there."""

    port: int = 0
    client_id: str = "portal"
    client_secret: str = "s3cret :%/ü"
    person: Claims = field(default_factory=lambda: {"sub": "u-1", "email": "ada@acme.example", "email_verified": True})
    key: RSAPrivateKey = field(default_factory=new_key)
    keys: list[dict[str, Any]] = field(default_factory=list)
    # What a test changes: the claims before they are signed, and how they become a token.
    change: Callable[[Claims], Claims] = lambda claims: claims
    sign: Callable[["Provider", Claims], str] = lambda provider, claims: provider.signed(claims)
    discovery: dict[str, Any] = field(default_factory=dict)
    userinfo: Claims | None = None
    asked: list[str] = field(default_factory=list)
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.keys = self.keys or [public_jwk(self.key, "k1")]

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def signed(self, claims: Claims) -> str:
        return jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": "k1"})

    def answer_for(self, address: str) -> dict[str, str]:
        """Sign the person in, as the provider's page would, and return what the browser brings back."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert address.startswith(f"{self.issuer}/authorize?")
        assert asked["response_type"] == "code"
        assert asked["client_id"] == self.client_id
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        return {"code": code, "state": asked["state"]}

    def published(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            **({"userinfo_endpoint": f"{self.issuer}/userinfo"} if self.userinfo is not None else {}),
            **self.discovery,
        }

    def tokens(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """Answer at the token endpoint: a code works once, for its program, verifier and redirect address."""
        asked = self._codes.pop(form.get("code", ""), None)
        client = self._client(form, authorization)
        if client != (self.client_id, self.client_secret):
            return 401, {"error": "invalid_client"}
        if asked is None or form.get("redirect_uri") != asked["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != asked["code_challenge"]:
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": self.client_id, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        token = self.sign(self, self.change({**claims, **self.person}))
        return 200, {"access_token": "at", "token_type": "Bearer", "id_token": token}

    def _client(self, form: dict[str, str], authorization: str) -> tuple[str, str]:
        if authorization.startswith("Basic "):
            name, _, secret = base64.b64decode(authorization[6:]).decode().partition(":")
            return unquote(name), unquote(secret)
        return form.get("client_id", ""), form.get("client_secret", "")


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"

    def do_GET(self) -> None:
        provider = self.server.provider
        provider.asked.append(self.path)
        match self.path:
            case "/.well-known/openid-configuration":
                self._say(200, provider.published())
            case "/jwks":
                self._say(200, {"keys": provider.keys})
            case "/userinfo" if self.headers["Authorization"] == "Bearer at":
                self._say(200, provider.userinfo or {})
            case _:
                self._say(404, {})

    def do_POST(self) -> None:
        provider = self.server.provider
        provider.asked.append(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        self._say(*provider.tokens(form, self.headers.get("Authorization", "")))

    def _say(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """The test says what it wants to know."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    provider: Provider


@contextmanager
def running_provider() -> Iterator[Provider]:
    server = _Server(("127.0.0.1", 0), _Handler)
    server.provider = Provider(port=server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
