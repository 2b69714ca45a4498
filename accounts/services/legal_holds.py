"""Legal holds: while one stands, nothing of an organization goes for its age, and none of its members is erased."""

from datetime import datetime

from django.db import transaction

from accounts.models import AuditEvent, Organization, User
from accounts.services.audit import record_event
from accounts.services.members import lock_organization
from portal.lib.context import Actor
from portal.lib.errors import DomainError

SHORTEST_REASON = 10
LONGEST_REASON = 500
PERMISSION = "accounts.hold_organization"


class UnableToChangeHold(DomainError):
    code = "unable_to_change_legal_hold"


@transaction.atomic
def set_legal_hold(*, organization: Organization, reason: str, by: User, now: datetime) -> Organization:
    """Hold an organization; `reason` is in its own log. For the platform role.

    Raises UnableToChangeHold if it is held already, if `by` may not, or without a reason.
    """
    return _change(organization, True, reason, by, now)


@transaction.atomic
def clear_legal_hold(*, organization: Organization, reason: str, by: User, now: datetime) -> Organization:
    """Let an organization go: what is past its time goes with the next daily run. For the platform role.

    Raises UnableToChangeHold if it is not held, if `by` may not, or without a reason.
    """
    return _change(organization, False, reason, by, now)


def _change(organization: Organization, is_held: bool, reason: str, by: User, now: datetime) -> Organization:
    reason = " ".join(reason.split())
    if not by.is_staff or not by.has_perm(PERMISSION):
        raise UnableToChangeHold("You may not change legal holds.")
    if not SHORTEST_REASON <= len(reason) <= LONGEST_REASON:
        raise UnableToChangeHold(f"Say why, in {SHORTEST_REASON} to {LONGEST_REASON} characters.")
    organization = lock_organization(organization.pk)
    if organization.legal_hold == is_held:
        raise UnableToChangeHold("It is held already." if is_held else "It is not held.")
    organization.legal_hold = is_held
    organization.save(update_fields=["legal_hold"])
    record_event(
        "organization.legal_hold_set" if is_held else "organization.legal_hold_cleared",
        organization_id=organization.pk,
        target=("organization", organization.public_id),
        changes={"legal_hold": (not is_held, is_held), "reason": (None, reason)},
        actor=Actor(kind=AuditEvent.ActorKind.USER.value, public_id=by.public_id, via=AuditEvent.Via.STAFF.value),
        now=now,
    )
    return organization
