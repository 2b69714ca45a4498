"""What of OWASP ASVS 5.0 the suite proves: the items that our scope claims and the tests marked with them.

Claimed is Level 2 whole and some of Level 3. An item has a marker on each test that proves a part of it,
`@pytest.mark.asvs("8.4.1")`, and `pytest` prints how many items of each level have one: docs/asvs.md.
"""

from collections.abc import Iterable

# Chapter -> how many items it has of Level 1, of Level 2 and of Level 3, as far as it applies to this portal.
CHAPTERS = {
    1: (8, 19, 3),
    2: (4, 7, 2),
    3: (8, 11, 12),
    4: (2, 8, 6),
    5: (4, 5, 4),
    6: (13, 22, 12),
    7: (6, 12, 1),
    8: (4, 3, 6),
    9: (4, 3, 0),
    10: (5, 24, 7),
    11: (3, 11, 10),
    12: (3, 6, 3),
    13: (1, 12, 8),
    14: (2, 7, 4),
    15: (3, 10, 8),
    16: (0, 16, 1),
}
# The items of Level 3 that we take beyond Level 2.
LEVEL_3 = frozenset(
    {
        *("2.3.5", "3.1.1", "3.4.7", "3.4.8", "3.5.8", "3.6.1", "3.7.3", "4.1.4", "4.2.5", "6.3.5", "6.3.7", "6.3.8"),
        *("6.4.6", "6.5.6", "7.5.3", "8.3.2", "8.3.3", "8.4.2", "15.4.2", "16.4.2", "16.5.3", "16.5.4"),
    }
)


def chapter_of(item: str) -> int:
    return int(item.partition(".")[0])


def summary(proven: Iterable[str]) -> list[str]:
    """Return the lines to print. proven: items with at least one test that ran and passed."""
    items = set(proven)
    beyond = items & LEVEL_3
    claimed = sum(first + second for first, second, _ in CHAPTERS.values())
    lines = [f"levels 1 and 2: {len(items - LEVEL_3)} of {claimed} items have a test that passed"]
    lines.append(f"level 3: {len(beyond)} of the {len(LEVEL_3)} that we take: {' '.join(sorted(beyond, key=_order))}")
    for chapter, (first, second, _) in CHAPTERS.items():
        here = sorted((each for each in items - LEVEL_3 if chapter_of(each) == chapter), key=_order)
        if here:
            lines.append(f"V{chapter}: {len(here)} of {first + second}: {' '.join(here)}")
    return lines


def _order(item: str) -> list[int]:
    return [int(part) for part in item.split(".")]
