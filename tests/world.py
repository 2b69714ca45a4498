"""Two organizations with one of everything, and everybody who may come along: what the sweeps walk through.

An app adds its objects to OBJECTS, by the word that tests/policy.py uses for them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.db import connection
from django.test import Client

from accounts.models import DirectoryToken, Organization, RateLimit, Role, Scope, User
from accounts.services.api_keys import issue_key
from billing.models import SpendCap
from billing.services.caps import CapTarget
from catalog.models import InstanceType, ServedModel
from portal.lib.key_format import KeyKind
from tests.factories.accounts import (
    lock_behind_sso,
    make_audit_endpoint,
    make_directory_group,
    make_directory_person,
    make_directory_token,
    make_domain,
    make_invitation,
    make_membership,
    make_organization,
    make_project_membership,
    make_saml_connection,
    make_service_account,
    make_sso_connection,
    make_user,
)
from tests.factories.billing import make_cap, make_card, make_invoice, make_payment
from tests.factories.compute import make_instance, make_ssh_key
from tests.factories.inference import make_receipt

NOW = datetime.now(UTC)


def _api_key(organization: Organization) -> str:
    project = organization.projects.get()
    issued = issue_key(project=project, name="swept", scopes=[Scope.INFERENCE], created_by=None, now=NOW)
    return issued.api_key.public_id


def _project(organization: Organization) -> str:
    return organization.projects.get().public_id


def _instance(organization: Organization) -> str:
    return make_instance(NOW, organization.projects.get()).public_id


def _ssh_key(organization: Organization) -> str:
    return make_ssh_key(organization).public_id


def _service_account(organization: Organization) -> str:
    return make_service_account(organization.projects.get(), f"robots of {organization.slug}").public_id


def _cap(organization: Organization) -> str:
    """A project's cap; the key gets one for all time, which programs name by its key and period."""
    project = organization.projects.get()
    key = organization.api_keys.order_by("pk")[0]
    make_cap(project, CapTarget(organization, api_key=key), period=SpendCap.Period.LIFETIME)
    return make_cap(project).public_id


def _payment(organization: Organization) -> str:
    return make_payment(organization).public_id


def _card(organization: Organization) -> str:
    return make_card(organization).public_id


def _invoice(organization: Organization) -> str:
    return make_invoice(organization.projects.get(), now=NOW).public_id


def _rate_limit(organization: Organization) -> str:
    """Over the project; a key has none of its own."""
    project = organization.projects.get()
    rates = {"requests_per_minute": 600, "tokens_per_minute": 90_000}
    return RateLimit.objects.create(organization=organization, project=project, changed_at=NOW, **rates).public_id


def _receipt(organization: Organization) -> str:
    return make_receipt(organization).request_id


def _member(organization: Organization) -> str:
    member = make_membership(organization, role=Role.VIEWER)
    project = organization.projects.get()
    make_project_membership(member, project)
    # Which stays when they go: their removal says so, and asks who answers for it.
    issue_key(project=project, name="left", scopes=[Scope.INFERENCE], created_by=member.user, now=NOW)
    return member.public_id


def _invitation(organization: Organization) -> str:
    by, project = make_membership(organization).user, organization.projects.get()
    return make_invitation(organization, "invited@example.com", invited_by=by, now=NOW, project=project)[0].public_id


def _audit_endpoint(organization: Organization) -> str:
    return make_audit_endpoint(organization).public_id


def _owner(organization: Organization) -> str:
    return make_membership(organization).public_id


def _domain(organization: Organization) -> str:
    return make_domain(organization, f"{organization.slug}.example").public_id


def _directory_token(organization: Organization) -> str:
    return make_directory_token(make_membership(organization), now=NOW).token.public_id


def _directory_person(organization: Organization) -> str:
    membership = make_membership(organization, role=Role.DEVELOPER)
    person = make_directory_person(organization, f"swept@{organization.slug}.example", membership=membership)
    return person.public_id


def _directory_group(organization: Organization) -> str:
    person = make_directory_person(organization, f"grouped@{organization.slug}.example")
    return make_directory_group(organization, "swept", person).public_id


# Word -> makes the object in an organization that has one project, and returns what the URL calls it.
OBJECTS: dict[str, Callable[[Organization], str]] = {
    "key": _api_key,
    "project": _project,
    "service_account": _service_account,
    "member": _member,
    "invitation": _invitation,
    "audit_endpoint": _audit_endpoint,
    "domain": _domain,
    "owner": _owner,
    "directory_token": _directory_token,
    "directory_person": _directory_person,
    "directory_group": _directory_group,
    "instance": _instance,
    "ssh_key": _ssh_key,
    "receipt": _receipt,
    "cap": _cap,
    "rate_limit": _rate_limit,
    "payment": _payment,
    "card": _card,
    "invoice": _invoice,
}


def _passkey(user: User) -> str:
    passkey = Authenticator.objects.create(user=user, type=Authenticator.Type.WEBAUTHN, data={"name": "swept"})
    return str(passkey.pk)


def _invitation_token(user: User) -> str:
    organization = make_organization("Inviting", owner=(owner := make_user()))
    return make_invitation(organization, user.email, invited_by=owner, now=NOW)[1]


def _locked_slug(user: User) -> str:
    """An organization that the person may enter without the single sign-on that it requires."""
    owner = make_membership(make_organization("Locked"), user)
    lock_behind_sso(owner)
    return owner.organization.slug


def _join_offer(user: User) -> str:
    """A domain of which the person has a verified address, and whose people may join."""
    organization = make_organization("Joinable", owner=make_user())
    name = f"joinable-{organization.slug}.example"
    EmailAddress.objects.create(user=user, email=f"me@{name}", verified=True, primary=False)
    return make_domain(organization, name, join_role=Role.VIEWER).public_id


# The same for what belongs to a person.
PERSONAL_OBJECTS: dict[str, Callable[[User], str]] = {
    "passkey": _passkey,
    "invitation_token": _invitation_token,
    "join_offer": _join_offer,
    "locked_slug": _locked_slug,
}


def _served_model() -> str:
    return ServedModel.objects.order_by("pk")[0].name


def _instance_type() -> str:
    return InstanceType.objects.order_by("pk")[0].name


def _sso_slug() -> str:
    organization = make_organization("Signing on", owner=make_user())
    make_sso_connection(organization)
    return organization.slug


def _saml_slug() -> str:
    organization = make_organization("Signing on by SAML", owner=make_user())
    make_saml_connection(organization)
    return organization.slug


def _mail() -> str:
    folder: Path = settings.MAIL_DIR
    folder.mkdir(parents=True, exist_ok=True)
    letter = b"Subject: Welcome\nTo: ada@example.com\nDate: Sun, 22 Nov 2026 12:00:00 +0000\n\nYour code is 123456.\n"
    (folder / "swept.log").write_bytes(letter)
    return "swept.log"


# And for what belongs to nobody: the price list, and the mail of a development portal.
PUBLIC_OBJECTS: dict[str, Callable[[], str]] = {
    "model": _served_model,
    "instance_type": _instance_type,
    "sku": lambda: ServedModel.objects.order_by("pk")[0].sku(ServedModel.TokenKind.INPUT),
    "mail": _mail,
    "sso_slug": _sso_slug,
    "saml_slug": _saml_slug,
    "social_provider": lambda: "github",
}

# What no object is called, by the converter of the URL; of a period, which is no object, the one that the world has.
MISSING = {
    "path": "missing/thing",
    "str": "missing_00000000000000000000",
    "slug": "missing-thing",
    "int": "2147483647",
    "capperiod": SpendCap.Period.LIFETIME.value,
}


@dataclass
class World:
    """`ours` is what the tests attack, `theirs` is where the attacker comes from."""

    ours: Organization
    theirs: Organization
    members: dict[Role, User]
    stranger: User
    objects: dict[str, str]
    foreign_objects: dict[str, str]
    _clients: dict[int, Client] = field(default_factory=dict)

    def client(self, user: User | None, *, enforce_csrf: bool = False) -> Client:
        client = Client(enforce_csrf_checks=enforce_csrf, raise_request_exception=False)
        if user is not None:
            client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
            session = client.session
            session["signed_in_at"] = datetime.now(UTC).timestamp()
            session.save()
        return client

    def secret(self, organization: Organization, *scopes: Scope) -> str:
        """Return a fresh key of the organization with these scopes."""
        kind = KeyKind.MANAGEMENT if Scope.KEYS_WRITE in scopes else KeyKind.LIVE
        project = organization.projects.in_order()[0]
        return issue_key(project=project, name="sweep", scopes=scopes, created_by=None, now=NOW, kind=kind).secret

    def directory_secret(self, organization: Organization) -> str:
        """Return the secret of a fresh token of the organization's directory."""
        owner = organization.memberships.filter(role=Role.OWNER).order_by("pk")[0]
        DirectoryToken.objects.owned_by(organization).update(revoked_at=NOW)
        return make_directory_token(owner, now=NOW).secret

    @cached_property
    def tenant_tables(self) -> list[str]:
        with connection.cursor() as cursor:
            cursor.execute(
                """
                SELECT table_name FROM information_schema.columns JOIN information_schema.tables USING (table_name)
                WHERE column_name = 'organization_id' AND table_type = 'BASE TABLE' AND tables.table_schema = 'public'
                ORDER BY 1
                """
            )
            return [name for (name,) in cursor.fetchall()]

    def checksum(self, organization: Organization) -> dict[str, str]:
        """Return a digest of each table's rows of the organization, but for when and where from a key was last used."""
        digests = {}
        tables = [*((table, "organization_id") for table in self.tenant_tables), ("accounts_organization", "id")]
        with connection.cursor() as cursor:
            for table, column in tables:
                cursor.execute(
                    f"SELECT md5(string_agg(row, '|' ORDER BY row)) FROM (SELECT (to_jsonb(t) - %s::text[])::text"
                    f" AS row FROM {table} t WHERE {column} = %s) rows",
                    [["last_used_at", "last_used_address", "last_used_agent"], organization.pk],
                )
                digests[table] = cursor.fetchone()[0]
        return digests


def make_world() -> World:
    ours, theirs = make_organization("Ours"), make_organization("Theirs")
    members = {role: make_membership(ours, role=role).user for role in Role}
    stranger = make_membership(theirs, make_user("stranger@example.com")).user
    return World(
        ours=ours,
        theirs=theirs,
        members=members,
        stranger=stranger,
        objects={name: make(ours) for name, make in OBJECTS.items()},
        foreign_objects={name: make(theirs) for name, make in OBJECTS.items()},
    )
