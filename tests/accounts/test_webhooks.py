"""Reports of leaked keys: who is believed, what ends, who is told, and what nobody learns."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import connection
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.access import InvalidApiKey, authenticate_key
from accounts.models import ApiKey, AuditEvent, KeyLeak, OperatorKey, Organization, Overlap, Role
from accounts.models.api_key import OperatorScope
from accounts.services.api_keys import IssuedKey, revoke_key
from accounts.services.key_rotation import rotate_key
from accounts.services.leaked_keys import TELL_FOR, tell_of_leaks
from accounts.services.operator_keys import issue_operator_key
from portal.lib.key_format import KeyKind, new_secret
from tests.factories.accounts import make_key, make_membership, make_organization, make_user

pytestmark = pytest.mark.django_db

ADDRESS = "/api/v1/leaked-keys"
NOW = datetime.now(UTC)
URL = "https://code.example/acme/app/blob/main/.env"

type Sign = Callable[[bytes], bytes]

ED25519 = Ed25519PrivateKey.generate()
P256 = generate_private_key(SECP256R1())
SIGNERS: dict[str, tuple[Any, Sign]] = {
    "edward": (ED25519.public_key(), ED25519.sign),
    "elliptic": (P256.public_key(), lambda body: P256.sign(body, ECDSA(SHA256()))),
}


def entry(name: str, key: Any) -> str:
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"{name}:{base64.b64encode(der).decode()}"


@pytest.fixture(autouse=True)
def configured(settings):
    settings.LEAK_REPORT_PUBLIC_KEYS = [entry(name, key) for name, (key, _) in SIGNERS.items()]


@pytest.fixture
def organization() -> Organization:
    return make_organization(owner=make_user("owner@example.com"))


@pytest.fixture
def issued(organization: Organization) -> IssuedKey:
    return make_key(organization.projects.get(), now=NOW)


def report(client: Client, found: Any, *, by: str = "edward", **headers: str) -> Any:
    body = found if isinstance(found, bytes) else json.dumps(found).encode()
    signature = base64.b64encode(SIGNERS[by][1](body)).decode()
    given = {"x-key-identifier": by, "x-signature": signature} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    return client.post(ADDRESS, body, content_type="application/json", headers=given)


def found(secret: str, **fields: str) -> dict[str, str]:
    return {"token": secret, "type": "headroom_api_key", "url": URL, "source": "content", **fields}


def opens(secret: str) -> bool:
    try:
        authenticate_key(secret)
    except InvalidApiKey:
        return False
    return True


@pytest.mark.parametrize("signer", list(SIGNERS))
def test_ends_a_key_that_was_found_and_says_so_to_its_people(
    *,
    client: Client,
    organization: Organization,
    issued: IssuedKey,
    signer: str,
    mailoutbox,
    caplog,
    capfd,
    django_capture_on_commit_callbacks,
):
    make_membership(organization, make_user("admin@example.com"), Role.ADMIN)
    make_membership(organization, make_user("developer@example.com"), Role.DEVELOPER)
    make_membership(make_organization(), make_user("stranger@example.com"))
    other = make_key(organization.projects.get(), now=NOW)
    unknown = new_secret("hr", KeyKind.LIVE)

    with django_capture_on_commit_callbacks(execute=False) as hints:
        answer = report(client, [found(unknown), found(issued.secret), found("ghp_other")], by=signer)

    assert answer.status_code == 200
    assert [verdict["label"] for verdict in answer.json()] == ["false_positive", "true_positive", "false_positive"]
    assert (opens(issued.secret), opens(other.secret)) == (False, True)
    assert len(hints) == 1
    event = AuditEvent.objects.owned_by(organization).newest_first()[0]
    assert (event.action, event.actor_kind, event.target_id) == ("key.leaked", "portal", issued.api_key.public_id)
    assert json.loads(event.changes)["url"] == [None, URL]

    assert tell_of_leaks(now=NOW) == 1
    assert tell_of_leaks(now=NOW) == 0
    assert sorted(mail.to[0] for mail in mailoutbox) == ["admin@example.com", "owner@example.com"]
    mail = mailoutbox[0]
    assert mail.subject == "The API key test was found and revoked"
    assert URL in mail.body
    assert f"/o/{organization.slug}/keys/{issued.api_key.public_id}/" in mail.body
    # Nobody learns a secret or whose it is from what is left behind.
    logged = caplog.text + "".join(capfd.readouterr())
    for text in (answer.content.decode(), event.changes, mail.body, mail.subject, logged):
        assert issued.secret not in text
        assert unknown not in text
    assert organization.public_id not in answer.content.decode()


def test_the_page_of_the_key_says_where_it_was_found(client: Client, organization: Organization, issued: IssuedKey):
    report(client, [found(issued.secret)])
    owner = organization.memberships.get().user
    client.force_login(owner, backend="allauth.account.auth_backends.AuthenticationBackend")

    page = client.get(f"/o/{organization.slug}/keys/{issued.api_key.public_id}/").content.decode()

    assert "was found where others can read it" in page
    assert URL in page


def test_the_same_report_again_changes_nothing(client: Client, issued: IssuedKey, mailoutbox):
    first, second = report(client, [found(issued.secret)]), report(client, [found(issued.secret)])

    assert first.json() == second.json()
    assert KeyLeak.objects.count() == 1
    assert AuditEvent.objects.filter(action="key.leaked").count() == 1
    tell_of_leaks(now=NOW)
    assert len(mailoutbox) == 1


def test_a_dead_key_is_ours_and_nobody_is_alarmed(client: Client, issued: IssuedKey):
    revoke_key(api_key=issued.api_key, now=NOW)

    assert report(client, [found(issued.secret)]).json()[0]["label"] == "true_positive"
    assert not KeyLeak.objects.exists()


def test_a_former_secret_ends_alone(client: Client, issued: IssuedKey, mailoutbox):
    rotated = rotate_key(api_key=issued.api_key, overlap=Overlap.WEEK, now=NOW)

    assert report(client, [found(issued.secret)]).json()[0]["label"] == "true_positive"

    assert (opens(issued.secret), opens(rotated.secret)) == (False, True)
    key = ApiKey.objects.get()
    # So that gateways hear of it.
    assert key.changed_at > NOW
    tell_of_leaks(now=NOW)
    assert "the key and its present secret work on" in mailoutbox[0].body


def test_keys_of_several_organizations_end_each_in_its_own_log(client: Client, issued: IssuedKey):
    elsewhere = make_organization()
    theirs = make_key(elsewhere.projects.get(), now=NOW)

    answer = report(client, [found(theirs.secret), found(issued.secret)])

    assert [verdict["label"] for verdict in answer.json()] == ["true_positive"] * 2
    assert (opens(issued.secret), opens(theirs.secret)) == (False, False)
    for key in (issued.api_key, theirs.api_key):
        event = AuditEvent.objects.get(action="key.leaked", organization_id=key.organization_id)
        assert event.target_id == key.public_id


def test_ends_an_operator_key_too(client: Client):
    issued = issue_operator_key(name="scheduler", scopes=[OperatorScope.POOLS_READ], by=None, now=NOW)

    assert report(client, [found(issued.secret)]).json()[0]["label"] == "true_positive"

    assert OperatorKey.objects.get().revoked_at is not None


def test_ends_a_former_secret_of_an_operator_key_alone(client: Client):
    issued = issue_operator_key(name="scheduler", scopes=[OperatorScope.POOLS_READ], by=None, now=NOW)
    until = NOW + timedelta(days=3650)
    present = b"the digest of its present secret"
    OperatorKey.objects.update(former_digest=F("digest"), former_valid_until=until, digest=present)

    assert report(client, [found(issued.secret)]).json()[0]["label"] == "true_positive"

    key = OperatorKey.objects.get()
    assert key.revoked_at is None
    assert key.former_valid_until is not None
    assert key.former_valid_until < until


def test_what_the_finder_says_is_kept_without_secrets_and_lines(client: Client, issued: IssuedKey, mailoutbox):
    url = f"https://code.example/?q={issued.secret}\r\nBcc: x@example.com\n" + "y" * 600

    report(client, [found(issued.secret, url=url, source="\x00content\n" + "z" * 100)])

    leak = KeyLeak.objects.get()
    assert leak.url.startswith("https://code.example/?q=hr_live_…: x@example.comyyy")
    assert (len(leak.url), len(leak.source)) == (500, 80)
    tell_of_leaks(now=NOW)
    assert issued.secret not in mailoutbox[0].body
    assert mailoutbox[0].recipients() == ["owner@example.com"]


def test_a_name_cannot_add_a_header_to_the_mail(client: Client, issued: IssuedKey, mailoutbox):
    ApiKey.objects.update(name="ci\r\nBcc: x@example.com")

    report(client, [found(issued.secret)])
    tell_of_leaks(now=NOW)

    assert mailoutbox[0].subject == "The API key ci Bcc: x@example.com was found and revoked"


def test_a_mail_that_could_not_be_sent_is_sent_later(client: Client, issued: IssuedKey, mailoutbox, settings):
    report(client, [found(issued.secret)])
    working = settings.MAILERS
    settings.MAILERS = {
        "default": {
            "BACKEND": "django.core.mail.backends.smtp.EmailBackend",
            "OPTIONS": {"host": "127.0.0.1", "port": 1},
        }
    }
    assert tell_of_leaks(now=NOW) == 0
    settings.MAILERS = working

    assert tell_of_leaks(now=NOW + timedelta(minutes=5)) == 1
    assert tell_of_leaks(now=NOW + TELL_FOR * 2) == 0
    assert len(mailoutbox) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"x_key_identifier": "nobody"},
        {"x_key_identifier": "elliptic"},
        {"x_key_identifier": ""},
        {"x_signature": ""},
        {"x_signature": "é"},
        {"x_signature": "AAAA"},
        {"x_signature": base64.b64encode(ED25519.sign(b"[]")).decode()},
    ],
)
@pytest.mark.asvs("11.3.3")
def test_believes_nobody_else(client: Client, issued: IssuedKey, headers: dict[str, str]):
    answer = report(client, [found(issued.secret)], **headers)

    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_signature")
    assert opens(issued.secret)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[1]",
        b'[{"type": "x"}]',
        b'[{"token": 1}]',
        b'[{"token": "\xff"}]',
        b'[{"token": "x", "more": ' + b"[" * 100_000,
    ],
)
def test_refuses_a_body_that_is_no_list_of_findings(client: Client, body: bytes):
    answer = report(client, body)

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_json")


def test_takes_a_hundred_entries_and_256_kib(client: Client, issued: IssuedKey):
    entries = [found(f"no key {number}") for number in range(99)]
    assert len(report(client, [*entries, found(issued.secret)]).json()) == 100
    assert report(client, [found("x")] * 101).json()["code"] == "too_many_entries"
    large = json.dumps([found("x")]).encode()

    assert report(client, large.ljust(256 * 1024)).status_code == 200
    answer = report(client, large.ljust(256 * 1024 + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "request_too_large")


def test_what_cannot_be_a_key_asks_the_database_nothing(client: Client):
    with CaptureQueriesContext(connection) as queries:
        report(client, [found("hr_live_" + "x" * 40), found(""), found("\x00")])

    # Transactions, and what the suite itself does to serve the request as the app's role.
    own = ("SET ROLE", "SELECT current_user", "SELECT set_config", "SAVEPOINT", "RELEASE")
    assert [query["sql"] for query in queries if not query["sql"].startswith(own)] == []


def test_is_not_there_when_nobody_may_report(client: Client, settings, issued: IssuedKey):
    settings.LEAK_REPORT_PUBLIC_KEYS = []

    assert report(client, [found(issued.secret)]).status_code == client.get(ADDRESS).status_code == 404
    assert opens(issued.secret)


def test_takes_only_posts(client: Client):
    answer = client.get(ADDRESS)

    assert (answer.status_code, answer["Allow"]) == (405, "POST")


@pytest.mark.parametrize(
    "unreadable",
    ["x", "x:", "x:AAAA", ":AAAA", "x:é", entry("p384", generate_private_key(SECP384R1()).public_key()), "y" * 81],
)
def test_a_public_key_that_cannot_be_read_fails_the_check(settings, unreadable: str):
    settings.LEAK_REPORT_PUBLIC_KEYS = [unreadable]

    with pytest.raises(SystemCheckError, match=r"portal\.E004"):
        call_command("check")
