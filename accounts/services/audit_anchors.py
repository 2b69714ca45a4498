"""Keep the newest digest of every audit log outside the database, once a day, and compare logs with what was kept.

One file a day of JSON lines under AUDIT_ANCHOR_DIR. In production that is a place which the portal may add to and not
change, such as a bucket with object lock; where it is, nobody who can rewrite the tables can rewrite it too.
"""

import json
import os
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import structlog
from django.conf import settings

from accounts.chain import Flaw, flaws
from accounts.models import Organization
from accounts.selectors import heads, links

log = structlog.get_logger(__name__)


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


def verify_audit_log(*, organization: Organization) -> tuple[int, list[Flaw]]:
    """Recompute an organization's whole log; return how many entries it has and what is wrong with them."""
    log_entries = list(links(organization))
    return len(log_entries), flaws(organization.public_id, log_entries, _anchors_of(organization))


def _anchors_of(organization: Organization) -> dict[int, str]:
    """Return what was kept elsewhere of this organization, by sequence."""
    kept: dict[int, str] = {}
    folder: Path = settings.AUDIT_ANCHOR_DIR
    for file in sorted(folder.glob("*.jsonl")) if folder.is_dir() else []:
        for line in file.read_text().splitlines():
            anchor = json.loads(line)
            if anchor["organization"] == organization.public_id:
                kept[anchor["sequence"]] = anchor["digest"]
    return kept
