"""The audit log's hash chain as anybody can recompute it: plain values in, what is wrong out.

The database writes the same hashes (migration 0006). Definition and worked numbers: docs/algorithms/audit-log.md.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

GENESIS = "headroom audit log of "


@dataclass(frozen=True, slots=True)
class Link:
    """One entry of an organization's log. changes: the JSON text as it was written; digests: 64 hex digits."""

    sequence: int
    at: datetime
    actor_kind: str
    actor_id: str
    via: str
    impersonator_id: str
    action: str
    target_kind: str
    target_id: str
    changes: str
    origin_id: str
    request_id: str
    previous: str
    digest: str


@dataclass(frozen=True, slots=True)
class Flaw:
    """A place where the log is not what it was when it was written."""

    sequence: int
    reason: str


def genesis(organization_public_id: str) -> str:
    """Return what the first entry of an organization names as the digest before it."""
    return hashlib.sha256(f"{GENESIS}{organization_public_id}".encode()).hexdigest()


def digest_of(link: Link) -> str:
    """Return the digest that belongs to an entry with this content after `previous`."""
    parts = (
        str(link.sequence),
        f"{link.at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
        link.actor_kind,
        link.actor_id,
        link.via,
        link.impersonator_id,
        link.action,
        link.target_kind,
        link.target_id,
        link.changes,
        link.origin_id,
        link.request_id,
    )
    # Each part with its length, so that nothing can move from one to the next.
    content = b"".join(b"%d:%b," % (len(raw), raw) for raw in (part.encode() for part in parts))
    return hashlib.sha256(bytes.fromhex(link.previous) + content).hexdigest()


def flaws(organization_public_id: str, links: Iterable[Link], anchors: Mapping[int, str]) -> list[Flaw]:
    """Return every place where the chain is broken, in order; an untouched log has none.

    links: the whole log by sequence. anchors: digests by sequence that were kept elsewhere; they also show that the
    newest entries were cut off, which nothing inside the log can.
    """
    found: list[Flaw] = []
    expected, digest, missing = 1, genesis(organization_public_id), dict(anchors)
    for link in links:
        if link.sequence != expected:
            found.append(Flaw(expected, f"entries {expected} to {link.sequence - 1} are missing"))
        elif link.previous != digest:
            found.append(Flaw(link.sequence, "it does not follow the entry before it"))
        if link.digest != digest_of(link):
            found.append(Flaw(link.sequence, "its content is not what was written"))
        anchor = missing.pop(link.sequence, link.digest)
        if anchor != link.digest:
            found.append(Flaw(link.sequence, "it is not the entry that was anchored elsewhere"))
        expected, digest = link.sequence + 1, link.digest
    found += [Flaw(sequence, "the entry that was anchored elsewhere is missing") for sequence in sorted(missing)]
    return found
