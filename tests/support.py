"""What the suite adds to the portal to see it as production does."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse

from portal.lib.tenancy import _role

# As whom requests are served; tests/test_tenant_mutants.py sees what happens as somebody whom no policy holds back.
SERVED_AS = "headroom_app"


@contextmanager
def as_served() -> Iterator[None]:
    with _role(SERVED_AS):
        yield


class AppRoleMiddleware:
    """Serve every request as the app role, so that row-level security holds in tests as it does outside.

    A test is one transaction, so what one request set "until the transaction ends" is cleared before the next.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('app.organization_id', '', true), set_config('app.user_id', '', true)")
        with as_served():
            return self.get_response(request)


CHANGING = [
    (re.compile(rb"[A-Za-z0-9]{64}"), b"<csrf token>"),
    (re.compile(rb"req_[0-9A-Za-z]{20}"), b"<request id>"),
]


def normal(answer: Any, *words: str) -> tuple[int, bytes, dict[str, str]]:
    """Return what an outsider can compare of an answer. words: what they asked for, which may be repeated."""
    body = b"" if answer.streaming else answer.content
    for changing, stand_in in CHANGING:
        body = changing.sub(stand_in, body)
    asked = re.compile("|".join(map(re.escape, words)) or "$^")
    headers = {
        name: asked.sub("<asked>", value)
        for name, value in answer.items()
        if name.lower() not in ("x-request-id", "date", "expires", "content-length")
    }
    return (
        answer.status_code,
        asked.sub("<asked>", body.decode(errors="surrogateescape")).encode(errors="surrogateescape"),
        headers,
    )


@contextmanager
def undone() -> Iterator[None]:
    """Take back at the end what was written to the database, as a test case of Django's would; may be nested."""
    atomic: Any = transaction.atomic()
    atomic._from_testcase = True  # Code under test may ask for a durable block of its own.
    with atomic:
        yield
        transaction.set_rollback(True)
