"""Tables that are sorted by links: the state is in the address, so that it works without a script and can be sent."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.http import QueryDict
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True, slots=True)
class Column:
    """A column that can be sorted by. key: its value of the `sort` parameter, with `-` in front for descending."""

    key: str
    label: str | Promise
    is_number: bool = False


@dataclass(frozen=True, slots=True)
class SortLink:
    """A column's heading. direction: the value of aria-sort, empty when the table is sorted by another column."""

    label: str
    query: str
    direction: str
    is_number: bool


def sort_choices(columns: Iterable[Column]) -> list[tuple[str, str | Promise]]:
    """Return the values that the `sort` parameter may have, for a form's field; empty is the list's own order."""
    choices: list[tuple[str, str | Promise]] = [("", _("As listed"))]
    for column in columns:
        up, down = (
            (_("%s, low to high"), _("%s, high to low")) if column.is_number else (_("%s, A to Z"), _("%s, Z to A"))
        )
        choices += [(column.key, up % column.label), (f"-{column.key}", down % column.label)]
    return choices


def sort_links(query: QueryDict, columns: Iterable[Column], current: str) -> list[SortLink]:
    """Return the headings, whose links keep the rest of the query and turn the direction of the current column."""
    directions = {current.removeprefix("-"): "descending" if current.startswith("-") else "ascending"}
    links = []
    for column in columns:
        changed = query.copy()
        changed["sort"] = f"-{column.key}" if current == column.key else column.key
        direction = directions.get(column.key, "")
        links.append(SortLink(str(column.label), f"?{changed.urlencode()}", direction, column.is_number))
    return links


def query_without(query: QueryDict, *names: str) -> str:
    """Return the query string without these parameters, with its question mark."""
    changed = query.copy()
    for name in names:
        changed.pop(name, None)
    return f"?{changed.urlencode()}"
