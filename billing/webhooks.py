"""What the payment provider tells us: checked, stored, answered. What comes of it: billing.services.stripe_events."""

from http import HTTPStatus

from django.db import transaction
from django.http import Http404, HttpResponse, HttpResponseNotAllowed
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt

from billing.gateways import payment_provider
from billing.gateways.payment_provider import BadSignature
from billing.services.stripe_events import store_messages
from portal.lib.api import problem
from portal.lib.crashpoints import crashpoint
from portal.lib.http import PortalHttpRequest
from portal.lib.tenancy import as_platform

MAXIMUM_BODY_BYTES = 256 * 1024


# No role but the platform's reaches these rows: a message is nobody's until the provider is asked whose it is.
@csrf_exempt
@transaction.non_atomic_requests
def stripe(request: PortalHttpRequest) -> HttpResponse:
    """Store a message that the provider signed, each once, and answer before anything is done about it."""
    if not payment_provider.hears_messages():
        raise Http404
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    body = request.read(MAXIMUM_BODY_BYTES + 1)
    if len(body) > MAXIMUM_BODY_BYTES:
        return _refusal(request, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "request_too_large", "At most 256 KiB at once.")
    try:
        told = payment_provider.read_message(body, request.headers.get("stripe-signature", ""))
    except BadSignature:
        detail = "The body is not signed with a secret of this endpoint, or more than five minutes ago."
        return _refusal(request, HTTPStatus.BAD_REQUEST, "invalid_signature", detail)
    except ValueError:
        return _refusal(request, HTTPStatus.BAD_REQUEST, "invalid_json", "The body is no event of the provider.")
    with as_platform(), transaction.atomic():
        store_messages([told], now=timezone.now())
        crashpoint("webhook_before_commit")
    crashpoint("webhook_before_answer")
    return HttpResponse(status=HTTPStatus.OK)


def _refusal(request: PortalHttpRequest, status: HTTPStatus, code: str, detail: str) -> HttpResponse:
    return problem(status, code, detail, request_id=request.request_id)
