"""What others tell us: secret scanners that found API keys."""

from http import HTTPStatus

import msgspec
import structlog
from django.conf import settings
from django.db import transaction
from django.http import Http404, HttpResponse, HttpResponseNotAllowed
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from accounts.services.leaked_keys import end_leaked_secret
from portal.lib.api import JsonResponse, problem
from portal.lib.http import PortalHttpRequest
from portal.lib.signatures import is_signed, read_public_keys

log = structlog.get_logger(__name__)

MAXIMUM_BODY_BYTES = 256 * 1024
MAXIMUM_ENTRIES = 100


class Found(msgspec.Struct):
    """A string that looks like a key of ours, and where it was found."""

    token: str
    type: str = ""
    url: str = ""
    source: str = ""


class Verdict(msgspec.Struct):
    type: str
    label: str


# Each entry has its own transaction: what was ended stays so whatever becomes of the next.
@csrf_exempt
@transaction.non_atomic_requests
def leaked_keys(request: PortalHttpRequest) -> HttpResponse:
    """End the keys that a secret scanner found; say of each, in their order, whether it was one, and not whose.

    The scanner signs the raw body with a key that LEAK_REPORT_PUBLIC_KEYS names; without any the address is none.
    """
    public_keys = read_public_keys(settings.LEAK_REPORT_PUBLIC_KEYS)
    if not public_keys:
        raise Http404
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    body = request.read(MAXIMUM_BODY_BYTES + 1)
    if len(body) > MAXIMUM_BODY_BYTES:
        return _refusal(request, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "request_too_large", "At most 256 KiB at once.")
    reporter = request.headers.get("x-key-identifier", "")
    signer = public_keys.get(reporter)
    if signer is None or not is_signed(body, signature=request.headers.get("x-signature", ""), by=signer):
        return _refusal(request, HTTPStatus.UNAUTHORIZED, "invalid_signature", "The body is not signed by a known key.")
    try:
        found = msgspec.json.decode(body, type=list[Found])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        detail = "The body is a JSON list of objects with the texts token, type, url and source."
        return _refusal(request, HTTPStatus.BAD_REQUEST, "invalid_json", detail)
    if len(found) > MAXIMUM_ENTRIES:
        return _refusal(request, HTTPStatus.UNPROCESSABLE_ENTITY, "too_many_entries", "At most 100 keys at once.")
    verdicts = [_verdict(one, reporter) for one in found]
    ours = sum(verdict.label == "true_positive" for verdict in verdicts)
    log.info("accounts.leak_report", reporter=reporter, entries=len(verdicts), ours=ours)
    return JsonResponse(verdicts)


def _verdict(found: Found, reporter: str) -> Verdict:
    is_ours = end_leaked_secret(
        secret=found.token, url=found.url, source=found.source, reporter=reporter, now=timezone.now()
    )
    return Verdict(found.type, "true_positive" if is_ours else "false_positive")


def _refusal(request: PortalHttpRequest, status: HTTPStatus, code: str, detail: str) -> HttpResponse:
    return problem(status, code, detail, request_id=request.request_id)
