"""The sequences of test_metering_machine.py find each of these mistakes in what takes and decides about usage.

Two here, all of them in `make prove`.
"""

import os

import pytest
from django.db import Error
from hypothesis import Phase

from billing.services import reported, usage, usage_decisions, usage_reports
from portal.lib.errors import DomainError
from tests.billing.mistakes import make_mistake
from tests.billing.test_metering_machine import run

# Mistake -> where, what stands there, and what somebody could have written.
MISTAKES = {
    "takes any content for a repetition": (usage_reports, "bytes(fate.content_digest) != report.digest", "False"),
    "compares contents without their time": (reported, "self.occurred_at.isoformat(),", '"",'),
    "compares contents without their organization": (
        reported,
        "            self.organization,\n            self.project,\n",
        "",
    ),
    "counts what is too old": (reported, "now - OLDEST", "now - 2 * OLDEST"),
    "counts what is ahead of its time": (reported, "now + FUTURE_TOLERANCE", "now + 2 * FUTURE_TOLERANCE"),
    "lets in negative usage": (reported, "if report.quantity < 0 and report.corrects is None:", "if False:"),
    "charges another organization's project": (reported, "if owner_id != organization_id:", "if not owner_id:"),
    "takes back any quantity": (reported, "correction.quantity == -self.event.quantity", "correction.quantity < 0"),
    "takes back what takes something back": (reported, "self.event.corrects is None\n", "self.event is not None\n"),
    "rejects a correction of what waits": (
        reported,
        "return self.fate is None or self.fate.is_waiting",
        "return self.fate is None",
    ),
    "calls a correction of the unknown wrong": (
        reported,
        "return self.fate is None or self.fate.is_waiting",
        "return self.fate is not None and self.fate.is_waiting",
    ),
    "looks at corrections before what they correct": (
        usage_reports,
        "told = _decide(group, [report for report in first.values() if report.corrects is None])\n"
        "    told |= _decide(group, [report for report in first.values() if report.corrects is not None])",
        "told = _decide(group, list(first.values()))",
    ),
    "counts late usage as if in time": (usage_reports, "is_late=report.occurred_at < closed)", "is_late=False)"),
    "calls a repetition in the batch new": (
        usage_reports,
        "mine is not None and mine.is_new and report.event_id not in heard",
        "mine is not None and mine.is_new",
    ),
    "counts what is rejected": (
        usage_reports,
        "for fate in mine if fate.outcome != UsageFate.Outcome.REJECTED}",
        "for fate in mine}",
    ),
    "counts nothing": (usage_reports, "for report in new if report.event_id in counted]", "for report in new[:0]]"),
    "leaves out the alarm about prices": (usage_reports, "in unpriced:", "in set():"),
    "calls a rejected event a duplicate": (
        usage_reports,
        "    if fate.outcome == UsageFate.Outcome.REJECTED:\n        detail",
        "    if fate is None:\n        detail",
    ),
    "calls own usage late that came in time": (
        usage,
        "late = _not_counted_yet(_for_closed_months(records, now))",
        "late = _for_closed_months(records, now)",
    ),
    "forgets that own usage is late": (
        usage,
        "    if late:\n        _keep_late",
        "    if not records:\n        _keep_late",
    ),
    "decides again": (usage_decisions, "if not fate.is_waiting:", "if fate is None:"),
    "accepts and does not count": (usage_decisions, "        record_accepted(record, now=now)\n", "        pass\n"),
    "accepts for an invoice that is issued": (
        usage_decisions,
        "UsageFate.Outcome.LATE if is_late else UsageFate.Outcome.COUNTED",
        "UsageFate.Outcome.COUNTED",
    ),
    "accepts any correction": (usage_decisions, "if against := original.why_not(record):", "if against := None:"),
}
# Those that are found soon.
SOON = ["takes any content for a repetition", "counts late usage as if in time"]
TRIED = list(MISTAKES) if os.environ.get("PROVE") else SOON
RUNS, STEPS = 150, 30


@pytest.mark.django_db
@pytest.mark.parametrize("mistake", TRIED)
def test_every_mistake_is_found(mistake: str, monkeypatch: pytest.MonkeyPatch):
    make_mistake(*MISTAKES[mistake], monkeypatch)

    with pytest.raises((AssertionError, DomainError, Error)):
        run(RUNS, STEPS, Phase.generate)
