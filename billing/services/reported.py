"""What somebody outside the portal says of usage, whom it names, and what speaks against counting it.

The law: docs/algorithms/metering.md.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid5

from accounts.models import ApiKey, Organization, Project
from billing.models import UsageEvent, UsageFate
from billing.selectors.fates import fates_of
from billing.services.usage import FUTURE_TOLERANCE, OLDEST, UsageRecord

# What the ids of events from outside are made in, so that none is the same as one of our own.
NAMESPACE = UUID("5d1c8f0e-7a43-5b52-9c0e-3f6f6f1c2b7a")
Reason = UsageFate.Reason


@dataclass(frozen=True, slots=True)
class UsageReport:
    """One measurement as somebody outside tells it, with public ids; quantity in the SKU's smallest unit.

    occurred_at: in UTC. api_key: one of the project, empty for none.
    """

    event_id: UUID
    occurred_at: datetime
    organization: str
    project: str
    sku: str
    quantity: int
    resource_id: str
    api_key: str = ""
    request_id: str = ""
    corrects: UUID | None = None

    @property
    def digest(self) -> bytes:
        """SHA-256 over all of it but its id, by which a repetition is told from another event of the same id."""
        parts = (
            self.occurred_at.isoformat(),
            self.organization,
            self.project,
            self.sku,
            str(self.quantity),
            self.resource_id,
            self.api_key,
            self.request_id,
            str(self.corrects),
        )
        return hashlib.sha256("\n".join(parts).encode()).digest()


def event_id_of(source: str, name: str, sku: str) -> UUID:
    """Return the id of the event that a source calls by that name; a line break stands between the three."""
    return uuid5(NAMESPACE, f"{source}\n{name}\n{sku}")


def correction_id_of(corrects: UUID) -> UUID:
    """Return the id of what takes an event back: this happens once, whatever the correction is called."""
    return uuid5(corrects, "correct")


@dataclass(frozen=True, slots=True)
class Named:
    """What public ids stand for. projects: primary key and its organization's; keys: primary key and its project's."""

    organizations: Mapping[str, int]
    projects: Mapping[str, tuple[int, int]]
    keys: Mapping[str, tuple[int, int]]

    def why_not(self, report: UsageReport, now: datetime) -> UsageFate.Reason | None:
        """Return what speaks against counting the report, apart from its price and what it corrects."""
        organization_id = self.organizations.get(report.organization)
        if organization_id is None:
            return Reason.UNKNOWN_ORGANIZATION
        project_id, owner_id = self.projects.get(report.project, (0, 0))
        if owner_id != organization_id:
            return Reason.UNKNOWN_PROJECT
        if report.api_key and self.keys.get(report.api_key, (0, 0))[1] != project_id:
            return Reason.UNKNOWN_KEY
        if report.quantity < 0 and report.corrects is None:
            return Reason.NEGATIVE
        if report.occurred_at > now + FUTURE_TOLERANCE:
            return Reason.FUTURE
        return Reason.TOO_OLD if report.occurred_at < now - OLDEST else None

    def record(self, report: UsageReport) -> UsageRecord:
        """Return the report as usage of the portal. Raises KeyError if it names what there is not."""
        return UsageRecord(
            event_id=report.event_id,
            occurred_at=report.occurred_at,
            organization_id=self.organizations[report.organization],
            project_id=self.projects[report.project][0],
            sku=report.sku,
            quantity=report.quantity,
            resource_id=report.resource_id,
            api_key_id=self.keys[report.api_key][0] if report.api_key else None,
            user_id=None,
            request_id=report.request_id,
            corrects=report.corrects,
        )


def named_in(reports: Sequence[UsageReport]) -> Named:
    """Look up everything that the reports name, across organizations: for the platform's role."""
    organizations = Organization.objects.filter(public_id__in={report.organization for report in reports})
    projects = Project.objects.filter(public_id__in={report.project for report in reports})
    keys = ApiKey.objects.filter(public_id__in={report.api_key for report in reports} - {""})
    return Named(
        organizations=dict(organizations.values_list("public_id", "pk")),
        projects={name: (pk, owner) for name, pk, owner in projects.values_list("public_id", "pk", "organization_id")},
        keys={name: (pk, project) for name, pk, project in keys.values_list("public_id", "pk", "project_id")},
    )


@dataclass(frozen=True, slots=True)
class Original:
    """What a correction takes back: its fate, and the event that it became."""

    fate: UsageFate | None
    event: UsageEvent | None

    @property
    def is_open(self) -> bool:
        """Whether nothing is known of it yet, or a person is still to decide: the correction can wait for it."""
        return self.fate is None or self.fate.is_waiting

    def why_not(self, correction: UsageRecord) -> UsageFate.Reason | None:
        """Return what speaks against taking it back by this correction, which must be its exact opposite."""
        if self.event is None:
            return Reason.CORRECTS_NOTHING
        is_opposite = (
            self.event.corrects is None
            and correction.quantity == -self.event.quantity
            and correction.occurred_at == self.event.occurred_at
            and correction.organization_id == self.event.organization_id
            and correction.project_id == self.event.project_id
            and correction.sku == self.event.sku
            and correction.resource_id == self.event.resource_id
            and correction.api_key_id == self.event.api_key_id
        )
        return None if is_opposite else Reason.CORRECTS_OTHERWISE


def originals_of(event_ids: Iterable[UUID]) -> dict[UUID, Original]:
    """Return what is known of events that corrections name, by id: only of those that were reported as well."""
    wanted = set(event_ids)
    fates = fates_of(wanted)
    counted = [fate for fate in fates.values() if fate.outcome != UsageFate.Outcome.REJECTED]
    found = UsageEvent.objects.filter(
        occurred_at__in={fate.occurred_at for fate in counted}, event_id__in={fate.event_id for fate in counted}
    )
    events = {event.event_id: event for event in found}
    return {event_id: Original(fates.get(event_id), events.get(event_id)) for event_id in wanted}
