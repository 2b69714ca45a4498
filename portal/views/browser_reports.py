"""What browsers tell us: what our Content-Security-Policy kept a page from doing, one line of the log each.

Whoever reads the log looks at `portal.csp_violation`: it is a mistake in a page of ours, something that the visitor's
browser adds to every page, or an attack that did not work. Anybody may send such a report, so nothing is kept but the
line, and of lines there are only so many a minute.
"""

from collections.abc import Sequence
from http import HTTPStatus
from time import monotonic

import msgspec
import structlog
from allauth.account.adapter import get_adapter
from django.db import transaction
from django.http import HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from portal.lib.http import PortalHttpRequest
from portal.lib.throttle import Throttle

log = structlog.get_logger(__name__)

MAXIMUM_BODY_BYTES = 16 * 1024
LONGEST_TEXT = 200
MOST_OF_AN_ADDRESS, MOST_TOGETHER = 10, 100  # lines a minute, of each process

_throttle = Throttle(each=MOST_OF_AN_ADDRESS, together=MOST_TOGETHER)


class _Violation(msgspec.Struct, rename="kebab"):
    """As `report-uri` has it, which Firefox and Safari send."""

    document_uri: str = ""
    blocked_uri: str = ""
    effective_directive: str = ""
    violated_directive: str = ""
    source_file: str | None = None


class _Wrapped(msgspec.Struct):
    violation: _Violation = msgspec.field(name="csp-report")


class _NewViolation(msgspec.Struct):
    """As `report-to` has it (the Reporting API), which Chromium sends."""

    document: str = msgspec.field(name="documentURL", default="")
    blocked: str | None = msgspec.field(name="blockedURL", default=None)
    directive: str = msgspec.field(name="effectiveDirective", default="")
    source: str | None = msgspec.field(name="sourceFile", default=None)


class _Report(msgspec.Struct):
    body: _NewViolation


# Neither a session nor a database is asked: pages that fail by the thousand must not take those with them.
@csrf_exempt
@transaction.non_atomic_requests
@require_POST
def csp_reports(request: PortalHttpRequest) -> HttpResponse:
    """Write a report of one violation, or of several, to the log."""
    if request.content_type not in _READERS:
        return HttpResponse(status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    body = request.read(MAXIMUM_BODY_BYTES + 1)
    if len(body) > MAXIMUM_BODY_BYTES:
        return HttpResponse(status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    try:
        violations = _READERS[request.content_type](body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return HttpResponse(status=HTTPStatus.BAD_REQUEST)
    address = get_adapter().get_client_ip(request) or ""
    for violation in violations:
        if not _throttle.admits(address, monotonic()):
            return HttpResponse(status=HTTPStatus.TOO_MANY_REQUESTS, headers={"Retry-After": "60"})
        log.warning(
            "portal.csp_violation",
            directive=(violation.effective_directive or violation.violated_directive)[:LONGEST_TEXT],
            blocked=_place(violation.blocked_uri),
            page=_place(violation.document_uri),
            source=_place(violation.source_file or ""),
        )
    return HttpResponse(status=HTTPStatus.NO_CONTENT)


def _place(url: str) -> str:
    """Return an address without what a customer may have typed into it."""
    return url.partition("?")[0].partition("#")[0][:LONGEST_TEXT]


def _read_one(body: bytes) -> Sequence[_Violation]:
    return [msgspec.json.decode(body, type=_Wrapped).violation]


def _read_many(body: bytes) -> Sequence[_Violation]:
    found = [report.body for report in msgspec.json.decode(body, type=list[_Report])]
    return [_Violation(new.document, new.blocked or "", new.directive, "", new.source) for new in found]


_READERS = {"application/csp-report": _read_one, "application/reports+json": _read_many}
