"""The table of ASVS items and the markers on tests belong together."""

import ast
import re

import pytest

from dev.paths import ROOT
from tests.asvs import CHAPTERS, LEVEL_3, chapter_of, summary


def marked() -> set[str]:
    """Return every item that a marker in the tests names, from their source."""
    found = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(attr="asvs"), args=[ast.Constant(str(item))]):
                    found.add(item)
    return found


def test_every_marker_names_an_item_of_a_chapter_that_we_claim():
    assert len(marked()) > 30
    for item in marked() | LEVEL_3:
        assert re.fullmatch(r"\d+\.\d+\.\d+", item), item
        assert chapter_of(item) in CHAPTERS, item


@pytest.mark.parametrize("level", [{"8.4.1", "7.2.4"}, {"6.3.8"}, set()], ids=len)
def test_the_summary_counts_each_level_by_itself(level: set[str]):
    lines = summary(level)

    assert lines[0].startswith(f"levels 1 and 2: {len(level - LEVEL_3)} of ")
    assert lines[1].startswith(f"level 3: {len(level & LEVEL_3)} of ")
