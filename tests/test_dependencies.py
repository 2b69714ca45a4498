"""The lock file of `make up` stands on its own: nothing may be there only because the development tools bring it."""

import re
from importlib.metadata import requires
from pathlib import Path

import pytest

LOCK = Path(__file__).resolve().parent.parent / "requirements.lock"


def locked() -> set[str]:
    return {line.partition("==")[0].partition("[")[0] for line in LOCK.read_text().splitlines() if "==" in line}


@pytest.mark.parametrize(("package", "extra"), [("kombu", "redis"), ("celery", "redis"), ("django-allauth", "mfa")])
def test_what_an_extra_needs_is_locked_for_a_portal_without_development_tools(package, extra):
    names = {
        re.split(r"[\[<>=!~; ]", needed)[0].lower()
        for needed in requires(package) or ()
        if f"extra == '{extra}'" in needed.replace('"', "'")
    }
    assert names
    assert names <= locked()


def pins_of(lock: str) -> set[str]:
    return set(re.findall(r"(?m)^[a-z0-9][^ \\\n]*==[^ \\;]+", LOCK.with_name(lock).read_text()))


def test_what_is_tested_is_what_is_installed():
    installed = pins_of("requirements.lock")

    assert len(installed) > 50
    assert installed <= pins_of("requirements-dev.lock")
