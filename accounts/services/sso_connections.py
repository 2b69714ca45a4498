"""Set single sign-on up for an organization, require it, and name the owners who may enter without it.

The provider is asked before anything is locked; then each change locks the organization first, as members.py does.
"""

from collections.abc import Mapping
from datetime import datetime

from django.db import transaction

from accounts.gateways import ProviderError
from accounts.gateways.oidc import discover
from accounts.gateways.saml_provider import certificate_lines, read_certificates, to_pem
from accounts.models import Domain, Membership, Notice, Organization, Permission, Role, SsoConnection, SsoIdentity
from accounts.models.domain import JOINABLE_ROLES
from accounts.models.sso import MOST_CERTIFICATES
from accounts.sealed import SSO_CLIENT_SECRET
from accounts.selectors import connection_in, is_only_break_glass
from accounts.services.audit import Changes, changed, record_event
from accounts.services.members import ONLY_BREAK_GLASS, allowed, lock_organization
from accounts.services.notices import notify_owners
from portal.lib.errors import DomainError
from portal.lib.outbound import LONGEST_URL, UnsafeAddress, read_url


class UnableToSetUpSso(DomainError):
    code = "unable_to_set_up_sso"


class UnableToRequireSso(DomainError):
    code = "unable_to_require_sso"


class UnableToNameBreakGlass(DomainError):
    code = "unable_to_name_break_glass"


@transaction.atomic
def set_up_sso(
    *, issuer: str, client_id: str, client_secret: str, default_role: Role, by: Membership, now: datetime
) -> SsoConnection:
    """Connect an organization to its OpenID Connect provider, or change how; return the connection.

    client_secret: "" keeps the one there is, for the same issuer and client only. Another issuer or client knows people
    by other names, so the former identities of members are forgotten. Raises UnableToSetUpSso if the issuer is none or
    cannot be used.
    """
    issuer, client_id = issuer.strip(), client_id.strip()
    _check_role(default_role)
    try:
        discover(issuer)
    except ProviderError as error:
        raise UnableToSetUpSso(str(error)) from error
    organization = lock_organization(by.organization_id)
    allowed(by, Permission.MANAGE_SIGN_ON, UnableToSetUpSso)
    found = connection_in(organization)
    known = (found.protocol, found.issuer, found.client_id) if found else None
    is_same = known == (SsoConnection.Protocol.OIDC, issuer, client_id)
    if not client_secret and not is_same:
        raise UnableToSetUpSso("Enter the client secret too.")
    connection = found if found and is_same else _another(organization, found, now)
    before = _facts(found) if found else {}
    had_secret = found is not None and found.client_secret is not None
    connection.protocol, connection.issuer, connection.client_id = SsoConnection.Protocol.OIDC, issuer, client_id
    connection.sign_in_url, connection.certificates = "", []
    connection.default_role = default_role.value
    changes = _changes(before, connection)
    if client_secret:
        connection.client_secret = SSO_CLIENT_SECRET.seal(client_secret, row=connection.public_id)
        changes = {**changes, "client_secret": ("sealed" if had_secret else None, "changed")}
    return _store(connection, changes, found, now)


@transaction.atomic
def set_up_saml(
    *, entity_id: str, sign_in_url: str, certificates: str, default_role: Role, by: Membership, now: datetime
) -> SsoConnection:
    """Connect an organization to its SAML provider, or change how; return the connection. Nothing is fetched.

    certificates: one or two, as PEM. Another entity id, or another protocol before, knows people by other names, so the
    former identities of members are forgotten; other certificates are the same provider's. Raises UnableToSetUpSso for
    an address that nobody can be sent to and for certificates that are none, too weak or too old.
    """
    entity_id, sign_in_url = entity_id.strip(), sign_in_url.strip()
    _check_role(default_role)
    if not entity_id or not entity_id.isprintable() or len(entity_id) > LONGEST_URL:
        raise UnableToSetUpSso(
            f"Enter the entity id, as your identity provider writes it, of at most {LONGEST_URL} characters."
        )
    try:
        read_url(sign_in_url)
        pems = [to_pem(each) for each in read_certificates(certificates, most=MOST_CERTIFICATES, now=now)]
    except UnsafeAddress as error:
        raise UnableToSetUpSso(f"Sign-in address: {error}") from error
    except ProviderError as error:
        raise UnableToSetUpSso(str(error)) from error
    organization = lock_organization(by.organization_id)
    allowed(by, Permission.MANAGE_SIGN_ON, UnableToSetUpSso)
    found = connection_in(organization)
    is_same = found is not None and (found.protocol, found.issuer) == (SsoConnection.Protocol.SAML, entity_id)
    connection = found if found and is_same else _another(organization, found, now)
    before = _facts(found) if found else {}
    connection.protocol, connection.issuer = SsoConnection.Protocol.SAML, entity_id
    connection.sign_in_url, connection.certificates = sign_in_url, pems
    connection.client_id, connection.client_secret = "", None
    connection.default_role = default_role.value
    return _store(connection, _changes(before, connection), found, now)


def _check_role(role: Role) -> None:
    if role not in JOINABLE_ROLES:
        raise UnableToSetUpSso("New people start as viewers or developers; promote them as members.")


def _facts(connection: SsoConnection) -> dict[str, str]:
    """Return what the log says of a connection: certificates by their fingerprints, and no secret."""
    return {
        "protocol": connection.protocol,
        "issuer": connection.issuer,
        "client_id": connection.client_id,
        "sign_in_url": connection.sign_in_url,
        "certificates": " ".join(line.fingerprint for line in certificate_lines(connection.certificates)),
        "default_role": connection.default_role,
    }


def _changes(before: Mapping[str, str], connection: SsoConnection) -> Changes:
    return changed(**{name: (before.get(name) or None, value or None) for name, value in _facts(connection).items()})


def _another(organization: Organization, found: SsoConnection | None, now: datetime) -> SsoConnection:
    """Return a connection to a provider that is not the present one's.

    A new row, so that whom the former provider let in is not let in by this one: their proofs name the former.
    """
    if found is not None and organization.sso_required_at is not None:
        raise UnableToSetUpSso("Stop requiring single sign-on first: another provider has let nobody in yet.")
    return SsoConnection(organization=organization, created_at=now)


def _store(connection: SsoConnection, changes: Changes, found: SsoConnection | None, now: datetime) -> SsoConnection:
    """Store the connection in the place of `found`, which may be the same."""
    if not changes:
        return connection
    if found is not None and found.public_id != connection.public_id:
        found.delete()
    connection.changed_at = now
    connection.save()
    record_event(
        "sso.set_up" if found is None else "sso.changed",
        organization_id=connection.organization_id,
        target=("sso", connection.public_id),
        changes=changes,
        now=now,
    )
    return connection


@transaction.atomic
def remove_sso(*, by: Membership, now: datetime) -> None:
    """End single sign-on; members stay. Raises UnableToSetUpSso while it is required, and where there is none."""
    organization = lock_organization(by.organization_id)
    allowed(by, Permission.MANAGE_SIGN_ON, UnableToSetUpSso)
    connection = connection_in(organization)
    if connection is None:
        raise UnableToSetUpSso("There is no single sign-on to remove.")
    if organization.sso_required_at is not None:
        raise UnableToSetUpSso("Stop requiring single sign-on first.")
    public_id, issuer = connection.public_id, connection.issuer
    connection.delete()
    record_event(
        "sso.removed",
        organization_id=organization.pk,
        target=("sso", public_id),
        changes={"issuer": (issuer, None)},
        now=now,
    )


@transaction.atomic
def require_sso(*, by: Membership, now: datetime) -> Organization:
    """Let people of the verified domains enter through single sign-on only, from their next request on.

    Raises UnableToRequireSso unless a domain is verified, somebody has come through the connection, and an owner is
    named who may enter without it; and when it is required already.
    """
    organization = lock_organization(by.organization_id)
    allowed(by, Permission.MANAGE_SIGN_ON, UnableToRequireSso)
    if organization.sso_required_at is not None:
        raise UnableToRequireSso("Single sign-on is required already.")
    connection = connection_in(organization)
    if connection is None:
        raise UnableToRequireSso("Set single sign-on up first.")
    if not Domain.objects.owned_by(organization).verified().exists():
        raise UnableToRequireSso("Verify a domain first: it says whom this is about.")
    if not SsoIdentity.objects.filter(connection=connection).exists():
        raise UnableToRequireSso("Sign in through it once yourself, so that it is known to work.")
    if not Membership.objects.owned_by(organization).filter(is_break_glass=True, user__is_active=True).exists():
        raise UnableToRequireSso("Name an owner who may enter without it first, for the day it does not work.")
    _set_required(organization, now, Notice.Kind.SSO_REQUIRED, now)
    return organization


@transaction.atomic
def stop_requiring_sso(*, by: Membership, now: datetime) -> Organization:
    """Let people enter as they like again. Raises UnableToRequireSso when it is not required."""
    organization = lock_organization(by.organization_id)
    allowed(by, Permission.MANAGE_SIGN_ON, UnableToRequireSso)
    if organization.sso_required_at is None:
        raise UnableToRequireSso("Single sign-on is not required.")
    _set_required(organization, None, Notice.Kind.SSO_OPTIONAL, now)
    return organization


def _set_required(organization: Organization, at: datetime | None, kind: Notice.Kind, now: datetime) -> None:
    organization.sso_required_at = at
    organization.save(update_fields=["sso_required_at"])
    notify_owners(organization_id=organization.pk, kind=kind, subject_id="", now=now)
    record_event(
        "sso.required" if at else "sso.made_optional",
        organization_id=organization.pk,
        target=("organization", organization.public_id),
        now=now,
    )


@transaction.atomic
def name_break_glass(*, membership: Membership, may_enter: bool, by: Membership, now: datetime) -> Membership:
    """Say whether an owner may enter without single sign-on where it is required.

    Raises UnableToNameBreakGlass for who is no owner, and for the last one while it is required.
    """
    organization = lock_organization(by.organization_id)
    allowed(by, Permission.MANAGE_SIGN_ON, UnableToNameBreakGlass)
    owners = Membership.objects.owned_by(organization).filter(role=Role.OWNER)
    owner = owners.select_related("user", "organization").filter(pk=membership.pk).first()
    if owner is None:
        raise UnableToNameBreakGlass("Only owners may enter without single sign-on.")
    if not may_enter and is_only_break_glass(owner):
        raise UnableToNameBreakGlass(ONLY_BREAK_GLASS)
    if owner.is_break_glass != may_enter:
        owner.is_break_glass = may_enter
        owner.save(update_fields=["is_break_glass"])
        record_event(
            "member.break_glass_named" if may_enter else "member.break_glass_ended",
            organization_id=organization.pk,
            target=("member", owner.public_id),
            now=now,
        )
    return owner
