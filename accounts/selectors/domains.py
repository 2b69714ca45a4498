"""Domains as pages show them, whose a domain is, and whom an address lets join where."""

from dataclasses import dataclass
from datetime import datetime

from allauth.account.models import EmailAddress
from django.db import connection

from accounts.models import Domain, Membership, Organization, Role, User
from portal.lib.domain_names import domain_of
from portal.lib.tenancy import leave_organization, set_organization


def organization_id_of_domain(name: str) -> int | None:
    """Return who has verified a domain, through a function that may look past row-level security.

    None for a closed organization's too. name: as `canonical_domain` writes it.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT accounts_organization_of_domain(%s)", [name])
        row = cursor.fetchone()
    return None if row is None else row[0]


def verified_domains_of(user: User) -> list[str]:
    """Return the domains of the addresses that a person has proved to be theirs, in order."""
    emails = EmailAddress.objects.filter(user=user, verified=True).values_list("email", flat=True)
    return sorted({domain for email in emails if (domain := domain_of(email))})


@dataclass(frozen=True, slots=True)
class DomainRow:
    """A domain as a line of the list."""

    public_id: str
    name: str
    state: str
    state_label: str
    join_role: str  # label, empty: nobody joins by it
    lost_at: datetime | None


def domain_rows(organization: Organization) -> list[DomainRow]:
    """Return the organization's domains by name. No list page: services allow twenty."""
    return [
        DomainRow(
            public_id=domain.public_id,
            name=domain.shown,
            state=(state := domain.state()).value,
            state_label=str(state.label),
            join_role=str(Role(domain.join_role).label) if domain.join_role else "",
            lost_at=domain.lost_at,
        )
        for domain in Domain.objects.owned_by(organization).in_order()
    ]


@dataclass(frozen=True, slots=True)
class JoinOffer:
    """An organization that a person may join by an address of theirs."""

    public_id: str  # of the domain
    organization_id: int
    organization: str
    domain: str
    role: str


def join_offers(user: User) -> list[JoinOffer]:
    """Return the organizations that a person may join by themselves, by domain.

    Needs `set_user` before, and leaves whatever organization the transaction was in.
    """
    mine = set(Membership.objects.of_user(user).values_list("organization_id", flat=True))
    offers = []
    for name in verified_domains_of(user):
        organization_id = organization_id_of_domain(name)
        if organization_id is None or organization_id in mine:
            continue
        set_organization(organization_id)
        domains = Domain.objects.verified().exclude(join_role="").filter(organization__closes_at=None)
        domain = domains.filter(organization=organization_id, name=name).select_related("organization").first()
        if domain is not None:
            role = str(Role(domain.join_role).label)
            offers.append(JoinOffer(domain.public_id, organization_id, domain.organization.name, domain.shown, role))
    leave_organization()
    return offers


def join_offer(user: User, public_id: str) -> JoinOffer | None:
    """Return the offer that a domain of this public id is for the person and enter its organization, or None."""
    offer = next((one for one in join_offers(user) if one.public_id == public_id), None)
    if offer is not None:
        set_organization(offer.organization_id)
    return offer
