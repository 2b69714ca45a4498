"""What browsers are told beside the page, on every answer and to the letter, with the settings of production (G7)."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.test import Client
from django.urls import path, reverse
from django.views.decorators.http import require_POST

from accounts.models import Role, Scope
from dev.paths import ROOT
from portal import urls
from tests.factories.accounts import make_user
from tests.policy import POLICY, Audience
from tests.production import HOST, in_production
from tests.routes import ROUTES, Route, name_of
from tests.world import World

# Written out here, so that a change of the settings has to be meant.
POLICY_OF_ADMIN = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; object-src 'none'"
)
TRUSTED_TYPES = "; require-trusted-types-for 'script'; trusted-types htmx default"
REPORTS = "; report-to csp; report-uri /csp-reports"
HOUSE = {
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains; preload",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Reporting-Endpoints": 'csp="/csp-reports"',
}
ADMIN = [route for route in ROUTES if route.name.startswith("admin:")]
# Files that caches between us and everybody may keep.
SAME_FOR_EVERYBODY = {"billing:verify-invoice", "catalog:rate-card"}
OURS = [route for route in ROUTES if route.name in POLICY]


@pytest.fixture(scope="module", autouse=True)
def production() -> Iterator[None]:
    with in_production():
        yield


def get(client: Client, address: str, **headers: str) -> Any:
    client.defaults["SERVER_NAME"] = HOST
    return client.get(address, headers=headers, secure=True)


def check(answer: Any, *, is_admin: bool = False) -> None:
    for name, value in HOUSE.items():
        assert answer.headers.get(name) == value, f"{name} of {answer.status_code}"
    policy = POLICY_OF_ADMIN + ("" if is_admin else TRUSTED_TYPES) + REPORTS
    assert answer["Content-Security-Policy"] == policy
    assert "HX-Request" in answer["Vary"]
    assert "Server" not in answer
    assert "X-Powered-By" not in answer


def is_kept_by_nobody(answer: Any) -> bool:
    directives = {part.strip() for part in answer.headers.get("Cache-Control", "").split(",")}
    return "no-store" in directives and "public" not in directives


@pytest.mark.parametrize("route", OURS, ids=name_of)
@pytest.mark.asvs("3.4.1")
@pytest.mark.asvs("3.4.3")
@pytest.mark.asvs("3.4.4")
@pytest.mark.asvs("3.4.5")
@pytest.mark.asvs("3.4.6")
@pytest.mark.asvs("3.4.8")
@pytest.mark.asvs("3.5.8")
@pytest.mark.asvs("14.3.2")
def test_every_route_tells_browsers_the_same(route: Route, world: World):
    address = route.address(world.ours.slug, world.objects)
    visitor = get(world.client(None), address)
    check(visitor)
    member = get(world.client(world.members[Role.OWNER]), address)
    check(member)
    assert is_kept_by_nobody(member) or route.is_of_programs or route.name in SAME_FOR_EVERYBODY
    if route.is_of_programs:
        scope = route.rule.who if isinstance(route.rule.who, Scope) else Scope.USAGE_READ
        secret = (
            world.directory_secret(world.ours)
            if route.rule.who is Audience.DIRECTORY
            else world.secret(world.ours, scope)
        )
        program = get(world.client(None), address, authorization=f"Bearer {secret}")
        check(program)
        assert is_kept_by_nobody(program)


@pytest.mark.parametrize("route", ADMIN, ids=name_of)
def test_the_admin_tells_the_same_but_for_trusted_types(route: Route, world: World):
    staff = make_user("staff@example.com")
    staff.is_staff = staff.is_superuser = True
    staff.save()
    parts = dict.fromkeys(route.converters, "1") | ({"app_label": "accounts"} if "app_list" in route.name else {})
    address = "/admin/nowhere" if route.name == "admin:?" else reverse(route.name, kwargs=parts)

    for client in (world.client(None), world.client(staff)):
        answer = get(client, address)
        # Refusals are pages of our own; who is to sign in is sent to ours.
        check(answer, is_admin=answer.status_code not in (403, 404) and route.name != "admin:login")
        assert is_kept_by_nobody(answer) or answer.wsgi_request.user.is_anonymous


def test_static_files_tell_the_same(world: World):
    assert finders.find("css/tokens.css")
    for address in ("/static/css/tokens.css", "/static/js/boot.js", "/static/nowhere.css"):
        answer = get(world.client(None), address)
        check(answer)
        assert "Access-Control-Allow-Origin" not in answer
        # Read to its end, which closes the file.
        assert b"".join(answer) or answer.status_code == 404


# --- What goes wrong ------------------------------------------------------------------------------

FAILURES: dict[int, type[Exception]] = {
    400: SuspiciousOperation,
    403: PermissionDenied,
    404: Http404,
    500: ZeroDivisionError,
    503: OperationalError,
}


def fail(request: HttpRequest, status: int) -> HttpResponse:
    raise FAILURES[status]("in the words of the failure")


urlpatterns = [
    path("failure/<int:status>", fail),
    path("posted", require_POST(lambda request: HttpResponse())),
    *urls.urlpatterns,
]
handler403, handler404, handler500 = urls.handler403, urls.handler404, urls.handler500


@pytest.mark.asvs("16.5.1")
@pytest.mark.asvs("16.5.4")
@pytest.mark.urls("tests.test_headers")
@pytest.mark.parametrize("status", FAILURES)
def test_failures_tell_the_same(status: int, world: World):
    for user in (None, world.members[Role.OWNER]):
        answer = get(world.client(user), f"/failure/{status}")

        assert answer.status_code == status
        check(answer)
        # Nothing of what went wrong inside.
        assert not re.search(rb"Traceback|ZeroDivision|OperationalError|in the words", answer.content)
        assert user is None or is_kept_by_nobody(answer)


@pytest.mark.urls("tests.test_headers")
def test_refusals_tell_the_same(world: World):
    owner = world.client(world.members[Role.OWNER], enforce_csrf=True)
    owner.defaults["SERVER_NAME"] = HOST
    refused = {
        405: get(owner, "/posted"),
        404: get(owner, "/nowhere/"),
        403: owner.post(f"/o/{world.ours.slug}/keys/new/", secure=True),
        301: get(owner, f"/o/{world.ours.slug}/keys"),
        401: get(owner, "/api/v1/keys"),
        415: owner.post("/csp-reports", "x", "text/plain", secure=True),
    }
    for status, answer in refused.items():
        assert answer.status_code == status
        check(answer)


@pytest.mark.usefixtures("world")
def test_another_host_is_told_the_same():
    answer = Client(SERVER_NAME="elsewhere.example").get("/", secure=True)

    assert answer.status_code == 400
    check(answer)


@pytest.mark.usefixtures("world")
def test_without_tls_there_is_a_redirect_and_nothing_else():
    answer = Client(SERVER_NAME=HOST).get("/accounts/login/")

    assert (answer.status_code, answer["Location"]) == (301, f"https://{HOST}/accounts/login/")
    assert answer.content == b""
    assert not answer.cookies


@pytest.mark.asvs("3.3.1")
@pytest.mark.asvs("3.3.2")
@pytest.mark.asvs("3.3.3")
@pytest.mark.asvs("3.3.4")
def test_cookies_are_for_this_host_alone_and_for_no_script(world: World):
    client = Client(SERVER_NAME=HOST)
    client.get("/accounts/login/", secure=True)
    client.post("/accounts/login/code/", {"email": world.stranger.email}, secure=True)
    owner = world.client(world.members[Role.OWNER])
    owner.defaults["SERVER_NAME"] = HOST
    owner.post(f"/o/{world.ours.slug}/projects/new/", {"name": "Another"}, secure=True)
    cookies = {**client.cookies, **{name: cookie for name, cookie in owner.cookies.items() if "session" not in name}}

    assert set(cookies) == {"__Host-csrf", "__Host-session", "__Host-messages"}
    for cookie in cookies.values():
        assert (cookie["secure"], cookie["httponly"], cookie["path"], cookie["domain"]) == (True, True, "/", "")
        assert cookie["samesite"] == "Lax"


@pytest.mark.asvs("3.1.1")
def test_what_browsers_have_to_know_is_written_down():
    """Each header that they are told, with what happens in one that does not know it."""
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", (ROOT / "docs" / "browsers.md").read_text(), re.MULTILINE)
    names = {name for first, _, without in rows if without for name in re.findall(r"`([\w-]+)`", first)}

    assert {*HOUSE, "Content-Security-Policy", "require-trusted-types-for", "Secure", "HttpOnly", "SameSite"} <= names
