"""After a person is erased nothing says who they were, but where docs/retention.md says so with a reason (A3)."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.cache import cache
from django.db import IntegrityError, connection, transaction
from django.test import Client

from accounts.chain import flaws
from accounts.models import (
    ApiKey,
    AuditEvent,
    AuditOrigin,
    DirectoryPerson,
    Membership,
    Organization,
    Role,
    Scope,
    User,
)
from accounts.selectors import links
from accounts.services.api_keys import issue_key
from accounts.services.erasure import UnableToErase, erase_person
from accounts.views.sign_in import landing
from portal.lib.context import forget
from portal.lib.key_format import KeyKind
from portal.lib.sessions import content_of, stored_key
from portal.lib.tenancy import as_platform
from portal.retention import TABLES
from tests.factories.accounts import (
    make_directory_group,
    make_directory_person,
    make_invitation,
    make_membership,
    make_organization,
    make_sso_connection,
    make_sso_identity,
    make_user,
)
from tests.factories.inference import make_receipt
from tests.own_database import SUPERUSER, OwnDatabase

NOW = datetime.now(UTC)
EMAIL = "zenobia.quux@lab-canary.example"
NAME = "Zenobia Quuxley"
ADDRESS = "203.0.113.77"
BROWSER = "CanaryBrowser/7.1 (Fridge)"
SECOND_EMAIL = "second.quux@lab-canary.example"
# Where a program with a key of theirs works, and what it calls itself.
PROGRAM_ADDRESS, PROGRAM = "198.51.100.23", "CanaryScript/0.3"
SUBJECT = "idp-subject-zq-4711"
SOCIAL_UID, LOGIN, AVATAR = "90125551", "zenquux-dev", "https://avatars.canary.example/zq.png"
USER_NAME, EXTERNAL_ID = "zquux01", "hr-record-000815"
PASSKEY = "Zeno's ring"
IDENTIFIERS = [
    *(EMAIL, SECOND_EMAIL, NAME, ADDRESS, BROWSER, PROGRAM_ADDRESS, PROGRAM, SUBJECT),
    *(SOCIAL_UID, LOGIN, AVATAR, USER_NAME, EXTERNAL_ID, PASSKEY),
]
PASSWORD = "correct horse battery staple"


@pytest.fixture(autouse=True)
def nobody():
    yield
    forget()


def browser_of(email: str = EMAIL) -> Client:
    """A browser in which the person signed in with a password, from an address and with a name of its own."""
    client = Client(REMOTE_ADDR=ADDRESS, headers={"user-agent": BROWSER})
    answer = client.post("/accounts/login/", {"login": email, "password": PASSWORD})
    assert answer.status_code == 302
    return client


def make_person() -> User:
    user = make_user(EMAIL, PASSWORD)
    user.full_name, user.time_zone = NAME, "Pacific/Chatham"
    user.save()
    for email, is_primary in ((EMAIL, True), (SECOND_EMAIL, False)):
        EmailAddress.objects.create(user=user, email=email, primary=is_primary, verified=True)
    return user


def texts() -> Iterator[tuple[str, str, str]]:
    """Yield table, column and value of everything in the database that may hold words, sessions opened."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name, column_name, data_type FROM information_schema.columns JOIN information_schema.tables"
            " USING (table_schema, table_name) WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
            " AND data_type IN ('text', 'character varying', 'json', 'jsonb', 'bytea', 'inet', 'ARRAY')"
        )
        for table, column, kind in cursor.fetchall():
            value = f"encode({column}, 'escape')" if kind == "bytea" else f'"{column}"::text'
            cursor.execute(f"SELECT {value} FROM {table} WHERE {column} IS NOT NULL")
            yield from ((table, column, text) for (text,) in cursor.fetchall())
    for session in Session.objects.all():
        yield "django_session", "session_data", json.dumps(content_of(session), ensure_ascii=False)


def places_of(words: list[str]) -> set[tuple[str, str]]:
    return {
        (table, column) for table, column, text in texts() if any(word.casefold() in text.casefold() for word in words)
    }


KEPT = {(table.name, one.column) for table in TABLES for one in table.personal if one.kept}
REMOVED = {(table.name, one.column) for table in TABLES for one in table.personal if not one.kept}


def a_life(user: User) -> tuple[Organization, Client]:
    """Let the person do something that leaves a trace in every place there is; return also their signed-in browser."""
    organization = make_organization("Canary labs", owner=user)
    make_membership(organization)
    make_directory_person(organization, EMAIL, membership=organization.memberships.get(user=user), name=NAME)
    left = make_organization("Left behind")
    membership = make_membership(left, user)
    client = browser_of()
    for slug in (organization.slug, left.slug):
        answer = client.post(f"/o/{slug}/projects/new/", {"name": "Night shift"})
        assert answer.status_code == 302
    # The organization's own words, which the registry says stay.
    client.post(f"/o/{organization.slug}/projects/new/", {"name": f"Experiments of {NAME}"})
    make_invitation(left, SECOND_EMAIL, invited_by=make_user(), now=NOW)
    member = organization.memberships.get(user=user)
    make_sso_identity(make_sso_connection(organization), member, SUBJECT)
    extra = {"login": LOGIN, "avatar_url": AVATAR, "name": NAME}
    SocialAccount.objects.create(user=user, provider="github", uid=SOCIAL_UID, extra_data=extra)
    DirectoryPerson.objects.filter(membership=member).update(user_name=USER_NAME, external_id=EXTERNAL_ID)
    work_with_a_key(organization, user)
    membership.delete()
    gone = make_directory_person(left, SECOND_EMAIL, name=NAME)
    make_directory_group(left, "Everybody", gone)
    staff = make_user()
    LogEntry.objects.create(user=staff, object_repr=EMAIL, action_flag=CHANGE, change_message="[]", object_id="1")
    LogEntry.objects.create(user=staff, object_repr="x", action_flag=CHANGE, change_message=f"it was {EMAIL.upper()}.")
    make_receipt(organization, requested_at=NOW, user=user)
    # Somebody is about to sign in by code with the person's other address, in a browser that nobody signed in with.
    Client().post("/accounts/login/code/", {"email": SECOND_EMAIL})
    data = {"name": PASSKEY}
    Authenticator.objects.create(user=user, type=Authenticator.Type.WEBAUTHN, data=data)
    return organization, client


def work_with_a_key(organization: Organization, user: User) -> None:
    """Let a program of the person's change something by the API: the log notes from where."""
    secret = issue_key(
        project=organization.projects.in_order()[0],
        name="theirs",
        scopes=[Scope.KEYS_WRITE],
        created_by=user,
        now=NOW,
        kind=KeyKind.MANAGEMENT,
        is_personal=True,
    ).secret
    program = Client(REMOTE_ADDR=PROGRAM_ADDRESS, headers={"user-agent": PROGRAM, "authorization": f"Bearer {secret}"})
    made = program.post("/api/v1/keys", {"name": "n", "scopes": ["inference"]}, content_type="application/json")
    assert made.status_code == 201
    # As it is noted after the transaction.
    ApiKey.objects.filter(created_by=user).update(last_used_address=PROGRAM_ADDRESS, last_used_agent=PROGRAM)


def erase(client: Client, typed: str = EMAIL) -> int:
    session = client.session
    session["signed_in_at"] = time.time()
    session.save()
    return client.post("/data/erase/", {"email": typed}).status_code


@pytest.mark.django_db
def test_nothing_says_who_they_were_but_what_the_registry_keeps_with_a_reason():
    user = make_person()
    _, client = a_life(user)
    found_before = places_of(IDENTIFIERS)
    assert {
        ("accounts_user", "email"),
        ("accounts_user", "full_name"),
        ("account_emailaddress", "email"),
        ("usersessions_usersession", "ip"),
        ("usersessions_usersession", "user_agent"),
        ("accounts_auditorigin", "address"),
        ("accounts_auditorigin", "browser"),
        ("mfa_authenticator", "data"),
        ("accounts_apikey", "last_used_address"),
        ("accounts_apikey", "last_used_agent"),
        ("accounts_invitation", "email"),
        ("accounts_ssoidentity", "subject"),
        ("accounts_directoryperson", "user_name"),
        ("accounts_directoryperson", "external_id"),
        ("socialaccount_socialaccount", "uid"),
        ("socialaccount_socialaccount", "extra_data"),
        ("django_admin_log", "object_repr"),
        ("django_admin_log", "change_message"),
        ("django_session", "session_data"),
    } <= found_before
    # The search itself tells what the registry does not know.
    assert found_before <= KEPT | REMOVED

    assert erase(client) == 302

    assert places_of(IDENTIFIERS) <= KEPT
    assert places_of(IDENTIFIERS) == {
        ("accounts_project", "name"),
        ("accounts_auditevent", "changes"),
    }
    for one in Organization.objects.all():
        assert flaws(one.public_id, links(one), {}) == []


@pytest.mark.django_db
def test_what_they_did_stays_under_their_public_id():
    user = make_person()
    organization, client = a_life(user)
    count = AuditEvent.objects.filter(actor_id=user.public_id).count()

    erase(client)

    event = AuditEvent.objects.owned_by(organization).newest_first()[0]
    assert (event.action, event.actor_id, event.target_id) == ("member.erased", user.public_id, user.public_id)
    assert event.origin_id == ""
    assert event.request_id.startswith("req_")
    assert AuditEvent.objects.filter(actor_id=user.public_id).count() == count + 1
    assert organization.projects.filter(name="Night shift").exists()
    erased = User.objects.get(pk=user.pk)
    assert (erased.email, erased.erased_at is not None) == (f"{user.public_id}@erased.invalid", True)
    assert not erased.memberships.exists()


@pytest.mark.django_db
def test_the_audit_log_calls_an_erased_person_by_their_id():
    user = make_person()
    organization, own = a_life(user)
    reader = make_membership(organization).user
    erase(own)
    client = Client()
    client.force_login(reader, backend="allauth.account.auth_backends.AuthenticationBackend")

    rows = client.get(f"/o/{organization.slug}/audit-log/").context["rows"]

    # And what a key of theirs did by the key's name.
    assert {row.actor for row in rows} == {user.public_id, "theirs", "The portal"}
    assert {row.address for row in rows} == {""}


@pytest.mark.django_db
def test_nobody_ever_signs_in_to_the_account_again():
    user = make_person()
    other_browser = browser_of()
    organization, client = a_life(user)

    assert erase(client) == 302

    for browser in (client, other_browser):
        assert browser.get(f"/o/{organization.slug}/").status_code == 302
        assert browser.get("/data/")["Location"].startswith("/accounts/login/")
    assert not Session.objects.filter(pk=stored_key(other_browser.cookies[settings.SESSION_COOKIE_NAME].value)).exists()
    cache.clear()
    mail.outbox.clear()
    for email in (EMAIL, f"{user.public_id}@erased.invalid"):
        assert Client().post("/accounts/login/", {"login": email, "password": PASSWORD}).status_code == 200
        Client().post("/accounts/login/code/", {"email": email})
        Client().post("/accounts/password/reset/", {"email": email})
        # Mail goes to who typed the address, and never has a code that opens this account.
        assert not [letter for letter in mail.outbox if any(part.isdigit() for part in str(letter.body).split())]
    erased = User.objects.get(pk=user.pk)
    assert not erased.has_usable_password()
    with pytest.raises(IntegrityError, match="user_erased_is_nobody"), transaction.atomic():
        User.objects.filter(pk=user.pk).update(is_active=True)


@pytest.mark.django_db
def test_the_address_is_free_for_a_new_account():
    user = make_person()
    _, client = a_life(user)
    erase(client)

    again = make_user(EMAIL)

    assert again.public_id != user.public_id


@pytest.mark.django_db
def test_the_only_owner_is_refused_with_words_and_nothing_has_changed():
    user = make_person()
    organization = make_organization("Acme", owner=user)
    make_membership(organization, role=Role.ADMIN)
    client = browser_of()
    session = client.session
    session["signed_in_at"] = time.time()
    session.save()

    answer = client.post("/data/erase/", {"email": EMAIL})

    assert answer.status_code == 422
    assert (
        "You are the only owner of Acme. Make another member an owner first, or delete it." in answer.content.decode()
    )
    assert Membership.objects.filter(user=user).count() == 1
    assert client.get("/data/").status_code == 200
    assert not AuditEvent.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("is_member", [True, False])
def test_a_legal_hold_refuses(is_member):
    user = make_person()
    organization, _ = a_life(user)
    held = organization if is_member else Organization.objects.get(name="Left behind")
    Organization.objects.filter(pk=held.pk).update(legal_hold=True)

    with as_platform(), pytest.raises(UnableToErase, match="obliged to keep"):
        erase_person(user=user, now=NOW)

    assert AuditOrigin.objects.exists()


@pytest.mark.django_db
def test_staff_are_refused():
    user = make_person()
    User.objects.filter(pk=user.pk).update(is_staff=True)

    with as_platform(), pytest.raises(UnableToErase, match="staff"):
        erase_person(user=user, now=NOW)


@pytest.mark.django_db
def test_takes_typing_the_address_and_a_recent_sign_in():
    user = make_person()
    client = browser_of()

    assert erase(client, "somebody@example.com") == 422
    assert erase(client, "") == 422
    session = client.session
    session["signed_in_at"] = 0
    session["account_authentication_methods"] = []
    session.save()
    answer = client.post("/data/erase/", {"email": EMAIL})
    assert answer.status_code == 302
    assert "reauthenticate" in answer["Location"]
    assert User.objects.get(pk=user.pk).erased_at is None

    assert erase(client, EMAIL.upper()) == 302
    assert User.objects.get(pk=user.pk).erased_at is not None


@pytest.mark.django_db
def test_other_people_keep_everything():
    user, other = make_person(), make_user("other@example.com", PASSWORD)
    EmailAddress.objects.create(user=other, email=other.email, primary=True, verified=True)
    organization, client = a_life(user)
    make_membership(organization, other)
    theirs = browser_of(other.email)
    theirs.post(f"/o/{organization.slug}/projects/new/", {"name": "Day shift"})
    LogEntry.objects.create(user=other, object_repr=f"not-{EMAIL} as Owner", action_flag=CHANGE, change_message="kept")

    erase(client)

    assert theirs.get(landing(organization, is_new=False)).status_code == 200
    assert UserSession.objects.filter(user=other).count() == 1
    assert AuditOrigin.objects.filter(actor_id=other.public_id).count() == 1
    assert EmailAddress.objects.filter(user=other).count() == 1
    # The key of their own ended with them; the one that it made is the project's.
    assert [key.name for key in ApiKey.objects.unrevoked()] == ["n"]
    entry = LogEntry.objects.get(change_message="kept")
    assert entry.object_repr == f"not-{EMAIL} as Owner"


def test_two_owners_who_go_at_once_leave_one(own_database: OwnDatabase):
    with own_database.in_use(SUPERUSER):
        owners = [make_user(), make_user()]
        organization = make_organization(owner=owners[0])
        make_membership(organization, owners[1])

    def go(number: int) -> bool:
        with as_platform():
            return bool(erase_person(user=owners[number], now=NOW))

    # As the view does it: with the real roles, on connections of their own.
    with own_database.in_use():
        results = own_database.in_threads(2, go)

    assert sorted(str(result) for result in results) == [
        "True",
        f"You are the only owner of {organization.name}. Make another member an owner first, or delete it.",
    ]
    with own_database.connect(SUPERUSER) as admin:
        assert admin.execute("SELECT count(*) FROM accounts_membership").fetchone() == (1,)
        assert admin.execute("SELECT action FROM accounts_auditevent").fetchall() == [("member.erased",)]


def test_taking_along_and_erasing_work_with_the_real_roles(own_database: OwnDatabase):
    with own_database.in_use(SUPERUSER):
        user = make_user(EMAIL)
        organization = make_organization("Acme", owner=user)
        make_membership(organization)
        make_receipt(organization, requested_at=NOW, user=user)
    with own_database.in_use():
        client = Client(REMOTE_ADDR=ADDRESS, headers={"user-agent": BROWSER})
        client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
        session = client.session
        session["signed_in_at"] = time.time()
        session.save()

        archive = client.post(f"/o/{organization.slug}/data/export/").getvalue()
        document = json.loads(client.post("/data/export/").getvalue())
        answer = client.post("/data/erase/", {"email": EMAIL})

        assert archive.startswith(b"PK")
        assert (len(document["receipts"]), len(document["memberships"]), len(document["audit_origins"])) == (1, 1, 1)
        assert (answer.status_code, answer["Location"]) == (302, "/")
        assert "Your account is erased" in client.get("/").content.decode()
    with own_database.in_use(SUPERUSER):
        assert not places_of(IDENTIFIERS)
        assert [event.action for event in AuditEvent.objects.order_by("sequence")] == [
            "organization.exported",
            "member.erased",
        ]
