"""Keep the newest digest of every audit log outside the database, once a day, and compare logs with what was kept.

One file a day of JSON lines under AUDIT_ANCHOR_DIR. In production that is a place which the portal may add to and not
change, such as a bucket with object lock; where it is, nobody who can rewrite the tables can rewrite it too.
"""

import json
import os
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from django.conf import settings

from accounts.chain import Flaw, flaws
from accounts.models import Organization
from accounts.selectors import heads, links

log = structlog.get_logger(__name__)

# Digests are kept once a day; half a day more for work that was late.
VOUCHED_WITHIN = timedelta(hours=36)


def anchor_audit_logs(*, now: datetime) -> int:
    """Append the head of every organization's log to the day's file; return how many. For the platform role."""
    folder: Path = settings.AUDIT_ANCHOR_DIR
    folder.mkdir(parents=True, exist_ok=True)
    found = heads()
    lines = [json.dumps(asdict(head) | {"at": f"{now:%Y-%m-%dT%H:%M:%SZ}"}) for head in found]
    with (folder / f"{now:%Y-%m-%d}.jsonl").open("a") as file:
        file.writelines(f"{line}\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())
    log.info("accounts.audit.anchored", count=len(found))
    return len(found)


@dataclass(frozen=True, slots=True)
class Verification:
    """What came of recomputing a log, and what outside the database vouches for its end.

    kept_sequence, kept_at: the newest entry whose digest is kept elsewhere, and when it was last put there; 0 and None
    where there is none. is_vouched_for: whether that is recent enough, so that hardly anything could have been cut off.
    """

    count: int
    flaws: list[Flaw]
    kept_sequence: int
    kept_at: datetime | None
    is_vouched_for: bool


def verify_audit_log(*, organization: Organization, now: datetime) -> Verification:
    """Recompute an organization's whole log and compare it with what was kept elsewhere.

    An organization that is younger than VOUCHED_WITHIN may have nothing there yet; for an older one it says that
    whoever cut off the end of its log may have taken it away.
    """
    log_entries, kept = list(links(organization)), _kept_of(organization)
    begun = min([organization.created_at, *(entry.at for entry in log_entries[:1])])
    return Verification(
        count=len(log_entries),
        flaws=flaws(organization.public_id, log_entries, kept.digests) + kept.contradictions,
        kept_sequence=max(kept.digests, default=0),
        kept_at=kept.newest_at,
        is_vouched_for=now - (kept.newest_at or begun) < VOUCHED_WITHIN,
    )


@dataclass(slots=True)
class _Kept:
    """What was kept elsewhere of an organization: digests by sequence, and when the newest line was written."""

    digests: dict[int, str] = field(default_factory=dict)
    newest_at: datetime | None = None
    contradictions: list[Flaw] = field(default_factory=list)


def _kept_of(organization: Organization) -> _Kept:
    kept = _Kept()
    folder: Path = settings.AUDIT_ANCHOR_DIR
    for file in sorted(folder.glob("*.jsonl")) if folder.is_dir() else []:
        for line in file.read_text().splitlines():
            try:
                anchor = json.loads(line)
                at = datetime.fromisoformat(anchor["at"])
                name, sequence, digest = str(anchor["organization"]), int(anchor["sequence"]), str(anchor["digest"])
            except (ValueError, KeyError, TypeError):
                # Half a line, of a writer that died: what it was to vouch for is vouched for by the next one.
                log.warning("accounts.audit.unreadable_anchor", file=file.name)
                continue
            if name != organization.public_id:
                continue
            # Who may add lines there must not be able to take back what an earlier one says.
            if kept.digests.setdefault(sequence, digest) != digest:
                kept.contradictions.append(Flaw(sequence, "two different entries were anchored elsewhere"))
            kept.newest_at = max(kept.newest_at or at, at)
    return kept
