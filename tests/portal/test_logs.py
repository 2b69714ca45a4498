"""Lines of the log: what docs/logs.md lists, whole, in UTC, and not to be forged by who writes into them."""

import ast
import io
import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from accounts.models import Role
from dev.paths import ROOT
from portal.logs import logging_config
from tests.factories.accounts import make_membership, make_organization
from tests.logged import logged, read

APPS = ["portal", "accounts", "catalog", "billing", "compute", "inference"]
LEVELS = ("debug", "info", "warning", "error", "exception", "critical")


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    with logged() as collected:
        yield collected


def logged_events() -> set[str]:
    """Return the name of every event that the code logs; one that is no constant fails."""
    found = set()
    for app in APPS:
        for path in (ROOT / app).rglob("*.py"):
            text = path.read_text()
            for node in ast.walk(ast.parse(text)) if "log." in text else ():
                match node:
                    case ast.Call(func=ast.Attribute(value=ast.Name(id="log"), attr=level), args=[name, *_]) if (
                        level in LEVELS
                    ):
                        assert isinstance(name, ast.Constant), f"{path}:{node.lineno}"
                        found.add(str(name.value))
    return found


@pytest.mark.asvs("16.1.1")
@pytest.mark.asvs("16.2.3")
def test_the_inventory_lists_every_event_and_nothing_else():
    text = (ROOT / "docs" / "logs.md").read_text()

    assert set(re.findall(r"^\| `([a-z_.]+)`", text, re.MULTILINE)) == logged_events()
    assert len(logged_events()) > 30


def test_lines_go_to_standard_error_and_to_no_file():
    handlers = logging_config(as_json=True)["handlers"]

    assert [handler["class"] for handler in handlers.values()] == ["logging.StreamHandler"]
    for app in APPS:
        for path in (ROOT / app).rglob("*.py"):
            assert not re.search(r"\b(File|Rotating|Socket|SysLog|HTTP)\w*Handler\b", path.read_text()), path


@pytest.mark.django_db
@pytest.mark.asvs("16.2.1")
@pytest.mark.asvs("16.2.2")
@pytest.mark.asvs("16.2.4")
@pytest.mark.asvs("16.3.2")
def test_a_refused_request_is_one_line_that_says_when_where_and_what(lines: io.StringIO, client: Client):
    organization = make_organization()
    client.force_login(make_membership(organization, role=Role.VIEWER).user)
    path = f"/o/{organization.slug}/settings/"

    answer = client.get(path)

    assert answer.status_code == 403
    [line] = read(lines, "portal.request")
    assert (line["method"], line["path"], line["status"]) == ("GET", path, 403)
    assert line["request_id"] == answer["x-request-id"]
    assert (line["level"], line["logger"]) == ("info", "portal.lib.middleware")
    at = datetime.fromisoformat(line["timestamp"])
    assert at.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - at) < timedelta(hours=1)


FORGERIES = [
    "/nowhere/%0a%7B%22event%22:%22portal.request%22%7D",
    "/nowhere/%0d%0aforged",
    "/nowhere/%22,%22status%22:200,%22x%22:%22",
    "/nowhere/%1b[2J%e2%80%a8forged",
    "/nowhere/%25(message)s%7Bpath%7D%s",
]


@pytest.mark.django_db
@pytest.mark.asvs("16.4.1")
@pytest.mark.parametrize("path", FORGERIES)
def test_nobody_writes_a_line_of_their_own(path: str, lines: io.StringIO, client: Client):
    client.get(path, headers={"user-agent": "a\nb", "x-request-id": "forged\nid"})
    logging.getLogger("somebody.elses").warning("said %s", path)

    requests = read(lines, "portal.request")
    assert [line["status"] for line in requests] == [404]
    assert requests[0]["path"].startswith("/nowhere/")
    assert lines.getvalue().isascii()
    assert "forged\nid" not in str(requests)
