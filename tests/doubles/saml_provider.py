"""A SAML identity provider that plays by the rules, or breaks the one that a test wants broken.

Nothing is asked of one over the network, so it is an object: `answer_for` does what its page and the browser do, and
returns what the browser would post. What is said is `Says`; how it is signed, and what becomes of the document after,
is in the hands of the test. One that we did not write is in tests/doubles/real_saml_provider.py.
"""

import base64
import secrets
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from lxml import etree
from signxml.algorithms import CanonicalizationMethod, DigestAlgorithm, SignatureMethod
from signxml.signer import XMLSigner

NAMESPACES = {
    "samlp": "urn:oasis:names:tc:SAML:2.0:protocol",
    "saml": "urn:oasis:names:tc:SAML:2.0:assertion",
    "ds": "http://www.w3.org/2000/09/xmldsig#",
}
PERSISTENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"
SUCCESS = "urn:oasis:names:tc:SAML:2.0:status:Success"
MINUTES = timedelta(minutes=1)

type Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
type Element = Any


@cache
def key_named(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """Return a key that stays the same in this process; making one takes long."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def certificate_of(key: Key, *, begins: datetime | None = None, ends: datetime | None = None) -> str:
    """Return a certificate that a key has given itself, as PEM."""
    now = datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "idp.acme.example")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins or now - timedelta(days=1))
        .not_valid_after(ends or now + timedelta(days=30))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM).decode()


class _Signer(XMLSigner):
    def check_deprecated_methods(self) -> None:
        """Let a test sign with what nobody should."""


@dataclass(frozen=True)
class Says:
    """What an answer says. None leaves a thing out; times are from now."""

    in_response_to: str | None
    confirms: str | None  # the request in the assertion
    destination: str | None
    recipient: str | None
    audience: str | None
    issuer: str
    asserts_as: str | None  # the issuer in the assertion
    name_id: str = "u-1"
    form: str | None = PERSISTENT
    attributes: tuple[tuple[str, str], ...] = (("mail", "ada@acme.example"),)
    status: str = SUCCESS
    method: str = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
    issued: timedelta = timedelta(0)
    not_before: timedelta | None = -5 * MINUTES
    not_on_or_after: timedelta | None = 5 * MINUTES
    confirmed_until: timedelta | None = 5 * MINUTES
    session_until: timedelta | None = None
    has_statement: bool = True
    assertion_id: str = field(default_factory=lambda: f"_a{secrets.token_hex(8)}")
    response_id: str = field(default_factory=lambda: f"_r{secrets.token_hex(8)}")


@dataclass
class SamlProvider:
    entity_id: str = "https://idp.acme.example/metadata"
    sign_in_url: str = "https://idp.acme.example/sign-in"
    key: Key = field(default_factory=lambda: key_named("idp"))
    signs: tuple[str, ...] = ("Assertion",)
    algorithm: SignatureMethod = SignatureMethod.RSA_SHA256
    digest: DigestAlgorithm = DigestAlgorithm.SHA256
    canonical: CanonicalizationMethod = CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0
    # What a test changes: what is said, the document before it is signed, after, and as it is sent.
    change: Callable[[Says], Says] = lambda says: says
    before: Callable[[Element], None] = lambda root: None
    after: Callable[[Element], Element] = lambda root: root
    sent: Callable[[bytes], bytes] = lambda content: content

    @property
    def certificate(self) -> str:
        return certificate_of(self.key)

    def asked(self, address: str) -> tuple[Element, str]:
        """Return the request that a browser brings, and what it wants back with the answer."""
        assert address.startswith(f"{self.sign_in_url}?")
        query = parse_qs(urlsplit(address).query)
        request = etree.fromstring(zlib.decompress(base64.b64decode(query["SAMLRequest"][0]), -zlib.MAX_WBITS))
        assert request.tag == f"{{{NAMESPACES['samlp']}}}AuthnRequest"
        assert request.get("Destination") == self.sign_in_url
        return request, query["RelayState"][0]

    def answer_for(self, address: str) -> dict[str, str]:
        """Sign the person in, as the provider's page would, and return what the browser posts."""
        request, relay_state = self.asked(address)
        acs, us = request.get("AssertionConsumerServiceURL"), request.findtext("saml:Issuer", namespaces=NAMESPACES)
        name = request.get("ID")
        says = Says(
            in_response_to=name,
            confirms=name,
            destination=acs,
            recipient=acs,
            audience=us,
            issuer=self.entity_id,
            asserts_as=self.entity_id,
        )
        return {"SAMLResponse": self.document(self.change(says)), "RelayState": relay_state}

    def document(self, says: Says) -> str:
        root = etree.fromstring(written(says))
        self.before(root)
        for part in self.signs:
            root = self.signed(root, part)
        content = self.sent(etree.tostring(self.after(root)))
        return base64.b64encode(content).decode()

    def signed(self, root: Element, part: str) -> Element:
        """Return the document with the assertion, or with all of it, signed."""
        whole = part == "Response"
        element = root if whole else root.find("saml:Assertion", NAMESPACES)
        element.insert(1, etree.Element(f"{{{NAMESPACES['ds']}}}Signature", {"Id": "placeholder"}, nsmap=NAMESPACES))
        signer = _Signer(
            signature_algorithm=self.algorithm, digest_algorithm=self.digest, c14n_algorithm=self.canonical
        )
        alone = etree.fromstring(etree.tostring(element, with_tail=False))
        made = signer.sign(alone, key=self.key, cert=self.certificate, reference_uri=f"#{element.get('ID')}")
        if whole:
            return made
        root.replace(element, made)
        return root


def attribute(name: str, value: str | None) -> str:
    return "" if value is None else f' {name}="{value}"'


def moment(span: timedelta | None) -> str | None:
    return None if span is None else (datetime.now(UTC) + span).strftime("%Y-%m-%dT%H:%M:%SZ")


def written(says: Says) -> str:
    audience = (
        ""
        if says.audience is None
        else f"<saml:AudienceRestriction><saml:Audience>{says.audience}</saml:Audience></saml:AudienceRestriction>"
    )
    attributes = "".join(
        f'<saml:Attribute Name="{name}"><saml:AttributeValue>{value}</saml:AttributeValue></saml:Attribute>'
        for name, value in says.attributes
    )
    statement = (
        f'<saml:AuthnStatement AuthnInstant="{moment(says.issued)}"'
        f"{attribute('SessionNotOnOrAfter', moment(says.session_until))}><saml:AuthnContext/></saml:AuthnStatement>"
    )
    return (
        f'<samlp:Response xmlns:samlp="{NAMESPACES["samlp"]}" xmlns:saml="{NAMESPACES["saml"]}"'
        f' ID="{says.response_id}" Version="2.0" IssueInstant="{moment(says.issued)}"'
        f"{attribute('Destination', says.destination)}{attribute('InResponseTo', says.in_response_to)}>"
        f"<saml:Issuer>{says.issuer}</saml:Issuer>"
        f'<samlp:Status><samlp:StatusCode Value="{says.status}"/></samlp:Status>'
        f'<saml:Assertion ID="{says.assertion_id}" Version="2.0" IssueInstant="{moment(says.issued)}">'
        + ("" if says.asserts_as is None else f"<saml:Issuer>{says.asserts_as}</saml:Issuer>")
        + f"<saml:Subject><saml:NameID{attribute('Format', says.form)}>{says.name_id}</saml:NameID>"
        f'<saml:SubjectConfirmation Method="{says.method}"><saml:SubjectConfirmationData'
        f"{attribute('Recipient', says.recipient)}{attribute('InResponseTo', says.confirms)}"
        f"{attribute('NotOnOrAfter', moment(says.confirmed_until))}/></saml:SubjectConfirmation></saml:Subject>"
        f"<saml:Conditions{attribute('NotBefore', moment(says.not_before))}"
        f"{attribute('NotOnOrAfter', moment(says.not_on_or_after))}>{audience}</saml:Conditions>"
        + (statement if says.has_statement else "")
        + f"<saml:AttributeStatement>{attributes}</saml:AttributeStatement></saml:Assertion></samlp:Response>"
    )


def saying(**values: Any) -> Callable[[Says], Says]:
    return lambda says: replace(says, **values)


def metadata_of(provider: SamlProvider, certificates: int = 1) -> str:
    body = "".join(provider.certificate.splitlines()[1:-1])
    keys = [body, *("".join(certificate_of(key_named(f"m{n}")).splitlines()[1:-1]) for n in range(1, certificates))]
    described = "".join(
        f'<md:KeyDescriptor use="signing"><ds:KeyInfo><ds:X509Data><ds:X509Certificate>{key}</ds:X509Certificate>'
        "</ds:X509Data></ds:KeyInfo></md:KeyDescriptor>"
        for key in keys
    )
    return (
        f'<!-- made by hand --><md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata"'
        f' xmlns:ds="{NAMESPACES["ds"]}" entityID="{provider.entity_id}">'
        f'<md:IDPSSODescriptor protocolSupportEnumeration="{NAMESPACES["samlp"]}">{described}'
        '<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST" Location="https://no.example"/>'
        '<md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"'
        f' Location="{provider.sign_in_url}"/></md:IDPSSODescriptor></md:EntityDescriptor>'
    )
