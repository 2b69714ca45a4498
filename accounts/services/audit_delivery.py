"""Send audit logs to the addresses that organizations named: in order, at least once, signed.

One message at a time and endpoint: claim it (rows only), send it (no transaction open), settle what came of it (rows
only). Whoever dies on the way leaves a claim that ends by itself, and the same message is sent again. Which messages
there are follows from the cursor alone, so a lost job costs the seconds until the next sweep and nothing else.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from uuid import UUID, uuid4

import structlog
from django.conf import settings
from django.db import transaction

from accounts.chain import Link
from accounts.models import AuditEndpoint
from accounts.models.audit_endpoint import LONGEST_PROBLEM
from accounts.sealed import AUDIT_FORMER_SECRET, AUDIT_SECRET
from accounts.selectors import links
from accounts.services.audit import record_event
from accounts.services.mails import mail_owners, page_address
from portal.lib.batches import one_by_one
from portal.lib.context import PORTAL
from portal.lib.crashpoints import crashpoint
from portal.lib.exports import json_of
from portal.lib.jobs import enqueue
from portal.lib.outbound import Unreachable, UnsafeAddress, fetch, read_url
from portal.lib.webhook_signing import signature_headers

log = structlog.get_logger(__name__)

MOST_ENTRIES = 100
# Of the entries in a message; a single longer one is sent alone.
MOST_BYTES = 256 * 1024
# Far longer than a try takes, so that two never send at once.
CLAIM = timedelta(seconds=60)
FIRST_WAIT = timedelta(seconds=10)
LONGEST_WAIT = timedelta(hours=6)
# With the waits above, about two and a half days.
MOST_FAILURES = 20


@dataclass(frozen=True, slots=True)
class Delivery:
    """The body of a message. type: audit.entries, or audit.test, which has none."""

    type: str
    organization: str
    entries: list[Link]


@dataclass(frozen=True, slots=True)
class _Message:
    endpoint_id: int
    claim: UUID
    url: str
    message_id: str
    last_sequence: int | None  # of the entries in it; a test has none
    body: bytes
    signing_secrets: list[str]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """status: of HTTP, or None when nothing answered. problem: a few words, empty when it was taken."""

    status: int | None
    problem: str


def deliver_next(*, endpoint_id: int, now: datetime) -> bool:
    """Send an endpoint its next message, if there is one and nobody else is at it; return whether one was taken.

    For the platform role, outside a transaction. Waits up to five seconds for an answer.
    """
    message = _claim(endpoint_id, now)
    if message is None:
        return False
    crashpoint("audit_delivery_after_claim")
    outcome = _send(message, now)
    crashpoint("audit_delivery_after_send")
    _settle(message, outcome, now)
    return not outcome.problem


def wait_after(failure_count: int) -> timedelta:
    """Return how long the next try waits after so many failures in a row, from 1 on."""
    doublings = min(failure_count, MOST_FAILURES) - 1
    return min(FIRST_WAIT * (1 << doublings), LONGEST_WAIT)


def enqueue_deliveries(*, now: datetime) -> int:
    """Name the job for every endpoint that something waits for; return how many. For the platform role."""
    waiting = list(AuditEndpoint.objects.waiting(now).order_by("pk").values_list("pk", flat=True))
    for endpoint_id in waiting:
        enqueue("accounts.deliver_to_audit_endpoint", endpoint_id=endpoint_id)
    return len(waiting)


@transaction.atomic
def _claim(endpoint_id: int, now: datetime) -> _Message | None:
    """Return what is to be sent now, which nobody else sends until the claim ends."""
    free = AuditEndpoint.objects.waiting(now).select_related("organization")
    endpoint = free.select_for_update(skip_locked=True, no_key=True, of=("self",)).filter(pk=endpoint_id).first()
    if endpoint is None:
        return None
    organization, is_test = endpoint.organization, endpoint.test_requested_at is not None
    if is_test:
        part, delivery = f"test_{now.timestamp():.0f}", Delivery("audit.test", organization.public_id, [])
    else:
        entries = _next_entries(endpoint)
        endpoint.batch_end = entries[-1].sequence
        part = f"{entries[0].sequence}_{endpoint.batch_end}"
        delivery = Delivery("audit.entries", organization.public_id, entries)
    endpoint.claim, endpoint.claimed_until = uuid4(), now + CLAIM
    endpoint.save(update_fields=["batch_end", "claim", "claimed_until"])
    return _Message(
        endpoint_id=endpoint.pk,
        claim=endpoint.claim,
        url=endpoint.url,
        message_id=f"msg_{endpoint.public_id.partition('_')[2]}_{part}",
        last_sequence=None if is_test else endpoint.batch_end,
        body=json_of(delivery),
        signing_secrets=_signing_secrets(endpoint, now),
    )


def _next_entries(endpoint: AuditEndpoint) -> list[Link]:
    """Return the entries of the next message, oldest first: those of the last try again, if it failed."""
    behind = list(links(endpoint.organization, after=endpoint.delivered_sequence, limit=MOST_ENTRIES))
    if endpoint.batch_end is not None:
        return [entry for entry in behind if entry.sequence <= endpoint.batch_end]
    chosen, size = behind[:1], len(json_of(behind[0]))
    for entry in behind[1:]:
        size += len(json_of(entry))
        if size > MOST_BYTES:
            break
        chosen.append(entry)
    return chosen


def _signing_secrets(endpoint: AuditEndpoint, now: datetime) -> list[str]:
    found = [AUDIT_SECRET.unseal(endpoint.secret, row=endpoint.public_id)]
    until = endpoint.former_secret_until
    if endpoint.former_secret is not None and until is not None and until > now:
        found.append(AUDIT_FORMER_SECRET.unseal(endpoint.former_secret, row=endpoint.public_id))
    return found


def _send(message: _Message, now: datetime) -> _Outcome:
    headers = signature_headers(
        message_id=message.message_id, at=now, body=message.body, signing_secrets=message.signing_secrets
    )
    headers |= {"Content-Type": "application/json", "User-Agent": f"{settings.PORTAL_BRAND}-audit/1"}
    try:
        answer = fetch(read_url(message.url), method="POST", body=message.body, headers=headers)
    except (UnsafeAddress, Unreachable) as error:
        return _Outcome(None, str(error)[:LONGEST_PROBLEM])
    # What it answered beyond that is nobody's business here, and is not kept.
    return _Outcome(answer.status, "" if answer.is_success else f"it answered {answer.status}")


@transaction.atomic
def _settle(message: _Message, outcome: _Outcome, now: datetime) -> None:
    """Write down what came of a message, unless its claim has passed to somebody else."""
    mine = AuditEndpoint.objects.select_for_update(no_key=True).filter(pk=message.endpoint_id, claim=message.claim)
    endpoint = mine.first()
    if endpoint is None:
        return
    endpoint.claim = endpoint.claimed_until = None
    endpoint.last_tried_at, endpoint.last_was_test = now, message.last_sequence is None
    endpoint.last_status, endpoint.last_problem = outcome.status, outcome.problem
    is_paused = False
    if message.last_sequence is None:
        endpoint.test_requested_at = None
    elif not outcome.problem:
        endpoint.delivered_sequence, endpoint.delivered_at, endpoint.batch_end = message.last_sequence, now, None
        endpoint.failure_count, endpoint.failing_since, endpoint.next_try_at = 0, None, None
    else:
        is_paused = _count_failure(endpoint, outcome, now)
    endpoint.save()
    if is_paused:
        enqueue("accounts.tell_of_paused_endpoints")
        record_event(
            "audit_endpoint.paused",
            organization_id=endpoint.organization_id,
            target=("audit_endpoint", endpoint.public_id),
            changes={"reason": (None, endpoint.pause_reason), "problem": (None, endpoint.last_problem)},
            actor=PORTAL,
            now=now,
        )


def _count_failure(endpoint: AuditEndpoint, outcome: _Outcome, now: datetime) -> bool:
    """Let the next try wait, or pause the endpoint; return whether it was paused here."""
    endpoint.failure_count += 1
    endpoint.failing_since = endpoint.failing_since or now
    endpoint.next_try_at = now + wait_after(endpoint.failure_count)
    # 410: the receiver says itself that nobody listens there any more.
    is_over = endpoint.failure_count >= MOST_FAILURES or outcome.status == HTTPStatus.GONE
    if not is_over or endpoint.paused_at is not None:
        return False
    endpoint.paused_at, endpoint.pause_reason = now, AuditEndpoint.Pause.FAILING
    log.warning("accounts.audit_endpoint.paused", endpoint=endpoint.public_id, problem=outcome.problem)
    return True


def tell_of_paused_endpoints(*, now: datetime) -> int:
    """Mail owners about each endpoint that the portal paused and they were not told of; return how many.

    Across organizations, each in a transaction of its own. A crash between mail and commit mails twice.
    """
    return one_by_one(
        AuditEndpoint.objects.untold().order_by("pk").values_list("pk", flat=True),
        lambda pk: _tell(pk, now),
        lambda pk: log.exception("accounts.paused_endpoint_not_told", endpoint_id=pk),
    )


@transaction.atomic
def _tell(endpoint_id: int, now: datetime) -> int:
    untold = AuditEndpoint.objects.untold().select_related("organization")
    endpoint = untold.select_for_update(skip_locked=True, no_key=True, of=("self",)).filter(pk=endpoint_id).first()
    if endpoint is None:
        return 0
    organization = endpoint.organization
    address = page_address("accounts:audit-endpoint-detail", organization.slug, endpoint.public_id)
    mail_owners("audit_endpoint_paused", organization=organization, endpoint=endpoint, address=address)
    endpoint.told_at = now
    endpoint.save(update_fields=["told_at"])
    return 1
