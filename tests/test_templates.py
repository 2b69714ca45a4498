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
