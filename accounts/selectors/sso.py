"""Single sign-on: whose connection an address leads to, and who has to come through it."""

from dataclasses import dataclass

from allauth.account.models import EmailAddress
from django.db import connection

from accounts.models import Domain, Membership, Organization, Role, SsoConnection, SsoIdentity
from accounts.selectors.domains import organization_id_of_domain
from portal.lib.domain_names import domain_of
from portal.lib.tenancy import set_organization


def sso_organization_id(slug: str) -> int | None:
    """Return which organization with single sign-on has a slug, past row-level security; None without any."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT accounts_sso_organization(%s)", [slug])
        row = cursor.fetchone()
    return None if row is None else row[0]


def sso_connection_of(slug: str) -> SsoConnection | None:
    """Return the connection of an organization that has one, and enter it; None otherwise."""
    organization_id = sso_organization_id(slug)
    if organization_id is None:
        return None
    set_organization(organization_id)
    return SsoConnection.objects.select_related("organization").filter(organization=organization_id).first()


def sso_slug_of_address(email: str) -> str | None:
    """Return the slug of the organization through which people with this address sign in, and enter it; or None."""
    domain = domain_of(email)
    organization_id = organization_id_of_domain(domain) if domain else None
    if organization_id is None:
        return None
    set_organization(organization_id)
    connections = SsoConnection.objects.filter(organization=organization_id)
    return connections.values_list("organization__slug", flat=True).first()


def connection_in(organization: Organization) -> SsoConnection | None:
    """Return the connection of an organization that was entered, or None."""
    return SsoConnection.objects.owned_by(organization).first()


def must_come_through(membership: Membership) -> SsoConnection | None:
    """Return the connection through which a member has to enter, or None for whom it does not bind.

    Bound are members whom it knows, and who have an address of a verified domain, whether or not they enter by it.
    """
    if membership.organization.sso_required_at is None:
        return None
    found = connection_in(membership.organization)
    if found is None or not (_is_known(membership) or _has_address(membership)):
        return None
    return found


def _is_known(membership: Membership) -> bool:
    return SsoIdentity.objects.filter(membership=membership).exists()


def _has_address(membership: Membership) -> bool:
    verified = EmailAddress.objects.filter(user=membership.user_id, verified=True)
    emails = [membership.user.email, *verified.values_list("email", flat=True)]
    domains = {domain_of(email) for email in emails} - {""}
    return Domain.objects.owned_by(membership.organization).verified().filter(name__in=domains).exists()


@dataclass(frozen=True, slots=True)
class OwnerRow:
    """An owner, who may be let in without single sign-on."""

    public_id: str
    name: str
    is_break_glass: bool


def owner_rows(organization: Organization) -> list[OwnerRow]:
    owners = Membership.objects.owned_by(organization).filter(role=Role.OWNER).in_order()
    return [OwnerRow(owner.public_id, owner.user.get_full_name(), owner.is_break_glass) for owner in owners]
