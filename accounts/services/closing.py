"""Delete an organization: an owner asks, 30 days pass in which any owner may keep it, then it is closed.

Closing ends its keys here; whoever runs something for it asks who is closed (compute: end_instances_of_closed_…).
The rows stay for as long as docs/retention.md says: what opens something or is somebody's, 30 days more.
"""

from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import ApiKey, Organization
from accounts.services.api_keys import revoke_key
from accounts.services.audit import record_event
from accounts.services.mails import mail_owners, page_address
from accounts.services.members import lock_organization
from portal.lib.batches import one_by_one
from portal.lib.errors import DomainError
from portal.lib.jobs import enqueue

log = structlog.get_logger(__name__)

GRACE = timedelta(days=30)


class UnableToDeleteOrganization(DomainError):
    code = "unable_to_delete_organization"


class UnableToKeepOrganization(DomainError):
    code = "unable_to_keep_organization"


@transaction.atomic
def request_deletion(*, organization: Organization, now: datetime) -> Organization:
    """Let an organization close in 30 days. Raises UnableToDeleteOrganization when it is to close already."""
    organization = lock_organization(organization.pk)
    if organization.closes_at is not None:
        raise UnableToDeleteOrganization(_("It is being deleted already."))
    organization.closes_at = now + GRACE
    organization.save(update_fields=["closes_at"])
    enqueue("accounts.announce_closings")
    _record("organization.deletion_requested", organization, (None, _text(organization.closes_at)), now)
    return organization


@transaction.atomic
def keep_organization(*, organization: Organization, now: datetime) -> Organization:
    """Take a deletion back; safe to repeat. Raises UnableToKeepOrganization once it is closed."""
    organization = lock_organization(organization.pk)
    if organization.closed_at is not None:
        raise UnableToKeepOrganization(_("It is closed already."))
    if organization.closes_at is not None:
        before = _text(organization.closes_at)
        organization.closes_at = None
        organization.save(update_fields=["closes_at"])
        enqueue("accounts.announce_closings")
        _record("organization.kept", organization, (before, None), now)
    return organization


def close_due_organizations(*, now: datetime) -> int:
    """Close every organization whose time has come and return how many; each is a transaction of its own.

    For the platform role.
    """
    return one_by_one(
        Organization.objects.due_to_close(now).order_by("closes_at", "pk")[:1000],
        lambda organization: _close(organization, now),
        lambda organization: log.exception("accounts.organization_not_closed", organization=organization.public_id),
    )


@transaction.atomic
def _close(organization: Organization, now: datetime) -> bool:
    organization = lock_organization(organization.pk)
    # An owner may have kept it meanwhile.
    if organization.closed_at is not None or organization.closes_at is None or organization.closes_at > now:
        return False
    # All locked before the first entry in the log.
    keys = list(ApiKey.objects.owned_by(organization).unrevoked().order_by("pk").select_for_update())
    organization.closed_at = now
    organization.save(update_fields=["closed_at"])
    enqueue("accounts.announce_closings")
    for key in keys:
        revoke_key(api_key=key, now=now)
    target = ("organization", organization.public_id)
    record_event("organization.closed", organization_id=organization.pk, target=target, now=now)
    log.info("accounts.organization.closed", organization=organization.public_id, keys=len(keys))
    return True


# What owners are mailed when an organization has come to stand there.
MAILS = {
    Organization.Standing.OPEN: "organization_kept",
    Organization.Standing.CLOSING: "organization_closing",
    Organization.Standing.CLOSED: "organization_closed",
}


def announce_closings() -> int:
    """Mail owners of every organization that stands otherwise than they were last told; return how many of those.

    For the platform role, each in a transaction of its own. A crash between mail and commit mails twice; what was
    taken back before anybody was mailed is not mentioned.
    """
    return one_by_one(
        Organization.objects.unannounced().order_by("pk").values_list("pk", flat=True),
        _announce,
        lambda pk: log.exception("accounts.closing_not_announced", organization_id=pk),
    )


@transaction.atomic
def _announce(organization_id: int) -> int:
    unannounced = Organization.objects.unannounced().select_for_update(skip_locked=True, no_key=True)
    organization = unannounced.filter(pk=organization_id).first()
    if organization is None:
        return 0
    address = page_address("overview", organization.slug)
    mail_owners(MAILS[organization.standing], organization=organization, address=address)
    organization.announced = organization.standing
    organization.save(update_fields=["announced"])
    return 1


def _record(action: str, organization: Organization, closes_at: tuple[str | None, str | None], now: datetime) -> None:
    record_event(
        action,
        organization_id=organization.pk,
        target=("organization", organization.public_id),
        changes={"closes_at": closes_at},
        now=now,
    )


def _text(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
