"""Let people in through their organization's identity provider: link who is known, make who is new, refuse the rest.

An identity is (connection, subject) and ends with the membership. An e-mail address only says, the first time, whose
account it is, and only in a domain that the organization has verified. Rules: docs/adr/0010-single-sign-on.md.
"""

from datetime import datetime

from django.db import transaction

from accounts.gateways import Person, ProviderError, oidc
from accounts.models import Membership, Notice, Organization, Role, SsoConnection, SsoIdentity, User
from accounts.sealed import SSO_CLIENT_SECRET
from accounts.selectors import connection_in
from accounts.services.account_of_address import AccountUnusable, AddressRefused, account_of_address, check_address
from accounts.services.audit import person, record_event
from accounts.services.domain_join import UnableToJoin, admit
from accounts.services.members import lock_organization
from accounts.services.notices import notify_owners
from portal.lib.errors import DomainError


class UnableToSignIn(DomainError):
    code = "unable_to_sign_in"


class UnableToBreakGlass(DomainError):
    code = "unable_to_break_glass"


def begin_sign_in(*, connection: SsoConnection, redirect_uri: str, login_hint: str = "") -> tuple[oidc.Attempt, str]:
    """Return a fresh attempt, to be kept in the browser's session, and where the browser goes. Writes nothing.

    Raises UnableToSignIn when the provider cannot be reached.
    """
    attempt = oidc.new_attempt()
    try:
        provider = oidc.discover(connection.issuer)
    except ProviderError as error:
        raise UnableToSignIn(str(error)) from error
    return attempt, oidc.authorization_address(
        provider, _client(connection, redirect_uri), attempt, login_hint=login_hint
    )


@transaction.atomic
def finish_sign_in(
    *, connection: SsoConnection, attempt: oidc.Attempt, code: str, redirect_uri: str, now: datetime
) -> Membership:
    """Ask the provider whom it sent back with a code and return the membership to enter with, made if need be.

    The caller has used the attempt up. Raises UnableToSignIn, and changes nothing, when what the provider says cannot
    be believed, its address is of no domain that the organization has verified, or the account may not be entered.
    """
    try:
        provider = oidc.discover(connection.issuer)
        said = oidc.identify(provider, _client(connection, redirect_uri), attempt, code=code)
    except ProviderError as error:
        raise UnableToSignIn(str(error)) from error
    return admit_person(connection=connection, said=said, now=now)


@transaction.atomic
def admit_person(*, connection: SsoConnection, said: Person, now: datetime) -> Membership:
    """Return the membership of whom the provider vouches for, made if need be. connection: as the proof was checked by.

    Raises UnableToSignIn, and changes nothing, when the address is of no domain that the organization has verified, or
    the account may not be entered.
    """
    organization = lock_organization(connection.organization_id)
    current = connection_in(organization)
    if current is None or _what_vouches(current) != _what_vouches(connection):
        raise UnableToSignIn("Single sign-on was changed meanwhile: try again.")
    _check_address(organization, said.email)
    known = SsoIdentity.objects.filter(connection=current, subject=said.subject).select_related("membership__user")
    identity = known.first()
    if identity is None:
        return _enter_first_time(current, organization, said, now)
    _check_user(identity.membership.user)
    identity.last_used_at = now
    identity.save(update_fields=["last_used_at"])
    _record("sso.signed_in", current, identity.membership, now)
    return identity.membership


def _what_vouches(connection: SsoConnection) -> tuple[object, ...]:
    return (connection.pk, connection.protocol, connection.issuer, connection.client_id, connection.certificates)


def _client(connection: SsoConnection, redirect_uri: str) -> oidc.Client:
    if connection.client_secret is None:
        raise UnableToSignIn("Single sign-on was changed meanwhile: try again.")
    secret = SSO_CLIENT_SECRET.unseal(connection.client_secret, row=connection.public_id)
    return oidc.Client(connection.client_id, secret, redirect_uri)


def _check_address(organization: Organization, email: str) -> None:
    if not email:
        raise UnableToSignIn("Your identity provider gives no e-mail address that it has verified.")
    try:
        check_address(organization, email)
    except AddressRefused as error:
        raise UnableToSignIn(f"Your identity provider gives an address that it may not speak for. {error}") from error


def _enter_first_time(connection: SsoConnection, organization: Organization, said: Person, now: datetime) -> Membership:
    user = _account_of(said.email)
    members = Membership.objects.owned_by(organization).of_user(user).select_related("user", "organization")
    membership = members.first()
    if membership is not None and SsoIdentity.objects.filter(connection=connection, membership=membership).exists():
        raise UnableToSignIn(
            "Your identity provider knew you by another name before. Ask an owner to remove you from the members, and"
            " sign in again."
        )
    is_member = membership is not None
    if membership is None:
        if organization.closes_at is not None:
            raise UnableToSignIn(f"{organization.name} is being deleted and takes nobody in.")
        try:
            role = Role(connection.default_role)
            membership = admit(organization=organization, user=user, role=role, now=now)
        except UnableToJoin as error:
            raise UnableToSignIn(str(error)) from error
        notify_owners(
            organization_id=organization.pk,
            kind=Notice.Kind.MEMBER_JOINED,
            subject_id=membership.public_id,
            now=now,
        )
    SsoIdentity.objects.create(
        organization=organization,
        connection=connection,
        membership=membership,
        subject=said.subject,
        created_at=now,
        last_used_at=now,
    )
    _record("sso.linked" if is_member else "sso.member_made", connection, membership, now)
    return membership


def _account_of(email: str) -> User:
    """Return whose the address is, or a new person. Raises UnableToSignIn if nobody can say whose it is."""
    try:
        return account_of_address(email)
    except AccountUnusable as error:
        raise UnableToSignIn(str(error)) from error


def _check_user(user: User) -> None:
    if not user.is_active:
        raise UnableToSignIn("This account is closed.")
    if user.is_staff or user.is_superuser:
        # A customer's provider must not open what the portal's own people may do.
        raise UnableToSignIn("Staff of this portal sign in without a customer's identity provider.")


def _record(action: str, connection: SsoConnection, membership: Membership, now: datetime) -> None:
    record_event(
        action,
        organization_id=connection.organization_id,
        target=("member", membership.public_id),
        changes={
            "person": (None, membership.user.public_id),
            "sso": (None, connection.public_id),
            **({"role": (None, membership.role)} if action == "sso.member_made" else {}),
        },
        actor=person(membership.user),
        now=now,
    )


@transaction.atomic
def break_glass(*, membership: Membership, now: datetime) -> None:
    """Note that an owner enters without single sign-on, and let every owner know.

    Raises UnableToBreakGlass unless they are named for it and single sign-on is required.
    """
    organization = lock_organization(membership.organization_id)
    owners = Membership.objects.owned_by(organization).filter(is_break_glass=True, role=Role.OWNER)
    owner = owners.select_related("user").filter(pk=membership.pk).first()
    if owner is None or organization.sso_required_at is None:
        raise UnableToBreakGlass("You may not enter without single sign-on.")
    notify_owners(organization_id=organization.pk, kind=Notice.Kind.BREAK_GLASS, subject_id=owner.public_id, now=now)
    record_event(
        "sso.glass_broken",
        organization_id=organization.pk,
        target=("member", owner.public_id),
        actor=person(owner.user),
        now=now,
    )
