"""Instances as pages show them: frozen rows of what a template prints."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from accounts.models import Organization
from billing.selectors import spend_of_resource
from compute.models import HealthInterval, Instance, InstanceEvent
from compute.models.instance import STATE_LABELS
from compute.reconcile import AT_REST, State
from portal.lib.money import decimal_string, divide_half_even, round_bucket

PAGE_SIZE = 50
SECONDS_PER_HOUR = 3_600


def instances_for(organization: Organization) -> list[Instance]:
    """Return all of an organization's instances, newest first, with what programs are told about them."""
    related = Instance.objects.owned_by(organization).select_related("region", "instance_type", "image", "project")
    return list(related.newest_first())


@dataclass(frozen=True, slots=True)
class StatusCell:
    """What polling refreshes of one instance."""

    public_id: str
    name: str
    state: str
    state_label: str
    is_at_rest: bool


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """One line of the list."""

    status: StatusCell
    type_name: str
    region: str
    lease_class: str
    project: str
    created_at: datetime
    expires_at: datetime | None
    per_hour: str


@dataclass(frozen=True, slots=True)
class InstancePage:
    """One page of the list; `next_after` is the id to continue after, or empty."""

    rows: tuple[InstanceRow, ...]
    next_after: str

    @property
    def moving_ids(self) -> tuple[str, ...]:
        return tuple(row.status.public_id for row in self.rows if not row.status.is_at_rest)


def instance_page(organization: Organization, *, after: str = "") -> InstancePage:
    """Return a page of the newest instances, from the one after `after` on; an unknown id starts at the top."""
    mine = Instance.objects.owned_by(organization)
    instances = mine.select_related("region", "instance_type", "project").newest_first()
    # PostgreSQL refuses text with a NUL, so nothing can be called that.
    if after and "\0" not in after and (last := mine.filter(public_id=after).values_list("created_at", "pk").first()):
        created_at, pk = last
        instances = instances.filter(Q(created_at__lt=created_at) | Q(created_at=created_at, pk__lt=pk))
    found = list(instances[: PAGE_SIZE + 1])
    rows = tuple(row_of(instance) for instance in found[:PAGE_SIZE])
    return InstancePage(rows, rows[-1].status.public_id if len(found) > PAGE_SIZE else "")


def row_of(instance: Instance) -> InstanceRow:
    return InstanceRow(
        status=_status(instance.public_id, instance.name, instance.state),
        type_name=instance.instance_type.name,
        region=instance.region.name,
        lease_class=instance.get_lease_class_display(),
        project=instance.project.name,
        created_at=instance.created_at,
        expires_at=instance.expires_at,
        per_hour=decimal_string(divide_half_even(instance.price_nano * SECONDS_PER_HOUR, instance.unit_size)),
    )


def status_cells(organization: Organization, public_ids: Sequence[str]) -> list[StatusCell]:
    """Return the states of these instances, as many as a page has, in one query."""
    wanted = [public_id for public_id in public_ids[:PAGE_SIZE] if "\0" not in public_id]
    mine = Instance.objects.owned_by(organization).filter(public_id__in=wanted).newest_first()
    return [_status(*values) for values in mine.values_list("public_id", "name", "state")]


def _status(public_id: str, name: str, state: str) -> StatusCell:
    return StatusCell(public_id, name, state, str(STATE_LABELS[State(state)]), State(state) in AT_REST)


@dataclass(frozen=True, slots=True)
class EventRow:
    """One line of an instance's story."""

    at: datetime
    state: str
    text: str


def timeline_of(instance: Instance, limit: int = 50) -> list[EventRow]:
    """Return the latest events, newest first."""
    events = InstanceEvent.objects.filter(instance=instance).order_by("-at", "-pk")[:limit]
    return [EventRow(event.at, event.state, event.text) for event in events]


@dataclass(frozen=True, slots=True)
class InstanceSpend:
    """What an instance has cost: what was billed, and its latest healthy seconds at what they cost now."""

    seconds: int
    amount_nano: int
    is_running: bool

    @property
    def exact_amount(self) -> str:
        return f"${decimal_string(self.amount_nano)}"


def spend_of(instance: Instance) -> InstanceSpend:
    """Return the confirmed seconds, those of the running lease too, and what they cost."""
    spans: Iterable[HealthInterval] = HealthInterval.objects.filter(instance=instance).order_by("started_at")
    seconds, is_running = 0, False
    unbilled = 0
    for span in spans:
        end = span.ended_at or max(span.confirmed_to, span.metered_to)
        seconds += int((end - span.started_at).total_seconds())
        unbilled += int((end - min(span.metered_to, end)).total_seconds())
        is_running = is_running or span.ended_at is None
    billed_nano = spend_of_resource(instance.organization, instance.public_id, since=instance.created_at)
    amount_nano = billed_nano + round_bucket(unbilled, instance.price_nano, instance.unit_size)
    return InstanceSpend(seconds, amount_nano, is_running)
