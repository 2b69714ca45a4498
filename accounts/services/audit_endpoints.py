"""Where an organization's audit log is sent: add an endpoint, try it, give it a new secret, pause it, remove it.

Each function locks the endpoint before it changes it; sending is services/audit_delivery.py.
"""

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from django.db import transaction

from accounts.models import AuditEndpoint, AuditEvent, Organization, Overlap
from accounts.sealed import AUDIT_FORMER_SECRET, AUDIT_SECRET
from accounts.services.audit import Changes, record_event
from accounts.services.members import lock_organization
from portal.lib.errors import DomainError
from portal.lib.jobs import enqueue
from portal.lib.outbound import UnsafeAddress, read_url
from portal.lib.webhook_signing import new_signing_secret

MAXIMUM_ENDPOINTS = 10


class UnableToAddEndpoint(DomainError):
    code = "unable_to_add_audit_endpoint"


class UnableToChangeEndpoint(DomainError):
    code = "unable_to_change_audit_endpoint"


@dataclass(frozen=True, slots=True)
class SignedEndpoint:
    """An endpoint with its signing secret, which is in this answer and sealed in the row, and nowhere else."""

    endpoint: AuditEndpoint
    secret: str


@transaction.atomic
def add_endpoint(*, organization: Organization, url: str, from_start: bool, now: datetime) -> SignedEndpoint:
    """Send the log to `url` from now on, or with from_start everything that is in it.

    Raises UnableToAddEndpoint for an address that we do not go to, one that is there already, and too many.
    """
    _check_address(url)
    organization = lock_organization(organization.pk)
    endpoints = AuditEndpoint.objects.owned_by(organization)
    if endpoints.filter(url=url).exists():
        raise UnableToAddEndpoint("The log is sent there already.")
    if endpoints.count() >= MAXIMUM_ENDPOINTS:
        raise UnableToAddEndpoint(f"A log is sent to {MAXIMUM_ENDPOINTS} addresses at the most: remove one first.")
    secret = new_signing_secret()
    endpoint = AuditEndpoint(
        organization=organization,
        url=url,
        created_at=now,
        delivered_sequence=0 if from_start else _newest(organization),
    )
    endpoint.secret = AUDIT_SECRET.seal(secret, row=endpoint.public_id)
    endpoint.save()
    _record("audit_endpoint.added", endpoint, now, {"host": (None, host_of(url)), "from_start": (None, from_start)})
    return SignedEndpoint(endpoint, secret)


@transaction.atomic
def rotate_endpoint_secret(*, endpoint: AuditEndpoint, overlap: Overlap, now: datetime) -> SignedEndpoint:
    """Give an endpoint a new signing secret; the present one signs too for `overlap`, one from before no more.

    Raises UnableToChangeEndpoint if it was removed.
    """
    endpoint = _locked(endpoint)
    secret = new_signing_secret()
    endpoint.former_secret = endpoint.former_secret_until = until = None
    if overlap != Overlap.NONE:
        former = AUDIT_SECRET.unseal(endpoint.secret, row=endpoint.public_id)
        endpoint.former_secret = AUDIT_FORMER_SECRET.seal(former, row=endpoint.public_id)
        endpoint.former_secret_until = (now + overlap.span).replace(microsecond=0)
        until = f"{endpoint.former_secret_until:%Y-%m-%dT%H:%M:%SZ}"
    endpoint.secret = AUDIT_SECRET.seal(secret, row=endpoint.public_id)
    endpoint.save(update_fields=["secret", "former_secret", "former_secret_until"])
    _record("audit_endpoint.secret_rotated", endpoint, now, {"overlap_ends_at": (None, until)})
    return SignedEndpoint(endpoint, secret)


@transaction.atomic
def change_endpoint_address(*, endpoint: AuditEndpoint, url: str, now: datetime) -> AuditEndpoint:
    """Send the log to another address from the cursor on, with the same secret; the same address changes nothing.

    Raises UnableToAddEndpoint for an address that we do not go to, or that is there already, UnableToChangeEndpoint
    if it was removed.
    """
    _check_address(url)
    organization = lock_organization(endpoint.organization_id)
    endpoint = _locked(endpoint)
    if url == endpoint.url:
        return endpoint
    if AuditEndpoint.objects.owned_by(organization).filter(url=url).exists():
        raise UnableToAddEndpoint("The log is sent there already.")
    hosts = host_of(endpoint.url), host_of(url)
    endpoint.url = url
    # What is on its way to the former address counts for nothing here, and neither does what went wrong there.
    endpoint.claim = endpoint.claimed_until = None
    endpoint.failure_count, endpoint.failing_since, endpoint.next_try_at = 0, None, None
    fields = ["claim", "claimed_until", "failure_count", "failing_since", "next_try_at"]
    endpoint.save(update_fields=["url", *fields])
    _record("audit_endpoint.changed", endpoint, now, {"host": hosts})
    return endpoint


@transaction.atomic
def request_test(*, endpoint: AuditEndpoint, now: datetime) -> AuditEndpoint:
    """Have a test message sent, whether the endpoint is paused or not. Raises UnableToChangeEndpoint if removed."""
    endpoint = _locked(endpoint)
    endpoint.test_requested_at = now
    endpoint.save(update_fields=["test_requested_at"])
    enqueue("accounts.deliver_to_audit_endpoint", endpoint_id=endpoint.pk)
    _record("audit_endpoint.tested", endpoint, now)
    return endpoint


@transaction.atomic
def pause_endpoint(*, endpoint: AuditEndpoint, now: datetime) -> AuditEndpoint:
    """Send nothing more until it is resumed; safe to repeat. Raises UnableToChangeEndpoint if removed."""
    endpoint = _locked(endpoint)
    if endpoint.paused_at is None:
        endpoint.paused_at, endpoint.pause_reason = now, AuditEndpoint.Pause.ASKED
        endpoint.save(update_fields=["paused_at", "pause_reason"])
        _record("audit_endpoint.paused", endpoint, now, {"reason": (None, endpoint.pause_reason)})
    return endpoint


@transaction.atomic
def resume_endpoint(*, endpoint: AuditEndpoint, now: datetime) -> AuditEndpoint:
    """Send again at once, from the first entry on that it did not take; safe to repeat.

    Raises UnableToChangeEndpoint if removed.
    """
    endpoint = _locked(endpoint)
    if endpoint.paused_at is not None:
        reason = endpoint.pause_reason
        endpoint.paused_at = endpoint.failing_since = endpoint.next_try_at = endpoint.told_at = None
        endpoint.pause_reason, endpoint.failure_count = "", 0
        endpoint.save(
            update_fields=["paused_at", "failing_since", "next_try_at", "told_at", "pause_reason", "failure_count"]
        )
        enqueue("accounts.deliver_to_audit_endpoint", endpoint_id=endpoint.pk)
        _record("audit_endpoint.resumed", endpoint, now, {"reason": (reason, None)})
    return endpoint


@transaction.atomic
def remove_endpoint(*, endpoint: AuditEndpoint, now: datetime) -> None:
    """Send nothing there any more and forget its secret. Raises UnableToChangeEndpoint if removed."""
    endpoint = _locked(endpoint)
    AuditEndpoint.objects.filter(pk=endpoint.pk).delete()
    _record("audit_endpoint.removed", endpoint, now, {"host": (host_of(endpoint.url), None)})


def host_of(url: str) -> str:
    """Return the host of an address, which is all that the log says of it: the rest may hold what is not for all."""
    return urlsplit(url).netloc


def _check_address(url: str) -> None:
    try:
        read_url(url)
    except UnsafeAddress as error:
        raise UnableToAddEndpoint(str(error)) from error


def _newest(organization: Organization) -> int:
    entries = AuditEvent.objects.owned_by(organization).newest_first()
    return entries.values_list("sequence", flat=True).first() or 0


def _locked(endpoint: AuditEndpoint) -> AuditEndpoint:
    found = AuditEndpoint.objects.select_for_update(no_key=True).filter(pk=endpoint.pk).first()
    if found is None:
        raise UnableToChangeEndpoint("It was removed meanwhile.")
    return found


def _record(action: str, endpoint: AuditEndpoint, now: datetime, changes: Changes | None = None) -> None:
    record_event(
        action,
        organization_id=endpoint.organization_id,
        target=("audit_endpoint", endpoint.public_id),
        changes=changes,
        now=now,
    )
