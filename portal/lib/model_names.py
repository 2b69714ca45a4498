"""Names of served models as text, for who may not know the catalog.

An allow-list may name a model before it is sold and after; a name that no model has opens nothing.
"""

import re
from collections.abc import Iterable

MAXIMUM_NAMES = 100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,119}")


class UnreadableName(ValueError):
    """`str(error)` is a sentence for the customer."""


def canonical_names(given: Iterable[str]) -> tuple[str, ...]:
    """Return names without space around them, each once. Raises UnreadableName for what no model can be called."""
    names = tuple(dict.fromkeys(name.strip() for name in given))
    for name in names:
        if not _NAME.fullmatch(name):
            raise UnreadableName(f"“{name[:40]}” cannot be the name of a model.")
    if len(names) > MAXIMUM_NAMES:
        raise UnreadableName(f"There may be {MAXIMUM_NAMES} models at the most.")
    return names
