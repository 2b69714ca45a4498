"""Rows of long tables as HTML: looking up a thousand values in a template takes longer than the database does."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from django.utils.safestring import SafeString


@dataclass(frozen=True, slots=True)
class Cell:
    """What a cell shows. note: a second, quiet line; exact: shown on hovering, the amount without rounding."""

    text: str
    note: str = ""
    exact: str = ""


def table_rows(headings: Sequence[str], rows: Iterable[Sequence[Cell]]) -> SafeString:
    """Return rows whose first cell names the row and whose others are numbers, for the <tbody> of a c-table.

    headings: the columns' after the first, which narrow screens show in front of each cell. Everything is escaped.
    """
    opened = [f'<td data-label="{escape(heading)}" class="number"' for heading in headings]
    return SafeString("".join(_row(opened, *cells) for cells in rows))


def _row(opened: Sequence[str], head: Cell, *cells: Cell) -> str:
    name = f'<span class="entry">{escape(head.text)}</span>' if head.note else escape(head.text)
    numbers = "".join(
        f"{start}{_title(cell)}>{escape(cell.text)}{_note(cell)}</td>"
        for start, cell in zip(opened, cells, strict=True)
    )
    return f'<tr><th scope="row">{name}{_note(head)}</th>{numbers}</tr>'


def _title(cell: Cell) -> str:
    return f' title="{escape(cell.exact)}"' if cell.exact else ""


def _note(cell: Cell) -> str:
    return f'<span class="entry__note mono">{escape(cell.note)}</span>' if cell.note else ""
