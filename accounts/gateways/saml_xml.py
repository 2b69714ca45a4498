"""Read XML that others wrote, and what of it an identity provider has signed.

A document may hold elements, attributes and text, and nothing else: no document type, entity, comment, section or
instruction, each of which lets two readers see two documents. `signed` returns what a signature covers, made anew from
the very bytes that were digested; whoever reads nothing else cannot be shown something unsigned.
"""

import re
from collections.abc import Sequence
from datetime import datetime

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509 import Certificate
from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.exceptions import InvalidCertificate, SignXMLException
from signxml.verifier import SignatureConfiguration, VerifyResult, XMLVerifier

from accounts.gateways import ProviderError

# A quarter of a megabyte; an answer with some hundred attributes has a tenth of that.
LONGEST_DOCUMENT = 256 * 1024

SAML = "urn:oasis:names:tc:SAML:2.0:assertion"
PROTOCOL = "urn:oasis:names:tc:SAML:2.0:protocol"
METADATA = "urn:oasis:names:tc:SAML:2.0:metadata"
SIGNATURE = "http://www.w3.org/2000/09/xmldsig#"

# By a private key, with SHA-2 of 256 bits or more. Never a shared secret, SHA-1, or what nobody uses.
SIGNATURE_METHODS = frozenset(
    (
        SignatureMethod.RSA_SHA256,
        SignatureMethod.RSA_SHA384,
        SignatureMethod.RSA_SHA512,
        SignatureMethod.ECDSA_SHA256,
        SignatureMethod.ECDSA_SHA384,
        SignatureMethod.ECDSA_SHA512,
        SignatureMethod.SHA256_RSA_MGF1,
        SignatureMethod.SHA384_RSA_MGF1,
        SignatureMethod.SHA512_RSA_MGF1,
    )
)
DIGESTS = frozenset((DigestAlgorithm.SHA256, DigestAlgorithm.SHA384, DigestAlgorithm.SHA512))
EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
ENVELOPED = f"{SIGNATURE}enveloped-signature"

_DECLARATION = re.compile(r"\s*<\?xml\s[^<>]*\?>")
NOT_SIGNED = "The answer of your identity provider is not signed as it must be."
# What signxml and what is under it raise for signatures that are none.
_REFUSALS = (
    SignXMLException,
    etree.LxmlError,
    UnsupportedAlgorithm,
    NotImplementedError,
    ValueError,
    TypeError,
    KeyError,
)


def read_answer(content: bytes) -> etree._Element:
    """Return the document that a provider sent. Raises ProviderError for anything but plain elements in UTF-8."""
    text = _text(content)
    body = _DECLARATION.sub("", text, count=1)
    if "<!" in body or "<?" in body:
        raise ProviderError("The answer of your identity provider holds a comment, a document type or the like.")
    return _parsed(text, keeps_comments=True)


def read_document(content: bytes) -> etree._Element:
    """As read_answer, for what an owner brings: comments are left out, a document type is refused all the same."""
    text = _text(content)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ProviderError("The document declares a document type, which metadata has no need of.")
    return _parsed(text, keeps_comments=False)


def _text(content: bytes) -> str:
    if len(content) > LONGEST_DOCUMENT:
        raise ProviderError("The document is too long.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ProviderError("The document is not written in UTF-8.") from error


def _parsed(text: str, *, keeps_comments: bool) -> etree._Element:
    # The encoding is given, so that no declaration makes other letters of the bytes than those looked at above.
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=not keeps_comments,
        remove_pis=not keeps_comments,
    )
    try:
        return etree.fromstring(text.encode(), parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise ProviderError("The document is not XML.") from error


def signed(element: etree._Element, certificates: Sequence[Certificate], *, now: datetime) -> etree._Element:
    """Return an element as its own signature covers it, signed by one of the certificates.

    Raises ProviderError unless the signature is the element's child, covers all of it and nothing else, by algorithms
    that are allowed, and the certificate is valid at `now`.
    """
    _check_form(element)
    configuration = SignatureConfiguration(
        location="./",
        expect_references=1,
        signature_methods=SIGNATURE_METHODS,
        digest_algorithms=DIGESTS,
        # The key is the certificate's, whatever the signature says of keys.
        ignore_ambiguous_key_info=True,
        verification_time=now,
    )
    alone = etree.tostring(element, with_tail=False)
    has_expired = False
    for certificate in certificates:
        try:
            result = XMLVerifier().verify(alone, x509_cert=certificate, id_attribute="ID", expect_config=configuration)
        except InvalidCertificate:
            has_expired = True
        except _REFUSALS:
            continue
        else:
            return _covered(result, element)
    if has_expired:
        raise ProviderError("A certificate of your identity provider has expired: an owner must store the new one.")
    raise ProviderError("The answer of your identity provider is not signed by a certificate that is stored here.")


def _check_form(element: etree._Element) -> None:
    """Refuse signatures that say more or less than: this element, all of it."""
    signatures = element.findall(f"{{{SIGNATURE}}}Signature")
    what = f"{{{SIGNATURE}}}Signature/{{{SIGNATURE}}}SignedInfo"
    references = element.findall(f"{what}/{{{SIGNATURE}}}Reference")
    canonical = element.find(f"{what}/{{{SIGNATURE}}}CanonicalizationMethod")
    method = element.find(f"{what}/{{{SIGNATURE}}}SignatureMethod")
    digest = element.find(f"{what}/{{{SIGNATURE}}}Reference/{{{SIGNATURE}}}DigestMethod")
    if len(signatures) != 1 or len(references) != 1 or canonical is None or method is None or digest is None:
        raise ProviderError(NOT_SIGNED)
    _check_algorithms(method.get("Algorithm"), digest.get("Algorithm"))
    transforms = [each.get("Algorithm") for each in references[0].iterfind(f".//{{{SIGNATURE}}}Transform")]
    is_whole = (
        element.get("ID")
        and references[0].get("URI") == f"#{element.get('ID')}"
        and transforms == [ENVELOPED, EXCLUSIVE]
        and canonical.get("Algorithm") == EXCLUSIVE
        and signatures[0].find(f"{{{SIGNATURE}}}Object") is None
    )
    if not is_whole:
        raise ProviderError(NOT_SIGNED)


def _check_algorithms(method: str | None, digest: str | None) -> None:
    """Say what is wrong where a provider's settings are; signxml would refuse it too, in no words for people."""
    if method not in {each.value for each in SIGNATURE_METHODS} or digest not in {each.value for each in DIGESTS}:
        raise ProviderError("Your identity provider signs by a weak algorithm, such as SHA-1: choose SHA-256 there.")


def _covered(result: VerifyResult | list[VerifyResult], element: etree._Element) -> etree._Element:
    found = None if isinstance(result, list) else result.signed_xml
    if found is None or (found.tag, found.get("ID")) != (element.tag, element.get("ID")):
        raise ProviderError(NOT_SIGNED)
    return found
