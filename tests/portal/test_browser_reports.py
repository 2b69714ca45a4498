"""Browsers say what our Content-Security-Policy stopped: a line of the log each, up to a limit, and nothing else."""

import json
from typing import Any

import pytest
from django.test import Client

from portal.lib.throttle import Throttle
from portal.settings import MIDDLEWARE
from portal.views import browser_reports
from tests.logged import logged, read

EVENT = "portal.csp_violation"
OLD = {
    "csp-report": {
        "document-uri": "https://portal.example/o/acme/keys/?name=typed#there",
        "blocked-uri": "https://elsewhere.example/x.js?secret",
        "effective-directive": "script-src-elem",
        "violated-directive": "script-src-elem",
        "source-file": None,
        "line-number": 3,
        "original-policy": "default-src 'none'",
    }
}
NEW = [
    {
        "type": "csp-violation",
        "age": 5,
        "url": "https://portal.example/",
        "user_agent": "x",
        "body": {
            "documentURL": "https://portal.example/o/acme/",
            "blockedURL": "inline",
            "effectiveDirective": "style-src-attr",
            "sourceFile": "https://portal.example/static/js/boot.js",
            "sample": "color: red",
        },
    }
] * 2


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """What other tests sent counts for nobody here; and nothing but the portal itself asks the database."""
    settings.MIDDLEWARE = MIDDLEWARE
    monkeypatch.setattr(browser_reports, "_throttle", Throttle(each=3, together=5))


def report(body: Any, content_type: str = "application/csp-report", address: str = "192.0.2.1") -> int:
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    answer = Client(enforce_csrf_checks=True, REMOTE_ADDR=address).post("/csp-reports", text, content_type=content_type)
    assert answer.content == b""
    assert not answer.cookies
    return answer.status_code


# No `django_db`: a question to the database would fail.
@pytest.mark.asvs("3.4.7")
def test_a_report_is_one_line_of_the_log_without_what_was_typed():
    with logged() as lines:
        assert report(OLD) == 204
        assert report(NEW, "application/reports+json") == 204

    old, *new = read(lines, EVENT)
    assert (old["level"], old["directive"]) == ("warning", "script-src-elem")
    assert (old["page"], old["blocked"]) == ("https://portal.example/o/acme/keys/", "https://elsewhere.example/x.js")
    assert old["source"] == ""
    assert len(new) == 2
    assert (new[0]["page"], new[0]["blocked"]) == ("https://portal.example/o/acme/", "inline")
    assert "typed" not in lines.getvalue()
    assert "secret" not in lines.getvalue()


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        ("{", "application/csp-report", 400),
        (b"\xff\xfe", "application/csp-report", 400),
        ("[" * 10_000, "application/reports+json", 400),
        ({"csp-report": {"blocked-uri": 5}}, "application/csp-report", 400),
        (OLD, "application/reports+json", 400),
        (OLD, "application/json", 415),
        (OLD, "multipart/form-data; boundary=x", 415),
        ("x" * (browser_reports.MAXIMUM_BODY_BYTES + 1), "application/csp-report", 413),
    ],
)
def test_what_is_no_report_is_refused_and_not_logged(body: Any, content_type: str, status: int):
    with logged() as lines:
        assert report(body, content_type) == status

    assert {line["event"] for line in read(lines)} == {"portal.request"}


def test_long_words_are_cut():
    with logged() as lines:
        assert report({"csp-report": {"blocked-uri": "x" * 15_000, "violated-directive": "y" * 1_000}}) == 204

    assert [(len(line["blocked"]), len(line["directive"])) for line in read(lines, EVENT)] == [(200, 200)]


@pytest.mark.asvs("2.4.1")
def test_nobody_fills_the_log():
    with logged() as lines:
        statuses = [report(OLD) for _ in range(5)] + [report(OLD, address=f"192.0.2.{n}") for n in (2, 3, 4)]

    assert statuses == [204, 204, 204, 429, 429, 204, 204, 429]
    assert len(read(lines, EVENT)) == 5


def test_a_minute_later_there_is_room_again():
    throttle = Throttle(each=1, together=2)

    assert [throttle.admits(name, 100.0) for name in ("a", "a", "b", "c")] == [True, False, True, False]
    assert not throttle.admits("a", 159.0)
    assert throttle.admits("a", 160.0)


@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_reports_are_posted(method: str):
    assert getattr(Client(), method)("/csp-reports").status_code == 405
