"""The audit log as pages, exports and the verifier read it."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from accounts.chain import Link
from accounts.models import ApiKey, AuditEvent, AuditOrigin, DirectoryToken, Organization, User
from accounts.models.audit import AuditEventQuerySet
from accounts.selectors.pages import PAGE_SIZE
from portal.lib.context import remember_organization
from portal.lib.tenancy import set_organization

BATCH = 5_000


@dataclass(frozen=True, slots=True)
class AuditFilters:
    """What the log is narrowed to; empty means everything.

    action: a whole one or its noun. actor, target: public ids. start, end: half-open.
    """

    action: str = ""
    actor: str = ""
    target: str = ""
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class AuditRow:
    """An entry as a line of the page."""

    sequence: int
    at: datetime
    action: str
    actor: str
    actor_id: str  # the filter wants it; empty: the portal
    via: str
    target: str
    changes: tuple[tuple[str, str], ...]  # name of the field, and from what to what in words
    address: str
    browser: str
    request_id: str


@dataclass(frozen=True, slots=True)
class AuditPage:
    rows: list[AuditRow]
    next_before: str  # the sequence to continue before, empty on the last page


def audit_page(organization: Organization, filters: AuditFilters, before: int | None) -> AuditPage:
    """Return 50 entries, newest first, from the one before `before` on."""
    entries = _narrowed(AuditEvent.objects.owned_by(organization), filters)
    if before is not None:
        entries = entries.filter(sequence__lt=before)
    found = list(entries.newest_first()[: PAGE_SIZE + 1])
    shown = found[:PAGE_SIZE]
    names, origins = _names(organization, shown), _origins(organization, shown)
    rows = [_row(entry, names, origins.get(entry.origin_id)) for entry in shown]
    return AuditPage(rows, str(rows[-1].sequence) if len(found) > PAGE_SIZE else "")


@dataclass(frozen=True, slots=True)
class AuditParty:
    """Who did something, or what it was done to. name: of people and keys, the id of who has been erased."""

    kind: str
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class AuditEventView:
    """An entry as programs see it. changes: by name of the field, what it was and what it became."""

    sequence: int
    at: datetime
    action: str
    actor: AuditParty
    via: str
    impersonator: str | None
    target: AuditParty
    changes: dict[str, tuple[Any, Any]]
    address: str | None
    browser: str | None
    request_id: str | None
    previous: str
    digest: str


def audit_events(
    organization: Organization, filters: AuditFilters, *, after: int, limit: int
) -> tuple[list[AuditEventView], bool]:
    """Return at most `limit` entries behind a sequence, oldest first, and whether there are more."""
    entries = _narrowed(AuditEvent.objects.owned_by(organization), filters).filter(sequence__gt=after)
    found = list(entries.order_by("sequence")[: limit + 1])
    shown = found[:limit]
    names, origins = _names(organization, shown), _origins(organization, shown)
    return [_view(entry, names, origins.get(entry.origin_id)) for entry in shown], len(found) > limit


def _view(entry: AuditEvent, names: dict[str, str], origin: AuditOrigin | None) -> AuditEventView:
    return AuditEventView(
        sequence=entry.sequence,
        at=entry.at,
        action=entry.action,
        actor=AuditParty(entry.actor_kind, entry.actor_id, names.get(entry.actor_id, entry.actor_id)),
        via=entry.via,
        impersonator=entry.impersonator_id or None,
        target=AuditParty(entry.target_kind, entry.target_id, names.get(entry.target_id, entry.target_id)),
        changes={name: (before, after) for name, (before, after) in json.loads(entry.changes).items()},
        address=origin.address if origin else None,
        browser=origin.browser if origin else None,
        request_id=entry.request_id or None,
        previous=bytes(entry.previous).hex(),
        digest=bytes(entry.digest).hex(),
    )


def _origins(organization: Organization, entries: Sequence[AuditEvent]) -> dict[str, AuditOrigin]:
    wanted = {entry.origin_id for entry in entries if entry.origin_id}
    origins = AuditOrigin.objects.filter(organization=organization, public_id__in=wanted)
    return {origin.public_id: origin for origin in origins}


def _narrowed(entries: AuditEventQuerySet, filters: AuditFilters) -> AuditEventQuerySet:
    if "\0" in f"{filters.action}{filters.actor}{filters.target}":
        return entries.none()
    if filters.action:
        is_noun = "." not in filters.action
        entries = (
            entries.filter(action__startswith=f"{filters.action}.")
            if is_noun
            else entries.filter(action=filters.action)
        )
    if filters.actor:
        entries = entries.filter(actor_id=filters.actor)
    if filters.target:
        entries = entries.filter(target_id=filters.target)
    if filters.start is not None:
        entries = entries.filter(at__gte=filters.start)
    if filters.end is not None:
        entries = entries.filter(at__lt=filters.end)
    return entries


def _names(organization: Organization, entries: Sequence[AuditEvent]) -> dict[str, str]:
    """Return who the actors and targets are; somebody who has been erased goes by their id."""
    ids = {name for entry in entries for name in (entry.actor_id, entry.target_id) if name}
    people = User.objects.filter(public_id__in=ids, erased_at=None)
    keys = ApiKey.objects.owned_by(organization).with_projects().filter(public_id__in=ids)
    tokens = DirectoryToken.objects.owned_by(organization).filter(public_id__in=ids)
    programs = {key.public_id: key.full_name for key in keys} | {token.public_id: token.name for token in tokens}
    return {user.public_id: user.email for user in people} | programs


def _row(entry: AuditEvent, names: dict[str, str], origin: AuditOrigin | None) -> AuditRow:
    is_portal = entry.actor_kind == AuditEvent.ActorKind.PORTAL
    return AuditRow(
        sequence=entry.sequence,
        at=entry.at,
        action=entry.action,
        actor=str(AuditEvent.ActorKind.PORTAL.label) if is_portal else names.get(entry.actor_id, entry.actor_id),
        actor_id=entry.actor_id,
        via=str(AuditEvent.Via(entry.via).label),
        target=entry.target_id,
        changes=tuple((name, _in_words(*pair)) for name, pair in json.loads(entry.changes).items()),
        address=origin.address if origin else "",
        browser=origin.browser if origin else "",
        request_id=entry.request_id,
    )


def _in_words(before: object, after: object) -> str:
    if before is None:
        return _text(after)
    return _("%(before)s → %(after)s") % {"before": _text(before), "after": _text(after)}


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    return _("nothing") if value is None or value == "" else str(value)


def links(organization: Organization, *, after: int = 0, limit: int | None = None) -> Iterator[Link]:
    """Yield the log's entries behind a sequence, oldest first, as the verifier takes them."""
    entries = AuditEvent.objects.owned_by(organization).filter(sequence__gt=after).order_by("sequence")
    for entry in entries[:limit].iterator(BATCH):
        yield _link(entry)


def link_batches(organization: Organization) -> Iterator[list[Link]]:
    """Yield the whole log in batches, oldest first, each read in a transaction of its own: for streaming answers."""
    after = 0
    while True:
        with transaction.atomic():
            set_organization(organization.pk)
            batch = list(links(organization, after=after, limit=BATCH))
        remember_organization(None)
        if batch:
            yield batch
        if len(batch) < BATCH:
            return
        after = batch[-1].sequence


def _link(entry: AuditEvent) -> Link:
    return Link(
        sequence=entry.sequence,
        at=entry.at,
        actor_kind=entry.actor_kind,
        actor_id=entry.actor_id,
        via=entry.via,
        impersonator_id=entry.impersonator_id,
        action=entry.action,
        target_kind=entry.target_kind,
        target_id=entry.target_id,
        changes=entry.changes,
        origin_id=entry.origin_id,
        request_id=entry.request_id,
        previous=bytes(entry.previous).hex(),
        digest=bytes(entry.digest).hex(),
    )


@dataclass(frozen=True, slots=True)
class Head:
    """The newest entry of an organization's log: what is kept elsewhere, so that nobody can cut the end off unseen."""

    organization: str
    sequence: int
    digest: str


def heads() -> list[Head]:
    """Return the newest entry of every organization that has one. For the platform role."""
    newest = AuditEvent.objects.order_by("organization_id", "-sequence").distinct("organization_id")
    rows = newest.values_list("organization__public_id", "sequence", "digest")
    return [Head(public_id, sequence, bytes(digest).hex()) for public_id, sequence, digest in rows]
