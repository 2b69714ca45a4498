"""Read what an owner brings of an identity provider: its metadata, or its certificates."""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from accounts.gateways import ProviderError
from accounts.gateways.saml import REDIRECT
from accounts.gateways.saml_xml import METADATA, PROTOCOL, SIGNATURE, read_document

SMALLEST_RSA_BITS = 2048
SMALLEST_CURVE_BITS = 256
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Described:
    """What metadata says of a provider. certificates: as PEM, not looked at yet."""

    entity_id: str
    sign_in_url: str
    certificates: str


def read_metadata(text: str) -> Described:
    """Return what metadata says of its one provider.

    Nobody looks at its signature: an owner brings it. Raises ProviderError when it is none, or names no sign-in
    address for redirects or no certificate.
    """
    root = read_document(text.strip().encode(errors="replace"))
    if root.tag != f"{{{METADATA}}}EntityDescriptor":
        raise ProviderError("This is not the metadata of one identity provider (EntityDescriptor).")
    described = [
        each
        for each in root.iterfind(f"{{{METADATA}}}IDPSSODescriptor")
        if PROTOCOL in each.get("protocolSupportEnumeration", "").split()
    ]
    if len(described) != 1:
        raise ProviderError("The metadata does not describe an identity provider for SAML 2.0.")
    services = described[0].iterfind(f"{{{METADATA}}}SingleSignOnService")
    address = next((each.get("Location", "") for each in services if each.get("Binding") == REDIRECT), "")
    if not address:
        raise ProviderError("The metadata names no sign-in address that takes redirects (HTTP-Redirect).")
    bodies = [
        "".join((found.text or "").split())
        for key in described[0].iterfind(f"{{{METADATA}}}KeyDescriptor")
        if key.get("use", "signing") == "signing"
        for found in key.iter(f"{{{SIGNATURE}}}X509Certificate")
    ]
    if not bodies:
        raise ProviderError("The metadata holds no certificate for signatures.")
    pems = [f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n" for body in dict.fromkeys(bodies)]
    return Described(root.get("entityID", ""), address, "".join(pems))


def read_certificates(text: str, *, most: int, now: datetime) -> list[x509.Certificate]:
    """Return the certificates of a text, `most` of them at the most: PEM, or one in base64 alone.

    Raises ProviderError for what cannot be read, has expired or is too weak, and when none is valid yet.
    """
    bodies = _PEM.findall(text) or ([text] if text.strip() else [])
    if not bodies:
        raise ProviderError("Paste the certificate that your identity provider signs with.")
    if len(bodies) > most:
        raise ProviderError(
            f"There are {len(bodies)} certificates: give the one that signs now and, if it changes soon, the next."
        )
    found = list(dict.fromkeys(_read(body) for body in bodies))
    for certificate in found:
        _check_key(certificate)
        if certificate.not_valid_after_utc <= now:
            raise ProviderError(
                f"The certificate expired on {certificate.not_valid_after_utc:%Y-%m-%d}. Get the new one."
            )
    if all(certificate.not_valid_before_utc > now for certificate in found):
        first = min(certificate.not_valid_before_utc for certificate in found)
        raise ProviderError(f"The certificate is not valid before {first:%Y-%m-%d}.")
    return found


def to_pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def of_pems(pems: Sequence[str]) -> list[x509.Certificate]:
    """Return stored certificates, which were read before."""
    return [x509.load_pem_x509_certificate(pem.encode()) for pem in pems]


@dataclass(frozen=True, slots=True)
class CertificateLine:
    """A stored certificate as its owner recognizes it."""

    fingerprint: str  # SHA-256
    valid_until: datetime


def certificate_lines(pems: Sequence[str]) -> list[CertificateLine]:
    return [
        CertificateLine(each.fingerprint(hashes.SHA256()).hex(":").upper(), each.not_valid_after_utc.astimezone(UTC))
        for each in of_pems(pems)
    ]


def _read(body: str) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(base64.b64decode("".join(body.split()), validate=True))
    except (binascii.Error, ValueError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
        raise ProviderError(
            "The certificate cannot be read. Paste all of it, from BEGIN CERTIFICATE to END CERTIFICATE."
        ) from error


def _check_key(certificate: x509.Certificate) -> None:
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ProviderError("The certificate's key is of a kind that is not known here.") from error
    is_strong = (isinstance(key, rsa.RSAPublicKey) and key.key_size >= SMALLEST_RSA_BITS) or (
        isinstance(key, ec.EllipticCurvePublicKey) and key.key_size >= SMALLEST_CURVE_BITS
    )
    if not is_strong:
        raise ProviderError("The certificate's key must be RSA of at least 2048 bits, or of an elliptic curve.")
