"""Where the audit log is sent, as pages show it."""

from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounts.models import AuditEndpoint, AuditEvent, Organization


@dataclass(frozen=True, slots=True)
class EndpointRow:
    """An endpoint with how far it is."""

    public_id: str
    url: str
    state: str
    state_label: str
    pause: str  # why it is paused, in words; empty while it is not
    is_paused_by_portal: bool
    problem: str  # of the last try, in words
    answer: str  # the last one, in words
    lag: str  # in words
    last_tried_at: datetime | None
    delivered_at: datetime | None
    delivered_sequence: int
    failure_count: int
    failing_since: datetime | None
    next_try_at: datetime | None
    former_secret_until: datetime | None
    is_test_waiting: bool


def endpoint_rows(organization: Organization, now: datetime) -> list[EndpointRow]:
    """Return every endpoint of an organization, oldest first; services allow ten."""
    newest = _newest(organization)
    return [_row(endpoint, newest, now) for endpoint in AuditEndpoint.objects.owned_by(organization).in_order()]


def endpoint_row(endpoint: AuditEndpoint, now: datetime) -> EndpointRow:
    return _row(endpoint, _newest(endpoint.organization), now)


def _newest(organization: Organization) -> int:
    entries = AuditEvent.objects.owned_by(organization).newest_first()
    return entries.values_list("sequence", flat=True).first() or 0


def _row(endpoint: AuditEndpoint, newest: int, now: datetime) -> EndpointRow:
    until = endpoint.former_secret_until
    return EndpointRow(
        public_id=endpoint.public_id,
        url=endpoint.url,
        state=endpoint.state.value,
        state_label=str(endpoint.state.label),
        pause=endpoint.get_pause_reason_display(),
        is_paused_by_portal=endpoint.pause_reason == AuditEndpoint.Pause.FAILING,
        problem=endpoint.last_problem,
        answer=_answer(endpoint),
        lag=_lag(newest - endpoint.delivered_sequence),
        last_tried_at=endpoint.last_tried_at,
        delivered_at=endpoint.delivered_at,
        delivered_sequence=endpoint.delivered_sequence,
        failure_count=endpoint.failure_count,
        failing_since=endpoint.failing_since,
        next_try_at=endpoint.next_try_at,
        former_secret_until=until if until is not None and until > now else None,
        is_test_waiting=endpoint.test_requested_at is not None,
    )


def _answer(endpoint: AuditEndpoint) -> str:
    if endpoint.last_tried_at is None:
        return _("Nothing was sent yet")
    found = str(endpoint.last_status) if endpoint.last_status is not None else _("None: %s") % endpoint.last_problem
    return _("%s, to a test") % found if endpoint.last_was_test else found


def _lag(count: int) -> str:
    if count <= 0:
        return _("Up to date")
    return ngettext("%(count)d entry behind", "%(count)d entries behind", count) % {"count": count}
