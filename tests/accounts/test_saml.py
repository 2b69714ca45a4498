"""Single sign-on by SAML: who is let in by what a provider signs, and every way in which it may lie (security N13).

Against a provider of our own that breaks one rule at a time; a real one is in test_saml_real_provider.py.
"""

import copy
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import time_machine
from allauth.account.models import EmailAddress
from cryptography.hazmat.primitives.asymmetric import ec
from django.test import Client
from django.urls import reverse
from lxml import etree
from signxml.algorithms import CanonicalizationMethod, DigestAlgorithm, SignatureMethod

from accounts.models import AuditEvent, Membership, Organization, Role, SsoConnection, SsoIdentity, User
from accounts.services.saml_sign_in import receive_answer
from accounts.services.sso_connections import UnableToSetUpSso, set_up_saml, set_up_sso
from accounts.services.sso_sign_in import UnableToSignIn
from accounts.views.saml import service_provider
from tests.accounts.test_sso import begin, make_person, user_of
from tests.doubles.identity_provider import running_provider
from tests.doubles.saml_provider import (
    MINUTES,
    NAMESPACES,
    Element,
    SamlProvider,
    Says,
    certificate_of,
    key_named,
    metadata_of,
    saying,
)
from tests.factories.accounts import make_domain, make_membership, make_organization

pytestmark = pytest.mark.django_db

NOW = datetime.now(UTC)
SIGNATURE, ASSERTION = f"{{{NAMESPACES['ds']}}}Signature", f"{{{NAMESPACES['saml']}}}Assertion"


@pytest.fixture
def provider() -> SamlProvider:
    return SamlProvider()


@pytest.fixture
def organization() -> Organization:
    return make_organization("Acme")


@pytest.fixture
def owner(organization: Organization) -> Membership:
    make_domain(organization, "acme.example")
    return make_membership(organization, make_person("olga@acme.example"))


@pytest.fixture
def connection(provider: SamlProvider, owner: Membership) -> SsoConnection:
    return set_up(provider, owner)


def set_up(provider: SamlProvider, by: Membership, **more: Any) -> SsoConnection:
    given = {
        "entity_id": provider.entity_id,
        "sign_in_url": provider.sign_in_url,
        "certificates": provider.certificate,
        "default_role": Role.DEVELOPER,
        **more,
    }
    return set_up_saml(by=by, now=datetime.now(UTC), **given)


def post(organization: Organization, brought: dict[str, str]) -> Any:
    """Post an answer as a browser does from another site: without a cookie, and without a token of ours."""
    answer = Client(enforce_csrf_checks=True).post(reverse("accounts:saml-acs", args=[organization.slug]), brought)
    assert answer.status_code == 303
    assert not answer.cookies, "they would replace those that did not come along"
    return answer


def bring(client: Client, organization: Organization, brought: dict[str, str]) -> Any:
    return client.get(post(organization, brought)["Location"])


def sign_in(client: Client, provider: SamlProvider, organization: Organization, **form: str) -> Any:
    return bring(client, organization, provider.answer_for(begin(client, organization, **form)))


def assert_refused(client: Client, answer: Any, words: str = "") -> None:
    assert answer.status_code == 403
    content = answer.content.decode()
    assert "Not signed in" in content
    assert words in content, re.findall(r"<p>(.*?)</p>", content)
    assert user_of(client) is None
    assert not SsoIdentity.objects.exists()
    assert set(User.objects.values_list("email", flat=True)) == {"olga@acme.example"}
    assert not AuditEvent.objects.filter(action__in=["sso.linked", "sso.member_made", "sso.signed_in"]).exists()


# --- Let in --------------------------------------------------------------------------------------


@pytest.mark.parametrize("signs", [("Assertion",), ("Response",), ("Assertion", "Response")], ids=" and ".join)
def test_who_is_new_becomes_a_member_with_the_default_role(
    client: Client,
    provider: SamlProvider,
    organization: Organization,
    connection: SsoConnection,
    signs: tuple[str, ...],
):
    provider.signs = signs

    answer = sign_in(client, provider, organization, next=f"/o/{organization.slug}/keys/")

    assert (answer.status_code, answer["Location"]) == (302, f"/o/{organization.slug}/keys/")
    member = Membership.objects.get(user__email="ada@acme.example")
    assert member.role == Role.DEVELOPER
    assert user_of(client) == str(member.user_id)
    assert EmailAddress.objects.get(user=member.user).verified
    assert SsoIdentity.objects.get().subject == "u-1"
    entry = AuditEvent.objects.latest("sequence")
    assert (entry.action, entry.actor_id, entry.target_id) == (
        "sso.member_made",
        member.user.public_id,
        member.public_id,
    )
    assert entry.origin_id
    assert entry.request_id
    assert "ada@" not in entry.changes


def test_the_name_counts_the_second_time_and_not_the_address(
    client: Client, provider: SamlProvider, organization: Organization, connection: SsoConnection
):
    sign_in(client, provider, organization)
    provider.change = saying(attributes=(("mail", "ada.lovelace@acme.example"),))

    again = Client()
    assert sign_in(again, provider, organization).status_code == 302

    assert user_of(again) == user_of(client)
    provider.change = saying(name_id="u-2")
    other = Client()
    assert "by another name before" in sign_in(other, provider, organization).content.decode()
    assert user_of(other) is None


def test_what_we_ask_names_us_and_says_nothing_of_the_person(
    client: Client, provider: SamlProvider, organization: Organization, connection: SsoConnection, settings: Any
):
    request, relay_state = provider.asked(begin(client, organization))

    base = f"{settings.PORTAL_URL}/sso/{organization.slug}"
    assert request.findtext("saml:Issuer", namespaces=NAMESPACES) == f"{base}/metadata/"
    assert request.get("AssertionConsumerServiceURL") == f"{base}/acs/"
    assert request.get("ProtocolBinding").endswith("HTTP-POST")
    assert request.get("ID") not in relay_state
    assert organization.slug not in relay_state


@pytest.mark.usefixtures("connection")
@pytest.mark.parametrize(
    ("says", "subject"),
    [
        (saying(form=None, name_id="staff-17"), "staff-17"),
        (
            saying(
                form="urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress",
                name_id="ada@acme.example",
                attributes=(("http://schemas.microsoft.com/identity/claims/objectidentifier", "8f2c"),),
            ),
            "8f2c",
        ),
    ],
    ids=["unspecified", "address with a stable attribute"],
)
def test_a_provider_may_name_people_otherwise_as_long_as_the_name_stays(
    client: Client,
    provider: SamlProvider,
    organization: Organization,
    says: Callable[[Says], Says],
    subject: str,
):
    provider.change = says

    assert sign_in(client, provider, organization).status_code == 302
    assert SsoIdentity.objects.get().subject == subject


def test_clocks_may_differ_by_two_minutes(
    client: Client, provider: SamlProvider, organization: Organization, connection: SsoConnection
):
    provider.change = saying(
        issued=1.8 * MINUTES, not_before=1.8 * MINUTES, not_on_or_after=-1.8 * MINUTES, confirmed_until=-1.8 * MINUTES
    )

    assert sign_in(client, provider, organization).status_code == 302


@pytest.mark.parametrize(
    ("algorithm", "digest"),
    [
        (SignatureMethod.RSA_SHA512, DigestAlgorithm.SHA512),
        (SignatureMethod.SHA256_RSA_MGF1, DigestAlgorithm.SHA384),
        (SignatureMethod.ECDSA_SHA384, DigestAlgorithm.SHA384),
    ],
    ids=str,
)
def test_stronger_signatures_are_as_good(
    client: Client, organization: Organization, owner: Membership, algorithm: SignatureMethod, digest: DigestAlgorithm
):
    is_curve = algorithm is SignatureMethod.ECDSA_SHA384
    key = ec.generate_private_key(ec.SECP384R1()) if is_curve else key_named("idp")
    provider = SamlProvider(key=key, algorithm=algorithm, digest=digest)
    set_up(provider, owner)

    assert sign_in(client, provider, organization).status_code == 302


def test_two_certificates_hold_while_the_provider_changes_from_one_to_the_next(
    client: Client, provider: SamlProvider, organization: Organization, connection: SsoConnection, owner: Membership
):
    sign_in(client, provider, organization)
    set_up(provider, owner, certificates=provider.certificate + certificate_of(key_named("next")))
    assert SsoIdentity.objects.exists(), "the provider is still the same"

    for name in ("idp", "next"):
        provider.key = key_named(name)
        assert sign_in(Client(), provider, organization).status_code == 302

    set_up(provider, owner, certificates=certificate_of(key_named("next")))
    provider.key = key_named("idp")
    assert sign_in(Client(), provider, organization).status_code == 403


# --- Refused: signatures ---------------------------------------------------------------------------


def unsigned(provider: SamlProvider) -> None:
    provider.signs = ()


def by_another_key(provider: SamlProvider) -> None:
    provider.key = key_named("attacker")


def by_sha1(provider: SamlProvider) -> None:
    provider.algorithm = SignatureMethod.RSA_SHA1


def with_a_sha1_digest(provider: SamlProvider) -> None:
    provider.digest = DigestAlgorithm.SHA1


def with_comments_signed(provider: SamlProvider) -> None:
    provider.canonical = CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0_WITH_COMMENTS


def by_a_secret(provider: SamlProvider) -> None:
    """The signature says that it is an HMAC; a verifier that obeys takes the public certificate for the secret."""

    def relabel(root: Element) -> Element:
        method = root.find(".//ds:SignatureMethod", NAMESPACES)
        method.set("Algorithm", "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256")
        return root

    provider.after = relabel


def edited(path: str, text: str) -> Callable[[SamlProvider], None]:
    """Return what changes a text after it was signed."""

    def spoil(provider: SamlProvider) -> None:
        def edit(root: Element) -> Element:
            root.find(path, NAMESPACES).text = text
            return root

        provider.after = edit

    return spoil


def a_broken_one_of_two(provider: SamlProvider) -> None:
    """The assertion is signed well, and the answer around it is not what was signed."""
    provider.signs = ("Assertion", "Response")

    def edit(root: Element) -> Element:
        root.set("IssueInstant", "2020-01-01T00:00:00Z")
        return root

    provider.after = edit


def a_reference_to_everything(provider: SamlProvider) -> None:
    def edit(root: Element) -> Element:
        root.find(".//ds:Reference", NAMESPACES).set("URI", "")
        return root

    provider.after = edit


def another_transform(provider: SamlProvider) -> None:
    def edit(root: Element) -> Element:
        transforms = root.find(".//ds:Transforms", NAMESPACES)
        added = etree.Element(f"{{{NAMESPACES['ds']}}}Transform")
        added.set("Algorithm", "http://www.w3.org/TR/1999/REC-xslt-19991116")
        transforms.insert(0, added)
        return root

    provider.after = edit


@pytest.mark.parametrize(
    "spoil",
    [
        unsigned,
        by_another_key,
        by_sha1,
        with_a_sha1_digest,
        with_comments_signed,
        by_a_secret,
        edited(".//saml:NameID", "u-9"),
        edited(".//ds:SignatureValue", "AAAA"),
        edited(".//ds:SignatureValue", "not base64"),
        edited(".//ds:DigestValue", "AAAA"),
        a_broken_one_of_two,
        a_reference_to_everything,
        another_transform,
    ],
)
@pytest.mark.asvs("6.8.2")
def test_an_answer_that_is_not_signed_as_it_must_opens_nothing(
    client: Client,
    provider: SamlProvider,
    organization: Organization,
    connection: SsoConnection,
    spoil: Callable[[SamlProvider], None],
):
    spoil(provider)

    assert_refused(client, sign_in(client, provider, organization))


def test_an_expired_certificate_opens_nothing_and_says_so(
    client: Client, organization: Organization, owner: Membership, provider: SamlProvider
):
    ends = datetime.now(UTC) + timedelta(hours=1)
    set_up(provider, owner, certificates=certificate_of(provider.key, ends=ends))

    with time_machine.travel(ends + timedelta(minutes=1)):
        assert_refused(client, sign_in(client, provider, organization), "has expired")


# --- Refused: wrapped signatures -------------------------------------------------------------------
#
# One person of the organization, who is let in as themselves, makes of their answer one that names the owner: the
# signed part stays somewhere in the document, and something else stands where it is read.


def evil(signed: Element) -> Element:
    """Return a copy that names somebody else, without a signature."""
    copied = copy.deepcopy(signed)
    for signature in copied.findall(".//ds:Signature", NAMESPACES):
        signature.getparent().remove(signature)
    copied.set("ID", "_evil")
    copied.find(".//saml:NameID", NAMESPACES).text = "boss"
    copied.find(".//saml:AttributeValue", NAMESPACES).text = "olga@acme.example"
    return copied


def parts(root: Element) -> tuple[Element, Element]:
    """Return the assertion and its signature."""
    assertion = root.find("saml:Assertion", NAMESPACES)
    return assertion, assertion.find("ds:Signature", NAMESPACES)


def response_inside_signature(root: Element) -> Element:
    forged, original = evil(root), copy.deepcopy(root)
    signature = root.find("ds:Signature", NAMESPACES)
    original.remove(original.find("ds:Signature", NAMESPACES))
    signature.append(original)
    forged.insert(1, signature)
    return forged


def response_beside_signature(root: Element) -> Element:
    forged, original = evil(root), copy.deepcopy(root)
    signature = root.find("ds:Signature", NAMESPACES)
    original.remove(original.find("ds:Signature", NAMESPACES))
    forged.insert(1, original)
    forged.insert(2, signature)
    return forged


def assertion_before(root: Element) -> Element:
    assertion, _ = parts(root)
    assertion.addprevious(evil(assertion))
    return root


def assertion_around(root: Element) -> Element:
    assertion, _ = parts(root)
    forged = evil(assertion)
    root.replace(assertion, forged)
    forged.append(assertion)
    return root


def assertion_after_with_its_signature_moved(root: Element) -> Element:
    assertion, signature = parts(root)
    forged = evil(assertion)
    root.replace(assertion, forged)
    assertion.remove(signature)
    forged.insert(1, signature)
    root.append(assertion)
    return root


def assertion_inside_its_moved_signature(root: Element) -> Element:
    assertion, signature = parts(root)
    forged = evil(assertion)
    root.replace(assertion, forged)
    assertion.remove(signature)
    forged.insert(1, signature)
    signature.append(assertion)
    return root


def assertion_in_extensions(root: Element) -> Element:
    """Schemas let anything into extensions, so that validating does not help."""
    assertion, _ = parts(root)
    extensions = etree.Element(f"{{{NAMESPACES['samlp']}}}Extensions")
    forged = evil(assertion)
    forged.set("ID", assertion.get("ID"))
    extensions.append(forged)
    root.insert(1, extensions)
    return root


def assertion_in_an_object_of_its_signature(root: Element) -> Element:
    assertion, signature = parts(root)
    forged = evil(assertion)
    forged.set("ID", assertion.get("ID"))
    root.replace(assertion, forged)
    assertion.remove(signature)
    forged.insert(1, signature)
    holder = etree.SubElement(signature, f"{{{NAMESPACES['ds']}}}Object")
    holder.append(assertion)
    return root


WRAPPINGS = [
    ("Response", response_inside_signature),
    ("Response", response_beside_signature),
    ("Assertion", assertion_before),
    ("Assertion", assertion_around),
    ("Assertion", assertion_after_with_its_signature_moved),
    ("Assertion", assertion_inside_its_moved_signature),
    ("Assertion", assertion_in_extensions),
    ("Assertion", assertion_in_an_object_of_its_signature),
]
XSW = [pytest.param(*each, id=f"XSW{number}") for number, each in enumerate(WRAPPINGS, 1)]


@pytest.mark.usefixtures("connection")
@pytest.mark.parametrize(("signs", "wrap"), XSW)
@pytest.mark.asvs("6.8.2")
def test_a_signature_that_was_wrapped_opens_nothing(
    client: Client,
    provider: SamlProvider,
    organization: Organization,
    signs: str,
    wrap: Callable[[Element], Element],
):
    provider.signs, provider.after = (signs,), wrap

    assert_refused(client, sign_in(client, provider, organization))


# --- Refused: what is said -------------------------------------------------------------------------


@pytest.mark.usefixtures("connection")
@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"confirmed_until": -3 * MINUTES}, "too old"),
        ({"confirmed_until": None}, "a time that is none"),
        ({"not_on_or_after": -3 * MINUTES}, "too old"),
        ({"session_until": -3 * MINUTES}, "too old"),
        ({"not_before": 3 * MINUTES}, "not valid yet"),
        ({"issued": 3 * MINUTES}, "from the future"),
        ({"audience": "https://elsewhere.example/metadata/"}, "another program"),
        ({"audience": None}, "another program"),
        ({"recipient": "https://elsewhere.example/acs/"}, "another address"),
        ({"recipient": None}, "another address"),
        ({"destination": "https://elsewhere.example/acs/"}, "another address"),
        ({"destination": None}, "another address"),
        ({"issuer": "https://evil.example"}, "Another identity provider"),
        ({"asserts_as": "https://evil.example"}, "Another identity provider"),
        ({"asserts_as": None}, "must hold one Issuer"),
        ({"method": "urn:oasis:names:tc:SAML:2.0:cm:sender-vouches"}, "not for whoever brings it"),
        ({"in_response_to": None}, "Begin it here"),
        ({"in_response_to": None, "confirms": None}, "Begin it here"),
        ({"confirms": None}, "another sign-in"),
        ({"confirms": "_another"}, "another sign-in"),
        ({"in_response_to": "_another"}, "another sign-in"),
        ({"in_response_to": "_another", "confirms": "_another"}, "not begun here"),
        ({"has_statement": False}, "does not say that you have signed in"),
        ({"status": "urn:oasis:names:tc:SAML:2.0:status:Requester"}, "did not let you in"),
        ({"form": "urn:oasis:names:tc:SAML:2.0:nameid-format:transient"}, "transient"),
        (
            {"form": "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress", "name_id": "ada@acme.example"},
            "may be given to somebody else",
        ),
        ({"form": None, "name_id": "ada@acme.example"}, "may be given to somebody else"),
        ({"name_id": ""}, "names nobody"),
        ({"name_id": "x" * 256}, "names nobody"),
        ({"name_id": "a&#10;b"}, "names nobody"),
        ({"attributes": ()}, "gives no e-mail address"),
        ({"attributes": (("mail", "acme.example"),)}, "that is none"),
        ({"attributes": (("mail", "ada@elsewhere.example"),)}, "no verified domain"),
        ({"attributes": (("mail", "ada@sub.acme.example"),)}, "no verified domain"),
        ({"attributes": (("mail", "ada@acme.example@elsewhere.example"),)}, "that is none"),
        ({"attributes": (("mail", "ada@acme.example"), ("mail", "olga@acme.example"))}, "several e-mail addresses"),
    ],
    ids=str,
)
def test_an_answer_that_says_something_else_than_it_must_opens_nothing(
    client: Client,
    provider: SamlProvider,
    organization: Organization,
    values: dict[str, Any],
    words: str,
):
    provider.change = saying(**values)

    assert_refused(client, sign_in(client, provider, organization), words)


def another_assertion(root: Element) -> None:
    added = copy.deepcopy(root.find("saml:Assertion", NAMESPACES))
    added.set("ID", "_second")
    root.append(added)


def no_assertion(root: Element) -> None:
    root.remove(root.find("saml:Assertion", NAMESPACES))


def only_encrypted(root: Element) -> None:
    root.find("saml:Assertion", NAMESPACES).tag = f"{{{NAMESPACES['saml']}}}EncryptedAssertion"


def another_person(root: Element) -> None:
    name = root.find(".//saml:NameID", NAMESPACES)
    name.addnext(copy.deepcopy(name))


def another_audience(root: Element) -> None:
    """Both restrictions hold together, and the second does not admit us."""
    conditions = root.find(".//saml:Conditions", NAMESPACES)
    added = copy.deepcopy(conditions[0])
    added[0].text = "https://elsewhere.example/"
    conditions.append(added)


def an_element_in_the_name(root: Element) -> None:
    etree.SubElement(root.find(".//saml:NameID", NAMESPACES), f"{{{NAMESPACES['saml']}}}Part").tail = "9"


def a_time_without_zone(root: Element) -> None:
    root.find(".//saml:Conditions", NAMESPACES).set("NotOnOrAfter", "2999-01-01T00:00:00")


def another_version(root: Element) -> None:
    root.set("Version", "1.1")


def another_message(root: Element) -> None:
    root.tag = f"{{{NAMESPACES['samlp']}}}ArtifactResponse"


@pytest.mark.usefixtures("connection")
@pytest.mark.parametrize(
    ("build", "words"),
    [
        (another_assertion, "one assertion"),
        (no_assertion, "one assertion"),
        (only_encrypted, "is encrypted"),
        (another_person, "must hold one NameID"),
        (another_audience, "another program"),
        (an_element_in_the_name, "names nobody"),
        (a_time_without_zone, "without its zone"),
        (another_version, "did not answer as SAML 2.0"),
        (another_message, "did not answer as SAML 2.0"),
    ],
)
def test_an_answer_of_another_shape_opens_nothing_although_it_is_signed(
    client: Client,
    provider: SamlProvider,
    organization: Organization,
    build: Callable[[Element], None],
    words: str,
):
    provider.signs, provider.before = ("Response",), build

    assert_refused(client, sign_in(client, provider, organization), words)


DOCTYPE = b'<!DOCTYPE r [<!ENTITY who "u-9">]>'


@pytest.mark.usefixtures("connection")
@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (lambda content: content.replace(b">u-1<", b">u-1<!-- -->.evil<"), "holds a comment"),
        (lambda content: content.replace(b">u-1<", b"><![CDATA[u-1]]><"), "holds a comment"),
        (lambda content: content.replace(b">u-1<", b"><?x?>u-1<"), "holds a comment"),
        (lambda content: DOCTYPE + content, "holds a comment"),
        (lambda content: DOCTYPE + content.replace(b">u-1<", b">&who;<"), "holds a comment"),
        (lambda content: b'<!DOCTYPE r SYSTEM "http://127.0.0.1:9/x.dtd">' + content, "holds a comment"),
        (lambda content: content.decode().encode("utf-16"), "not written in UTF-8"),
        # Read by its own word this would be another document than the one that was looked at.
        (
            lambda content: b'<?xml version="1.0" encoding="UTF-7"?>' + content.replace(b">u-1<", b">+ADwAIQ-<"),
            "",
        ),
        (lambda content: content[:-5], "not XML"),
        (lambda content: b"", "not XML"),
        (lambda content: content + b" " * 300_000, "too long"),
        (lambda content: b"<a>" * 5000 + b"</a>" * 5000, "not XML"),
    ],
    ids=[
        "comment",
        "cdata",
        "instruction",
        "dtd",
        "entity",
        "remote",
        "utf-16",
        "utf-7",
        "cut",
        "none",
        "long",
        "deep",
    ],
)
@pytest.mark.asvs("1.5.1")
def test_a_document_that_two_readers_may_read_differently_opens_nothing(
    client: Client,
    provider: SamlProvider,
    organization: Organization,
    sent: Callable[[bytes], bytes],
    words: str,
):
    provider.sent = sent

    assert_refused(client, sign_in(client, provider, organization), words)


def test_a_comment_in_the_name_of_who_is_known_opens_nothing_either(
    client: Client, provider: SamlProvider, organization: Organization, connection: SsoConnection
):
    """Somebody's name begins like another's: signatures leave comments out, and some readers stop there."""
    sign_in(client, provider, organization)
    provider.change = saying(name_id="u-1.evil")
    provider.sent = lambda content: content.replace(b">u-1.evil<", b">u-1<!-- -->.evil<")

    other = Client()
    assert sign_in(other, provider, organization).status_code == 403
    assert user_of(other) is None


# --- Refused: the way there and back ---------------------------------------------------------------


def test_an_answer_works_once_in_the_browser_that_was_sent_and_for_ten_minutes(
    client: Client, provider: SamlProvider, organization: Organization, connection: SsoConnection
):
    brought = provider.answer_for(begin(client, organization))
    assert_refused(Client(), bring(Client(), organization, brought), "not begun here")
    assert_refused(client, bring(client, organization, brought), "used already")

    brought = provider.answer_for(begin(client, organization))
    assert_refused(client, bring(client, organization, {**brought, "RelayState": "made-up"}), "not begun here")

    provider.change = saying(confirmed_until=60 * MINUTES, not_on_or_after=60 * MINUTES)
    brought = provider.answer_for(begin(client, organization))
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=601)):
        assert_refused(client, bring(client, organization, brought), "too old")

    brought = provider.answer_for(begin(client, organization))
    assert bring(client, organization, brought).status_code == 302
    client.post(reverse("account_logout"))
    assert bring(client, organization, brought).status_code == 403
    assert user_of(client) is None


@pytest.mark.asvs("6.8.3")
def test_an_assertion_that_was_used_is_refused_by_every_process_whatever_the_session_says(
    client: Client, provider: SamlProvider, organization: Organization, connection: SsoConnection
):
    """What is remembered is in the cache that all processes share; the request of the session is still open."""
    brought = provider.answer_for(begin(client, organization))
    us = service_provider(organization.slug)
    given: dict[str, Any] = {
        "answer": brought["SAMLResponse"],
        "relay_state": brought["RelayState"],
        "now": datetime.now(UTC),
    }
    assert receive_answer(connection=connection, us=us, **given)

    with pytest.raises(UnableToSignIn, match="used already"):
        receive_answer(connection=connection, us=us, **given)
    assert_refused(client, bring(client, organization, brought), "used already")


def test_a_ticket_is_taken_once_and_waits_two_minutes(
    client: Client, provider: SamlProvider, organization: Organization, connection: SsoConnection
):
    location = post(organization, provider.answer_for(begin(client, organization)))["Location"]
    assert client.get(location).status_code == 302

    again = client.get(location)

    assert again.status_code == 403
    assert "used already" in again.content.decode()
    forged = reverse("accounts:saml-continue", args=[organization.slug])
    for query in ({"ticket": "made-up"}, {}, {"refusal": "Call 555-0100"}):
        answer = client.get(forged, query)
        assert answer.status_code == 403
        assert "555" not in answer.content.decode(), "the words on our pages are ours"


def test_somebody_elses_answer_does_not_sign_me_in_as_them(
    client: Client, provider: SamlProvider, organization: Organization, connection: SsoConnection
):
    """An attacker has a browser post the attacker's own answer, so that its person works in their account."""
    theirs = provider.answer_for(begin(Client(), organization))
    mine = provider.answer_for(begin(client, organization))

    mixed = {"SAMLResponse": theirs["SAMLResponse"], "RelayState": mine["RelayState"]}

    assert_refused(client, bring(client, organization, mixed), "not begun here")


def test_what_one_organizations_provider_answers_is_nothing_to_another(
    client: Client, provider: SamlProvider, organization: Organization, connection: SsoConnection
):
    """Both use the same provider, so its name and its signature are right: the addresses are not."""
    other = make_organization("Other")
    make_domain(other, "other.example")
    set_up(provider, make_membership(other, make_person("olga@other.example")))
    brought = provider.answer_for(begin(client, other))

    answer = bring(client, organization, brought)

    assert answer.status_code == 403
    assert "another address" in answer.content.decode()
    taken = urlsplit(post(other, brought)["Location"])
    elsewhere = client.get(
        reverse("accounts:saml-continue", args=[organization.slug]), {"ticket": parse_qs(taken.query)["ticket"][0]}
    )
    assert elsewhere.status_code == 403
    assert user_of(client) is None


def test_an_answer_that_was_checked_by_a_former_setting_opens_nothing(
    client: Client, provider: SamlProvider, organization: Organization, connection: SsoConnection, owner: Membership
):
    location = post(organization, provider.answer_for(begin(client, organization)))["Location"]
    set_up(provider, owner, certificates=certificate_of(key_named("next")))

    assert_refused(client, client.get(location), "changed meanwhile")


def test_each_protocol_has_its_own_addresses(
    client: Client, provider: SamlProvider, organization: Organization, owner: Membership
):
    acs, go_on, callback = (
        reverse(f"accounts:{name}", args=[organization.slug]) for name in ("saml-acs", "saml-continue", "sso-callback")
    )
    assert client.post(acs).status_code == client.get(go_on).status_code == 404
    set_up(provider, owner)
    assert client.get(callback).status_code == 404
    assert client.get(acs).status_code == 405
    with running_provider() as oidc:
        set_up_sso(
            issuer=oidc.issuer, client_id="portal", client_secret="s", default_role=Role.VIEWER, by=owner, now=NOW
        )
    assert client.post(acs).status_code == client.get(go_on).status_code == 404


def test_an_answer_that_is_none_is_said_in_words(client: Client, organization: Organization, connection: SsoConnection):
    for brought in ({}, {"SAMLResponse": "%%%"}, {"SAMLResponse": "ü"}):
        assert_refused(client, bring(client, organization, brought))


# --- Setting it up ---------------------------------------------------------------------------------


def test_our_metadata_is_the_same_for_an_organization_that_is_none(client: Client, organization: Organization):
    """The owner needs it before there is a connection, and nobody learns from it which organizations there are."""
    ours, none = (client.get(reverse("accounts:saml-metadata", args=[slug])) for slug in (organization.slug, "nowhere"))

    assert ours.status_code == none.status_code == 200
    assert ours.content.replace(organization.slug.encode(), b"nowhere") == none.content
    root = etree.fromstring(ours.content)
    assert str(root.get("entityID")).endswith(f"/sso/{organization.slug}/metadata/")
    [acs] = root.iter("{*}AssertionConsumerService")
    assert str(acs.get("Location")).endswith(f"/sso/{organization.slug}/acs/")


@pytest.fixture
def signed_in(client: Client, owner: Membership) -> Client:
    client.force_login(owner.user, backend="allauth.account.auth_backends.AuthenticationBackend")
    session = client.session
    session["signed_in_at"] = time.time()
    session.save()
    return client


def test_pasted_metadata_sets_it_up_and_the_log_says_who_did(
    signed_in: Client, provider: SamlProvider, owner: Membership, organization: Organization
):
    address = reverse("accounts:sso-saml", args=[organization.slug])

    answer = signed_in.post(address, {"metadata": metadata_of(provider, 2), "default_role": "viewer"})

    assert answer.status_code == 302, answer.content.decode()
    stored = SsoConnection.objects.get()
    assert (stored.protocol, stored.issuer, stored.sign_in_url) == ("saml", provider.entity_id, provider.sign_in_url)
    assert len(stored.certificates) == 2
    entry = AuditEvent.objects.latest("sequence")
    assert (entry.action, entry.actor_id) == ("sso.set_up", owner.user.public_id)
    page = signed_in.get(reverse("accounts:sso-settings", args=[organization.slug]), follow=True)
    assert page.redirect_chain == [(address, 302)]
    assert provider.sign_in_url in page.content.decode()
    assert page.content.decode().count("valid until") == 2
    assert sign_in(Client(), provider, organization).status_code == 302


def test_the_three_fields_set_it_up_too(signed_in: Client, provider: SamlProvider, organization: Organization):
    form = {
        "entity_id": "urn:acme:idp",
        "sign_in_url": provider.sign_in_url,
        "certificates": "".join(provider.certificate.splitlines()[1:-1]),
        "default_role": "developer",
    }
    address = reverse("accounts:sso-saml", args=[organization.slug])
    for name in ("entity_id", "sign_in_url", "certificates"):
        assert "or fill this in" in signed_in.post(address, {**form, name: ""}).content.decode()
    assert not SsoConnection.objects.exists()

    assert signed_in.post(address, form).status_code == 302
    provider.entity_id = "urn:acme:idp"
    page = Client().get(reverse("accounts:sso-organization", args=[organization.slug])).content.decode()
    assert "idp.acme.example" in page, "people know the address, not the entity id"
    assert sign_in(Client(), provider, organization).status_code == 302


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda good: "<a/>", "not the metadata of one identity provider"),
        (lambda good: "not xml", "not XML"),
        (lambda good: '<!DOCTYPE a [<!ENTITY x "y">]>' + good, "declares a document type"),
        (lambda good: good.replace("HTTP-Redirect", "SOAP"), "no sign-in address"),
        (lambda good: good.replace('use="signing"', 'use="encryption"'), "no certificate"),
        (lambda good: good.replace("SAML:2.0:protocol", "SAML:1.1:protocol"), "does not describe"),
        (lambda good: re.sub(r"(<ds:X509Certificate>).{9}", r"\1", good), "cannot be read"),
        (lambda good: good.replace("https://idp.acme.example/sign-in", "javascript:alert(1)"), "must start with https"),
        (lambda good: good.replace("https://idp.acme.example/metadata", ""), "Enter the entity id"),
    ],
)
def test_metadata_that_is_none_is_said_in_words_and_changes_nothing(
    signed_in: Client, provider: SamlProvider, organization: Organization, spoil: Callable[[str], str], words: str
):
    address = reverse("accounts:sso-saml", args=[organization.slug])

    answer = signed_in.post(address, {"metadata": spoil(metadata_of(provider)), "default_role": "viewer"})

    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert not SsoConnection.objects.exists()


def days(count: int) -> datetime:
    return datetime.now(UTC) + timedelta(days=count)


@pytest.mark.parametrize(
    ("certificates", "words"),
    [
        (lambda good: "", "Paste the certificate"),
        (lambda good: "hello", "cannot be read"),
        (lambda good: good.replace("M", "?"), "cannot be read"),
        (lambda good: good[:200] + good[-30:], "cannot be read"),
        (lambda good: certificate_of(key_named("idp"), begins=days(-9), ends=days(-2)), "expired on"),
        (lambda good: certificate_of(key_named("idp"), begins=days(2), ends=days(9)), "not valid before"),
        (lambda good: certificate_of(key_named("weak", 1024)), "at least 2048 bits"),
        (lambda good: certificate_of(ec.generate_private_key(ec.SECP192R1())), "at least 2048 bits"),
        (lambda good: good + certificate_of(key_named("m1")) + certificate_of(key_named("m2")), "3 certificates"),
    ],
    ids=["none", "words", "letters", "cut", "expired", "early", "short", "small curve", "three"],
)
def test_a_certificate_that_cannot_be_used_is_said_in_words(
    provider: SamlProvider, owner: Membership, certificates: Callable[[str], str], words: str
):
    with pytest.raises(UnableToSetUpSso, match=words):
        set_up(provider, owner, certificates=certificates(provider.certificate))
    assert not SsoConnection.objects.exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"sign_in_url": "http://idp.example/"}, "must start with https"),
        ({"sign_in_url": "https://10.0.0.1/"}, "not a public one"),
        ({"entity_id": " "}, "Enter the entity id"),
        ({"default_role": Role.ADMIN}, "viewers or developers"),
    ],
    ids=str,
)
def test_what_nobody_can_be_sent_to_is_refused(
    provider: SamlProvider, owner: Membership, more: dict[str, Any], words: str
):
    with pytest.raises(UnableToSetUpSso, match=words):
        set_up(provider, owner, **more)
    assert not SsoConnection.objects.exists()


def test_another_provider_or_protocol_forgets_by_which_names_people_were_known(
    client: Client, provider: SamlProvider, organization: Organization, connection: SsoConnection, owner: Membership
):
    sign_in(client, provider, organization)
    provider.entity_id = "https://other.example"
    set_up(provider, owner)
    assert not SsoIdentity.objects.exists()

    sign_in(Client(), provider, organization)
    assert SsoIdentity.objects.exists()
    with running_provider() as oidc:
        given: dict[str, Any] = {"client_id": "portal", "default_role": Role.VIEWER, "by": owner, "now": NOW}
        with pytest.raises(UnableToSetUpSso, match="client secret"):
            set_up_sso(issuer=oidc.issuer, client_secret="", **given)
        set_up_sso(issuer=oidc.issuer, client_secret="a secret", **given)
    assert not SsoIdentity.objects.exists()
    stored = SsoConnection.objects.get()
    assert (stored.protocol, stored.sign_in_url, stored.certificates) == ("oidc", "", [])
    set_up(provider, owner)
    assert SsoConnection.objects.get().client_secret is None


def test_saving_the_same_again_leaves_no_entry(provider: SamlProvider, connection: SsoConnection, owner: Membership):
    before = AuditEvent.objects.count()

    set_up(provider, owner, certificates="".join(connection.certificates))

    assert AuditEvent.objects.count() == before


def test_who_has_saml_can_change_to_the_other_and_back(
    signed_in: Client, connection: SsoConnection, organization: Organization
):
    page = signed_in.get(reverse("accounts:sso-settings", args=[organization.slug]), {"change": ""})

    assert page.status_code == 200
    assert "Issuer" in page.content.decode()
    assert connection.sign_in_url not in page.content.decode()
    assert reverse("accounts:sso-saml", args=[organization.slug]) in page.content.decode()
