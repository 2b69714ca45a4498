"""Let people in through a SAML provider: the request, the answer that a browser posts, and the person in it.

The answer comes by a form of another site, and the session's cookie does not come with it. So it is checked first, as
far as it goes without a session, and waits under a ticket for the request that follows, which has the cookie. Rules:
docs/adr/0014-saml.md.
"""

import hashlib
import secrets
from datetime import datetime

import msgspec
from django.core.cache import cache

from accounts.gateways import Person, ProviderError, saml
from accounts.gateways.saml_provider import of_pems
from accounts.models import Membership, SsoConnection
from accounts.services.sso_sign_in import UnableToSignIn, admit_person
from portal.lib.sealing import seal_text, unseal_text

# Long enough for a redirect.
TICKET_SECONDS = 120
# How long the id of an assertion is remembered: longer than any request is (views.sso_door.ATTEMPT_SECONDS), and an
# assertion answers one.
ASSERTION_SECONDS = 3600
USED = "This answer of your identity provider was used already, or is too old: try again."


class Answer(msgspec.Struct, frozen=True):
    """What a provider has signed, on its way to the session that asked. connection: as it was when it was checked."""

    connection: str
    request_id: str
    relay_state: str
    subject: str
    email: str


def begin_saml_sign_in(
    *, connection: SsoConnection, us: saml.ServiceProvider, now: datetime
) -> tuple[saml.Request, str]:
    """Return a fresh request, to be kept in the browser's session, and where the browser goes. Writes nothing."""
    request = saml.new_request()
    return request, saml.request_address(_provider(connection), us, request, now=now)


def receive_answer(
    *, connection: SsoConnection, us: saml.ServiceProvider, answer: str, relay_state: str, now: datetime
) -> str:
    """Return a ticket for what a provider has signed, which waits two minutes and is taken once.

    answer: base64. Whoever sends it may be anybody, so nothing is kept of what is not signed. Raises UnableToSignIn for
    that, and for an assertion that came before, to whichever process.
    """
    try:
        said = saml.read_response(answer, _provider(connection), us, now=now)
    except ProviderError as error:
        raise UnableToSignIn(str(error)) from error
    if not cache.add(_key("assertion", connection.public_id, said.assertion_id), 1, ASSERTION_SECONDS):
        raise UnableToSignIn(USED)
    ticket = secrets.token_urlsafe(32)
    content = Answer(_version(connection), said.request_id, relay_state, said.person.subject, said.person.email)
    key = _key("ticket", ticket)
    cache.set(key, seal_text(msgspec.json.encode(content).decode(), context=key), TICKET_SECONDS)
    return ticket


def take_answer(*, connection: SsoConnection, ticket: str) -> Answer:
    """Return what waits under a ticket, once. Raises UnableToSignIn if nothing does, or it is another connection's."""
    key = _key("ticket", ticket)
    sealed = cache.get(key)
    # Of two that come at once, one deletes it.
    if sealed is None or not cache.delete(key):
        raise UnableToSignIn(USED)
    answer = msgspec.json.decode(unseal_text(sealed, context=key), type=Answer)
    if answer.connection != _version(connection):
        raise UnableToSignIn("Single sign-on was changed meanwhile: try again.")
    return answer


def finish_saml_sign_in(*, connection: SsoConnection, answer: Answer, now: datetime) -> Membership:
    """Return the membership to enter with, made if need be.

    The caller has seen that the answer is to a request of this session and has used that up. Raises UnableToSignIn, and
    changes nothing, as admit_person does.
    """
    return admit_person(connection=connection, said=Person(answer.subject, answer.email), now=now)


def _provider(connection: SsoConnection) -> saml.Provider:
    return saml.Provider(connection.issuer, connection.sign_in_url, of_pems(connection.certificates))


def _version(connection: SsoConnection) -> str:
    return f"{connection.public_id} {connection.changed_at.isoformat()}"


def _key(kind: str, *names: str) -> str:
    """Return a key of the shared cache; what is in the names may be long and strange."""
    return f"saml:{kind}:{hashlib.sha256(msgspec.json.encode(names)).hexdigest()}"
