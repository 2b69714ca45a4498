"""What every request and every answer carries: an id, log context, and headers no view should have to remember."""

from collections.abc import Callable, Sequence
from time import perf_counter, time

import structlog
from allauth.account.adapter import get_adapter
from allauth.usersessions.middleware import UserSessionsMiddleware as NotingEveryRequest
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers

from portal.lib.context import Origin, forget, remember_origin
from portal.lib.http import PortalHttpRequest
from portal.lib.masking import masked
from portal.lib.public_ids import accepted_request_id, new_req_id
from portal.lib.sessions import SessionStore

log = structlog.get_logger(__name__)

LONGEST_BROWSER = 200
# The group that SECURE_CSP names in report-to.
REPORTING_ENDPOINTS = 'csp="/csp-reports"'


class RequestMiddleware:
    """Give the request an id, bind it to the log, write one line per answer, and add the house's headers."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def process_view(
        self,
        request: PortalHttpRequest,
        view: Callable[..., HttpResponse],
        args: Sequence[object],
        parts: dict[str, object],
    ) -> None:
        # PostgreSQL refuses the character, so nothing can be called that way and no view need think of it.
        if any(isinstance(part, str) and "\0" in part for part in parts.values()):
            raise Http404
        if isinstance(token := parts.get("token"), str):
            request.logged_path = request.path.replace(token, "…")

    def __call__(self, request: PortalHttpRequest) -> HttpResponse:
        started = perf_counter()
        # Kept with keys, sessions and the audit log; somebody's tool may have put its key into it.
        if browser := request.META.get("HTTP_USER_AGENT", ""):
            request.META["HTTP_USER_AGENT"] = browser = masked(browser)
        request.request_id = accepted_request_id(request.headers.get("x-request-id", "")) or new_req_id()
        request.logged_path = request.path
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request.request_id)
        remember_origin(Origin(request.request_id, get_adapter().get_client_ip(request), browser[:LONGEST_BROWSER]))
        try:
            response = self.get_response(request)
        finally:
            forget()
        response["x-request-id"] = request.request_id
        response.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        response.setdefault("Reporting-Endpoints", REPORTING_ENDPOINTS)
        patch_vary_headers(response, ["HX-Request"])
        if "HTTP_AUTHORIZATION" in request.META or _is_signed_in(request):
            response.setdefault("Cache-Control", "private, no-store")
        milliseconds = round((perf_counter() - started) * 1000, 1)
        # The path only: a query string may carry what a customer typed.
        log.info(
            "portal.request",
            method=request.method,
            path=request.logged_path,
            status=response.status_code,
            ms=milliseconds,
        )
        return response


def _is_signed_in(request: HttpRequest) -> bool:
    return getattr(request, "user", None) is not None and request.user.is_authenticated


class UserSessionsMiddleware(NotingEveryRequest):  # type: ignore[misc]  # allauth carries no types
    """Note when a session was last seen once a minute, not with four statements of every request.

    That is also what keeps a session from ending for want of use (`SessionStore.note_use`). Another address or browser
    is noted at once: people look for strangers in that list. What was noted is remembered in this process alone, so
    that no request depends on a cache and none writes a session that another one is changing.
    """

    SECONDS = 60
    MOST_REMEMBERED = 10_000

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        super().__init__(get_response)
        self._answer = get_response
        # Session -> address and browser, and when.
        self._noted: dict[str, tuple[str, str, float]] = {}

    def __call__(self, request: HttpRequest) -> HttpResponse:
        session = request.session.session_key
        if session is None or self._is_noted(request, session):
            return self._answer(request)
        if request.user.is_authenticated and isinstance(request.session, SessionStore):
            request.session.note_use()
        answer: HttpResponse = super().__call__(request)
        return answer

    def _is_noted(self, request: HttpRequest, session: str) -> bool:
        """Whether that was within the minute; if not, the caller is about to."""
        address, browser = get_adapter().get_client_ip(request), request.headers.get("user-agent", "")
        now = time()
        if (noted := self._noted.get(session)) and noted[:2] == (address, browser) and now - noted[2] < self.SECONDS:
            return True
        if len(self._noted) >= self.MOST_REMEMBERED:
            self._noted.clear()
        if request.user.is_authenticated:
            self._noted[session] = (address, browser, now)
        return False
