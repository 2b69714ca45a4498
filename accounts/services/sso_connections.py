"""Set single sign-on up for an organization, require it, and name the owners who may enter without it.

The provider is asked before anything is locked; then each change locks the organization first, as members.py does.
"""

from datetime import datetime

from django.db import transaction

from accounts.gateways.oidc import ProviderError, discover
from accounts.models import Domain, Membership, Notice, Organization, Permission, Role, SsoConnection, SsoIdentity
from accounts.models.domain import JOINABLE_ROLES
from accounts.sealed import SSO_CLIENT_SECRET
from accounts.selectors import connection_in, is_only_break_glass
from accounts.services.audit import changed, record_event
from accounts.services.members import ONLY_BREAK_GLASS, allowed, lock_organization
from accounts.services.notices import notify_owners
from portal.lib.errors import DomainError


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
    """Connect an organization to its identity provider, or change how; return the connection.

    client_secret: "" keeps the one there is, for the same issuer and client only. Another issuer or client knows people
    by other names, so the former identities of members are forgotten. Raises UnableToSetUpSso if the issuer is none or
    cannot be used.
    """
    issuer, client_id = issuer.strip(), client_id.strip()
    if default_role not in JOINABLE_ROLES:
        raise UnableToSetUpSso("New people start as viewers or developers; promote them as members.")
    try:
        discover(issuer)
    except ProviderError as error:
        raise UnableToSetUpSso(str(error)) from error
    organization = lock_organization(by.organization_id)
    allowed(by, Permission.MANAGE_SIGN_ON, UnableToSetUpSso)
    found = connection_in(organization)
    is_same = found is not None and (found.issuer, found.client_id) == (issuer, client_id)
    if not client_secret and not is_same:
        raise UnableToSetUpSso("Enter the client secret too.")
    connection = found or SsoConnection(organization=organization, created_at=now)
    changes = changed(
        issuer=(connection.issuer or None, issuer),
        client_id=(connection.client_id or None, client_id),
        default_role=(connection.default_role if found else None, default_role.value),
    )
    if client_secret:
        changes = {**changes, "client_secret": ("sealed" if found else None, "changed")}
    if not changes:
        return connection
    connection.issuer, connection.client_id, connection.default_role = issuer, client_id, default_role.value
    connection.changed_at = now
    if client_secret:
        connection.client_secret = SSO_CLIENT_SECRET.seal(client_secret, row=connection.public_id)
    connection.save()
    if not is_same:
        SsoIdentity.objects.filter(connection=connection).delete()
    record_event(
        "sso.changed" if found else "sso.set_up",
        organization_id=organization.pk,
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
