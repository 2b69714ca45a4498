"""Every template compiles, and every page that needs no argument answers."""

import re

import pytest
from django.template.loader import get_template
from django.test import Client

from dev.paths import ROOT

TEMPLATES = sorted(str(path.relative_to(ROOT / "templates")) for path in (ROOT / "templates").rglob("*.html"))
COMPONENTS = sorted((ROOT / "templates/cotton").glob("*.html"))
INLINE = re.compile(r"\sstyle\s*=|<style|\shx-on|\son[a-z]+\s*=|<script(?![^>]*(?:\ssrc=|application/json))")


@pytest.mark.parametrize("name", TEMPLATES)
def test_compiles(name):
    get_template(name)


@pytest.mark.parametrize("name", TEMPLATES)
def test_has_nothing_inline_that_the_policy_would_block(name):
    assert not INLINE.findall((ROOT / "templates" / name).read_text())


POSTED = re.compile(r"<form\b(?=[^>]*\bmethod=\"post\")(?![^>]*\baction=)[^>]*>")
# They ask who somebody is, and are answered at their own address.
DOORS = {"accounts/reauthenticate_by_code.html", "accounts/sso_entry.html"}


@pytest.mark.parametrize("name", sorted(set(TEMPLATES) - DOORS))
def test_a_form_that_posts_names_its_address(name):
    """What had to wait for a proof of identity is answered elsewhere, and a correction would be posted there."""
    assert not POSTED.findall((ROOT / "templates" / name).read_text())


OF_OTHERS = re.compile(
    r"<(?:script|img|iframe|source|video|audio|object|embed|link)\b[^>]*\b(?:src|href|data)\s*=\s*[\"']?(?:https?:)?//"
    r"|@import|url\(\s*[\"']?(?:https?:)?//|\b(?:import|from)\s*\(?\s*[\"']https?://",
    re.IGNORECASE,
)
UNSAFE = re.compile(r"\.(?:inner|outer)HTML\b|insertAdjacentHTML|document\.write|\beval\(|new Function\(")
WRITTEN = sorted(path for kind in ("css", "js") for path in (ROOT / "static" / kind).rglob(f"*.{kind}"))


@pytest.mark.asvs("3.6.1")
@pytest.mark.parametrize(
    "path", [*(ROOT / "templates" / name for name in TEMPLATES), *WRITTEN], ids=lambda path: path.name
)
def test_loads_nothing_from_another_host(path):
    assert not OF_OTHERS.findall(path.read_text())


def test_something_of_another_host_would_be_found():
    for text in (
        '<script defer src="https://cdn.example/x.js">',
        "<link rel=stylesheet href=//cdn.example/x.css>",
        "a { background: url(https://cdn.example/x.png) }",
        'import x from "https://cdn.example/x.js"',
    ):
        assert OF_OTHERS.search(text), text
    assert UNSAFE.search("element.innerHTML = text")


@pytest.mark.asvs("3.2.2")
def test_scripts_write_text_and_no_markup():
    written = [path for path in WRITTEN if path.suffix == ".js"]
    assert len(written) > 3
    assert not [path.name for path in written if UNSAFE.search(path.read_text())]


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda path: path.stem)
def test_a_component_opens_with_its_contract(component):
    assert component.read_text().startswith("{% comment %}")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path", ["/", "/ui/", "/accounts/login/", "/accounts/signup/", "/accounts/password/reset/", "/accounts/login/code/"]
)
def test_answers_a_visitor(client: Client, path):
    response = client.get(path)

    assert response.status_code == 200
    assert response.content.count(b"<h1") == 1
