"""Talk to an identity provider by OpenID Connect: authorization code with PKCE, and a signed ID token.

Nothing here knows of organizations or people. Whatever the provider says is checked before it is returned; every
request goes through portal.lib.outbound, since customers wrote the addresses. Rules: docs/adr/0010-single-sign-on.md.
"""

import base64
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

import jwt
import msgspec

from accounts.gateways import Person, ProviderError
from portal.lib.outbound import Answer, Unreachable, UnsafeAddress, fetch, read_url

# Signed with a private key. Never `none`, never a secret (HS…): whoever knows a public key could sign with it.
ALGORITHMS = frozenset(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"))
SMALLEST_RSA_BITS = 2048
MOST_KEYS = 100
# Clocks differ; a token is used within seconds of being made.
LEEWAY_SECONDS = 60
SCOPE = "openid email profile"
NEEDED_CLAIMS = ["iss", "sub", "aud", "exp", "iat"]
LONGEST_SUBJECT = 255
DISCOVERY_PATH = "/.well-known/openid-configuration"


class Provider(msgspec.Struct, frozen=True):
    """What a provider says of itself."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str = ""
    token_endpoint_auth_methods_supported: Sequence[str] = ("client_secret_basic",)


@dataclass(frozen=True, slots=True)
class Client:
    """Who we are to the provider."""

    client_id: str
    client_secret: str
    redirect_uri: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to sign in: what only this browser's session knows until the provider sends the person back."""

    state: str
    nonce: str
    verifier: str

    @property
    def challenge(self) -> str:
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class _Tokens(msgspec.Struct):
    id_token: str
    access_token: str = ""


class _Keys(msgspec.Struct):
    keys: list[dict[str, object]]


class _Claims(msgspec.Struct):
    sub: str
    email: str | None = None
    # Some write it as a text, and some leave it out.
    email_verified: bool | str | None = None
    nonce: str = ""
    aud: str | list[str] = ""
    azp: str = ""


def new_attempt() -> Attempt:
    return Attempt(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(64))


def discover(issuer: str) -> Provider:
    """Return what an issuer says of itself. Raises ProviderError unless all of it is there and may be gone to."""
    found = _json(_get(issuer.rstrip("/") + DISCOVERY_PATH), Provider)
    if found.issuer != issuer:
        raise ProviderError(f"The issuer calls itself “{found.issuer[:200]}”: enter exactly that.")
    for address in (found.authorization_endpoint, found.token_endpoint, found.jwks_uri):
        _checked(address)
    if found.userinfo_endpoint:
        _checked(found.userinfo_endpoint)
    return found


def authorization_address(provider: Provider, client: Client, attempt: Attempt, *, login_hint: str = "") -> str:
    """Return where the person's browser goes to sign in. login_hint: the address that they typed, if any."""
    query = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": client.redirect_uri,
        "scope": SCOPE,
        "state": attempt.state,
        "nonce": attempt.nonce,
        "code_challenge": attempt.challenge,
        "code_challenge_method": "S256",
        **({"login_hint": login_hint} if login_hint else {}),
    }
    joint = "&" if "?" in provider.authorization_endpoint else "?"
    return f"{provider.authorization_endpoint}{joint}{urlencode(query)}"


def identify(provider: Provider, client: Client, attempt: Attempt, *, code: str) -> Person:
    """Return whom the provider sent back with a code. Raises ProviderError for anything that is not as it must be."""
    tokens = _exchange(provider, client, attempt, code)
    claims = _verified_claims(tokens.id_token, provider, client, attempt)
    if not claims.email and provider.userinfo_endpoint and tokens.access_token:
        said = _userinfo(provider, tokens.access_token)
        if said.sub != claims.sub:
            raise ProviderError("Your identity provider speaks of two different people.")
        claims = said
    # Left out, the proof of the domain has to do: whoever has it answers for the addresses in it. Said to be wrong, it
    # may be what somebody wrote into a profile of their own.
    is_doubted = claims.email_verified not in (None, True, "true")
    return Person(claims.sub, "" if is_doubted else claims.email or "")


def _exchange(provider: Provider, client: Client, attempt: Attempt, code: str) -> _Tokens:
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": client.redirect_uri,
        "code_verifier": attempt.verifier,
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    methods = provider.token_endpoint_auth_methods_supported
    if "client_secret_basic" not in methods and "client_secret_post" in methods:
        form |= {"client_id": client.client_id, "client_secret": client.client_secret}
    else:
        pair = f"{quote(client.client_id, safe='')}:{quote(client.client_secret, safe='')}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    answer = _ask(provider.token_endpoint, "POST", headers, urlencode(form).encode())
    if not answer.is_success:
        raise ProviderError(
            "Your identity provider did not take the code back: it may be too old, or the secret wrong."
        )
    return _json(answer, _Tokens)


def _verified_claims(id_token: str, provider: Provider, client: Client, attempt: Attempt) -> _Claims:
    """Return what a token says once its signature, issuer, audience, times and nonce are right."""
    try:
        decoded = jwt.decode(
            id_token,
            _signing_key(id_token, provider),
            algorithms=sorted(ALGORITHMS),
            issuer=provider.issuer,
            audience=client.client_id,
            leeway=LEEWAY_SECONDS,
            options={"require": NEEDED_CLAIMS},
        )
        claims = msgspec.convert(decoded, _Claims)
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise ProviderError(f"The token of your identity provider is not valid ({type(error).__name__}).") from error
    if not secrets.compare_digest(claims.nonce.encode(errors="replace"), attempt.nonce.encode()):
        raise ProviderError("The token of your identity provider was made for another sign-in.")
    is_shared = isinstance(claims.aud, list) and len(claims.aud) > 1
    if (is_shared or claims.azp) and claims.azp != client.client_id:
        raise ProviderError("The token of your identity provider was made for another program.")
    if not 0 < len(claims.sub) <= LONGEST_SUBJECT or not claims.sub.isprintable():
        raise ProviderError("The token of your identity provider names nobody.")
    return claims


def _signing_key(id_token: str, provider: Provider) -> jwt.PyJWK:
    """Return the public key that the token says it is signed with. Raises ProviderError, and what PyJWT raises."""
    header = jwt.get_unverified_header(id_token)
    algorithm, key_id = header.get("alg"), header.get("kid")
    if algorithm not in ALGORITHMS:
        raise ProviderError("The token of your identity provider is not signed as it must be.")
    keys = [key for key in _json(_get(provider.jwks_uri), _Keys).keys[:MOST_KEYS] if _may_sign(key, algorithm)]
    if key_id is not None:
        keys = [key for key in keys if key.get("kid") == key_id]
    if len(keys) != 1:
        raise ProviderError("The token of your identity provider is signed with a key that it does not publish.")
    found = jwt.PyJWK(keys[0], algorithm=algorithm)
    if keys[0].get("kty") == "RSA" and found.key.key_size < SMALLEST_RSA_BITS:
        raise ProviderError("The key of your identity provider is too short.")
    return found


def _may_sign(key: dict[str, object], algorithm: str) -> bool:
    """Whether a published key is for signatures, of the algorithm's kind, and not a shared secret."""
    kinds = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
    return (
        key.get("kty") == kinds[algorithm[:2]]
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
    )


def _userinfo(provider: Provider, access_token: str) -> _Claims:
    headers = {"Authorization": f"Bearer {access_token}", "Accept": "application/json"}
    answer = _ask(provider.userinfo_endpoint, "GET", headers)
    if not answer.is_success:
        raise ProviderError("Your identity provider does not say who you are.")
    return _json(answer, _Claims)


def _get(address: str) -> Answer:
    answer = _ask(address, "GET", {"Accept": "application/json"})
    if not answer.is_success:
        raise ProviderError(f"{address} answered with the status {answer.status}.")
    return answer


def _ask(address: str, method: str, headers: dict[str, str], body: bytes = b"") -> Answer:
    try:
        return fetch(read_url(address), method=method, headers=headers, body=body)
    except UnsafeAddress as error:
        raise ProviderError(f"{address[:200]}: {error}") from error
    except Unreachable as error:
        raise ProviderError(f"{address} cannot be reached: {error}.") from error


def _checked(address: str) -> None:
    try:
        read_url(address)
    except UnsafeAddress as error:
        raise ProviderError(f"The issuer names the address “{address[:200]}”. {error}") from error


def _json[T](answer: Answer, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ProviderError("The identity provider answers with something else than OpenID Connect says.") from error
