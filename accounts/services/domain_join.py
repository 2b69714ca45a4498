"""Join an organization by a verified address of a domain that it has verified."""

from datetime import datetime
from http import HTTPStatus

from django.db import transaction

from accounts.models import Domain, Membership, Notice, Organization, Role, User
from accounts.selectors import join_offer
from accounts.services.audit import person, record_event
from accounts.services.invitations import MAXIMUM_MEMBERS
from accounts.services.members import lock_organization
from accounts.services.notices import notify_owners
from portal.lib.errors import DomainError
from portal.lib.tenancy import set_user


class OfferNotFound(DomainError):
    status = HTTPStatus.NOT_FOUND
    code = "offer_not_found"


class UnableToJoin(DomainError):
    code = "unable_to_join"


NO_OFFER = "There is no such organization that you may join."


@transaction.atomic
def join_by_domain(*, public_id: str, user: User, now: datetime) -> Membership:
    """Make a person a member by an address of theirs that they have proved, and enter the organization.

    public_id: of the domain. Raises OfferNotFound, in the same words whatever the reason, unless the person has a
    verified address of the domain, the organization lets such people join and is not being deleted; UnableToJoin if
    they are a member already or the organization is full.
    """
    set_user(user.pk)
    offer = join_offer(user, public_id)
    if offer is None:
        raise OfferNotFound(NO_OFFER)
    organization = lock_organization(offer.organization_id)
    domain = Domain.objects.owned_by(organization).verified().exclude(join_role="").filter(public_id=public_id).first()
    if domain is None or organization.closes_at is not None:
        raise OfferNotFound(NO_OFFER)
    membership = admit(organization=organization, user=user, role=Role(domain.join_role), now=now)
    notify_owners(
        organization_id=organization.pk,
        kind=Notice.Kind.MEMBER_JOINED,
        subject_id=membership.public_id,
        now=now,
    )
    record_event(
        "member.joined",
        organization_id=organization.pk,
        target=("member", membership.public_id),
        changes={
            "person": (None, user.public_id),
            "role": (None, membership.role),
            "domain": (None, domain.public_id),
        },
        actor=person(user),
        now=now,
    )
    return membership


def admit(*, organization: Organization, user: User, role: Role, now: datetime) -> Membership:
    """Make a person a member of an organization that the caller has locked.

    Raises UnableToJoin if they are one already or the organization is full.
    """
    members = Membership.objects.owned_by(organization)
    if members.of_user(user).exists():
        raise UnableToJoin(f"You are a member of {organization.name} already.")
    if members.count() >= MAXIMUM_MEMBERS:
        raise UnableToJoin(f"{organization.name} has as many members as an organization may have.")
    return Membership.objects.create(organization=organization, user=user, role=role, created_at=now)
