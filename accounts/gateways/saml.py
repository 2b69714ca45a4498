"""Talk to an identity provider by SAML 2.0: a request by redirect, and a signed answer that the browser posts.

Nothing here knows of organizations, people or sessions, and nothing is fetched: what we know of a provider its
organization has written down. Rules: docs/adr/0014-saml.md.
"""

import base64
import binascii
import secrets
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from cryptography.x509 import Certificate
from lxml import etree
from lxml.builder import ElementMaker

from accounts.gateways import Person, ProviderError
from accounts.gateways.saml_xml import METADATA, NOT_SIGNED, PROTOCOL, SAML, SIGNATURE, read_answer, signed

# Clocks differ; more than this is a clock to set right.
SKEW = timedelta(minutes=2)
LONGEST_SUBJECT = 255
LONGEST_ID = 255

REDIRECT = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
POST = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
BEARER = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success"
PERSISTENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
TRANSIENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"
ADDRESS = "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress"
UNSPECIFIED = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"
# Names of people that are never given to somebody else, for providers that put an address where the name belongs.
STABLE_ATTRIBUTES = (
    "urn:oasis:names:tc:SAML:attribute:pairwise-id",
    "urn:oasis:names:tc:SAML:attribute:subject-id",
    "http://schemas.microsoft.com/identity/claims/objectidentifier",
)
ADDRESS_ATTRIBUTES = (
    "urn:oid:0.9.2342.19200300.100.1.3",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress",
    "mail",
    "email",
    "emailAddress",
    "emailaddress",
)


@dataclass(frozen=True, slots=True)
class Provider:
    """What an organization has written down of its provider. certificates: what it signs with, one or two."""

    entity_id: str
    sign_in_url: str
    certificates: Sequence[Certificate]


@dataclass(frozen=True, slots=True)
class ServiceProvider:
    """Who we are to the provider, and where it sends its answers (assertion consumer service)."""

    entity_id: str
    acs_url: str


@dataclass(frozen=True, slots=True)
class Request:
    """One try to sign in: what only this browser's session knows until the provider sends the person back."""

    request_id: str
    relay_state: str


@dataclass(frozen=True, slots=True)
class Assertion:
    """What a provider has signed: whom it vouches for, to which request, under an id that is used once."""

    person: Person
    request_id: str
    assertion_id: str


def new_request() -> Request:
    # An id of XML may not begin with a digit.
    return Request(f"_{secrets.token_hex(20)}", secrets.token_urlsafe(32))


def request_address(provider: Provider, us: ServiceProvider, request: Request, *, now: datetime) -> str:
    """Return where the person's browser goes to sign in."""
    samlp = ElementMaker(namespace=PROTOCOL, nsmap={"samlp": PROTOCOL, "saml": SAML})
    saml = ElementMaker(namespace=SAML, nsmap={"saml": SAML})
    document = samlp.AuthnRequest(
        saml.Issuer(us.entity_id),
        samlp.NameIDPolicy(Format=PERSISTENT, AllowCreate="true"),
        ID=request.request_id,
        Version="2.0",
        IssueInstant=now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        Destination=provider.sign_in_url,
        AssertionConsumerServiceURL=us.acs_url,
        ProtocolBinding=POST,
    )
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = deflate.compress(etree.tostring(document)) + deflate.flush()
    query = urlencode({"SAMLRequest": base64.b64encode(packed).decode(), "RelayState": request.relay_state})
    joint = "&" if "?" in provider.sign_in_url else "?"
    return f"{provider.sign_in_url}{joint}{query}"


def our_metadata(us: ServiceProvider) -> bytes:
    """Return the document by which a provider gets to know us."""
    md = ElementMaker(namespace=METADATA, nsmap={"md": METADATA})
    document = md.EntityDescriptor(
        md.SPSSODescriptor(
            md.NameIDFormat(PERSISTENT),
            md.AssertionConsumerService(Binding=POST, Location=us.acs_url, index="0", isDefault="true"),
            AuthnRequestsSigned="false",
            WantAssertionsSigned="true",
            protocolSupportEnumeration=PROTOCOL,
        ),
        entityID=us.entity_id,
    )
    return etree.tostring(document, xml_declaration=True, encoding="utf-8")


def read_response(answer: str, provider: Provider, us: ServiceProvider, *, now: datetime) -> Assertion:
    """Return what the provider has signed in an answer, once everything is as it must be.

    answer: base64, as the browser posts it. That the request is this browser's, and that the assertion is used once,
    the caller sees to. Raises ProviderError.
    """
    try:
        content = base64.b64decode("".join(answer.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ProviderError("Your identity provider did not answer as SAML says.") from error
    root = read_answer(content)
    _check_shape(root)
    _check_envelope(root, provider, us)
    assertion = _signed_assertion(root, provider, now)
    _check_issuer(_one(assertion, f"{{{SAML}}}Issuer"), provider)
    if _time(assertion, "IssueInstant") > now + SKEW:
        raise ProviderError("The answer of your identity provider is from the future: a clock is wrong.")
    subject = _one(assertion, f"{{{SAML}}}Subject")
    request_id = _confirmed_request(subject, us, now)
    if request_id != root.get("InResponseTo"):
        raise ProviderError("The answer of your identity provider belongs to another sign-in.")
    _check_conditions(_one(assertion, f"{{{SAML}}}Conditions"), us, now)
    _check_statements(assertion, now)
    return Assertion(_person(subject, _attributes(assertion)), request_id, assertion.get("ID", ""))


def _check_shape(root: etree._Element) -> None:
    """Refuse everything but one answer with one assertion in it, where nothing can be taken for something else."""
    if root.tag != f"{{{PROTOCOL}}}Response" or root.get("Version") != "2.0":
        raise ProviderError("Your identity provider did not answer as SAML 2.0 says.")
    if next(root.iter(f"{{{SAML}}}EncryptedAssertion", f"{{{SAML}}}EncryptedID"), None) is not None:
        raise ProviderError("The answer of your identity provider is encrypted: turn encryption off there.")
    code = _one(_one(root, f"{{{PROTOCOL}}}Status"), f"{{{PROTOCOL}}}StatusCode")
    if code.get("Value") != SUCCESS:
        raise ProviderError("Your identity provider did not let you in.")
    if len(list(root.iter("{*}Assertion"))) != 1 or root.find(f"{{{SAML}}}Assertion") is None:
        raise ProviderError("The answer of your identity provider must hold one assertion, and holds none or several.")
    ids = [each.get(name) for each in root.iter() for name in ("ID", "Id", "id") if each.get(name) is not None]
    if len(ids) != len(set(ids)):
        raise ProviderError("The answer of your identity provider uses an id twice.")
    places = {root, root.find(f"{{{SAML}}}Assertion")}
    if any(each.getparent() not in places for each in root.iter(f"{{{SIGNATURE}}}Signature")):
        raise ProviderError(NOT_SIGNED)


def _check_envelope(root: etree._Element, provider: Provider, us: ServiceProvider) -> None:
    if root.get("Destination") != us.acs_url:
        raise ProviderError("The answer of your identity provider was meant for another address.")
    if (issuer := root.find(f"{{{SAML}}}Issuer")) is not None:
        _check_issuer(issuer, provider)
    if not root.get("InResponseTo"):
        raise ProviderError(
            "A sign-in that begins at your identity provider is not accepted, as anybody could have begun it."
            " Begin it here."
        )


def _signed_assertion(root: etree._Element, provider: Provider, now: datetime) -> etree._Element:
    """Return the assertion as it was signed: by its own signature, the answer's, or both, which must both hold."""
    signature = f"{{{SIGNATURE}}}Signature"
    is_signed = root.find(signature) is not None
    if is_signed:
        root = signed(root, provider.certificates, now=now)
    assertion = _one(root, f"{{{SAML}}}Assertion")
    if assertion.find(signature) is not None:
        return signed(assertion, provider.certificates, now=now)
    if not is_signed:
        raise ProviderError(NOT_SIGNED)
    return assertion


def _check_issuer(issuer: etree._Element, provider: Provider) -> None:
    if _text(issuer) != provider.entity_id:
        raise ProviderError("Another identity provider has answered.")


def _confirmed_request(subject: etree._Element, us: ServiceProvider, now: datetime) -> str:
    """Return to which request the assertion answers. It must be for whoever brings it, here, and now."""
    confirmation = _one(subject, f"{{{SAML}}}SubjectConfirmation")
    data = _one(confirmation, f"{{{SAML}}}SubjectConfirmationData")
    if confirmation.get("Method") != BEARER:
        raise ProviderError("The answer of your identity provider is not for whoever brings it.")
    if data.get("Recipient") != us.acs_url:
        raise ProviderError("The answer of your identity provider was meant for another address.")
    if data.get("NotBefore") is not None:
        _check_begun(data, now)
    _check_not_over(data, "NotOnOrAfter", now)
    return data.get("InResponseTo", "")


def _check_conditions(conditions: etree._Element, us: ServiceProvider, now: datetime) -> None:
    if conditions.get("NotBefore") is not None:
        _check_begun(conditions, now)
    if conditions.get("NotOnOrAfter") is not None:
        _check_not_over(conditions, "NotOnOrAfter", now)
    restrictions = conditions.findall(f"{{{SAML}}}AudienceRestriction")
    audiences = [{_text(each) for each in one.iterfind(f"{{{SAML}}}Audience")} for one in restrictions]
    # Each restriction must admit us, and there must be one.
    if not audiences or not all(us.entity_id in audience for audience in audiences):
        raise ProviderError("The answer of your identity provider was made for another program.")


def _check_statements(assertion: etree._Element, now: datetime) -> None:
    statements = assertion.findall(f"{{{SAML}}}AuthnStatement")
    if not statements:
        raise ProviderError("Your identity provider does not say that you have signed in there.")
    for statement in statements:
        if statement.get("SessionNotOnOrAfter") is not None:
            _check_not_over(statement, "SessionNotOnOrAfter", now)


def _check_begun(element: etree._Element, now: datetime) -> None:
    if now + SKEW < _time(element, "NotBefore"):
        raise ProviderError("The answer of your identity provider is not valid yet: a clock is wrong.")


def _check_not_over(element: etree._Element, name: str, now: datetime) -> None:
    if now - SKEW >= _time(element, name):
        raise ProviderError("The answer of your identity provider is too old.")


def _person(subject: etree._Element, attributes: dict[str, list[str]]) -> Person:
    name_id = _one(subject, f"{{{SAML}}}NameID")
    form, name = name_id.get("Format", UNSPECIFIED), _text(name_id)
    found = _stable_name(form, name, attributes)
    if not 0 < len(found) <= LONGEST_SUBJECT or not found.isprintable():
        raise ProviderError("The answer of your identity provider names nobody.")
    is_address = form == ADDRESS or (form == UNSPECIFIED and "@" in name)
    addresses = next((attributes[each] for each in ADDRESS_ATTRIBUTES if each in attributes), [])
    if len(set(addresses)) > 1:
        raise ProviderError("Your identity provider gives several e-mail addresses; it must give one.")
    return Person(found, addresses[0] if addresses else name if is_address else "")


def _stable_name(form: str, name: str, attributes: dict[str, list[str]]) -> str:
    """Return the name that the provider gives to nobody else, or raise ProviderError."""
    if form == TRANSIENT:
        raise ProviderError(
            "Your identity provider gives people another name each time (transient). Have it send a persistent one."
        )
    if form == PERSISTENT or (form == UNSPECIFIED and "@" not in name):
        return name
    for stable in STABLE_ATTRIBUTES:
        if len(attributes.get(stable, ())) == 1:
            return attributes[stable][0]
    raise ProviderError(
        "Your identity provider names people by their e-mail address, which may be given to somebody else one day."
        " Have it send a persistent NameID."
    )


def _attributes(assertion: etree._Element) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for attribute in assertion.iterfind(f"{{{SAML}}}AttributeStatement/{{{SAML}}}Attribute"):
        values = [_text(value) for value in attribute.iterfind(f"{{{SAML}}}AttributeValue") if not len(value)]
        found.setdefault(attribute.get("Name", ""), []).extend(value for value in values if value)
    return {name: values for name, values in found.items() if values}


def _one(parent: etree._Element, tag: str) -> etree._Element:
    found = parent.findall(tag)
    if len(found) != 1:
        raise ProviderError(f"The answer of your identity provider must hold one {etree.QName(tag).localname} there.")
    return found[0]


def _text(element: etree._Element) -> str:
    """Return all that an element says; one that holds other elements says nothing."""
    return "" if len(element) else (element.text or "").strip()


def _time(element: etree._Element, name: str) -> datetime:
    try:
        found = datetime.fromisoformat(element.get(name, ""))
    except ValueError as error:
        raise ProviderError("The answer of your identity provider holds a time that is none.") from error
    if found.tzinfo is None:
        raise ProviderError("The answer of your identity provider holds a time without its zone.")
    return found
