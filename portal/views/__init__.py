"""Pages that belong to no single app: home, health, failures, the component gallery."""

import sys
from datetime import timedelta
from http import HTTPStatus

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils import timezone
from django.views.decorators.http import require_safe

from portal import gallery, mailbox, selectors
from portal.lib.api import problem
from portal.lib.template_context import portal
from portal.shell import Shell

SECURITY_TXT_DAYS = 180


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Say what this is, and what it costs right now."""
    now = timezone.now()
    return render(
        request, "portal/home.html", {"offer": selectors.offer(now), "starter_credit": settings.STARTER_CREDIT_USD}
    )


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """Answer as long as this process runs; looks at nothing else."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """Answer 200 when this process can reach the database, else 503."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Exception:  # whatever keeps us from the database, we are not ready
        return JsonResponse({"status": "no database"}, status=503)
    return JsonResponse({"status": "ready"})


@require_safe
def component_gallery(request: HttpRequest) -> HttpResponse:
    """Show every component in every state (development only)."""
    return render(request, "portal/component_gallery.html", gallery.context())


@require_safe
def dev_mail(request: HttpRequest) -> HttpResponse:
    """List what this portal has mailed (development only)."""
    return render(request, "portal/dev_mail_list.html", {"mails": mailbox.read_mails(settings.MAIL_DIR)})


@require_safe
def dev_mail_file(request: HttpRequest, file: str) -> HttpResponse:
    """Show the mails of one file (development only)."""
    mails = mailbox.read_file(settings.MAIL_DIR, file)
    if not mails:
        raise Http404
    return render(request, "portal/dev_mail_file.html", {"mails": mails})


@require_safe
def robots_txt(request: HttpRequest) -> HttpResponse:
    lines = ["User-agent: *", "Disallow: /o/", "Disallow: /accounts/", "Disallow: /admin/", ""]
    return HttpResponse("\n".join(lines), content_type="text/plain; charset=utf-8")


@require_safe
def security_txt(request: HttpRequest) -> HttpResponse:
    """Say whom to tell about a weakness (RFC 9116)."""
    expires = (timezone.now() + timedelta(days=SECURITY_TXT_DAYS)).replace(microsecond=0, hour=0, minute=0, second=0)
    lines = [
        f"Contact: {settings.SECURITY_CONTACT}",
        f"Expires: {expires:%Y-%m-%dT%H:%M:%SZ}",
        f"Canonical: {settings.PORTAL_URL}/.well-known/security.txt",
        "Preferred-Languages: en",
        "",
    ]
    return HttpResponse("\n".join(lines), content_type="text/plain; charset=utf-8")


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _failure(request, HTTPStatus.FORBIDDEN, "403.html")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return _failure(request, HTTPStatus.FORBIDDEN, "403_csrf.html")


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith("/api/"):
        # A program asked for an address that no call has.
        detail = "There is nothing at this address. The calls are listed at /api/v1/openapi.json."
        request_id = getattr(request, "request_id", "")
        return problem(HTTPStatus.NOT_FOUND, "object_does_not_exist", detail, request_id=request_id)
    return _failure(request, HTTPStatus.NOT_FOUND, "404.html")


def _failure(request: HttpRequest, status: HTTPStatus, template: str) -> HttpResponse:
    # The request's transaction has ended, and with it whose rows may be read.
    return render(request, template, {"shell": Shell(request, in_transaction=False)}, status=status)


def server_error(request: HttpRequest) -> HttpResponse:
    """Apologize without asking anything of the parts that may have failed: no database, no session.

    A database that cannot be reached is 503 with the time to wait, anything else 500.
    """
    is_outage = isinstance(sys.exception(), OperationalError | InterfaceError)
    status = HTTPStatus.SERVICE_UNAVAILABLE if is_outage else HTTPStatus.INTERNAL_SERVER_ERROR
    body = render_to_string(f"{status.value}.html", {**portal(request), "request": request})
    return HttpResponse(body, status=status, headers={"Retry-After": "30"} if is_outage else {})
