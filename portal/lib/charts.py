"""Charts as data: what to draw where, as ready strings, for templates/cotton/stacked_bars.html to print as SVG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from django.utils.safestring import SafeString

from portal.lib.money import NANO_PER_USD, display_usd

HUES = 6
# The drawing's own units; the page scales it. Places are reckoned in tenths of them, whole ones, so that what is
# stacked meets exactly.
WIDTH, HEIGHT = 960, 280
LEFT, RIGHT, TOP, BOTTOM = 72, 4, 12, 34
# What a character of an axis needs at most, on the narrowest screens, and the gap beside it.
CHARACTER, GAP = 11, 14
GAP_PERCENT = 28
WIDEST_BAR = 44
MOST_LABELS = 8


@dataclass(frozen=True, slots=True)
class Segment:
    """One series' part of a bar. hue: 1 to 6, as in tokens.css."""

    hue: int
    x: str
    y: str
    width: str
    height: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One day. reach_*: the column that answers to the pointer, wider than what is drawn."""

    title: str
    reach_x: str
    reach_width: str
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """Words along an axis, with their place on it."""

    at: str
    text: str


@dataclass(frozen=True, slots=True)
class Series:
    name: str
    hue: int
    total: str


@dataclass(frozen=True, slots=True)
class Row:
    """One day in the table twin: an amount per series, in the order of the series, and their sum."""

    label: str
    amounts: tuple[str, ...]
    total: str


@dataclass(frozen=True, slots=True)
class StackedBars:
    """A chart of money by day and series, and the same numbers as a table."""

    label: str
    series: tuple[Series, ...]
    bars: tuple[Bar, ...]
    ticks: tuple[Mark, ...]
    days: tuple[Mark, ...]
    rows: tuple[Row, ...]
    total: str
    width: str = str(WIDTH)
    height: str = str(HEIGHT)
    left: str = str(LEFT)
    right: str = str(WIDTH - RIGHT)
    top: str = str(TOP)
    base: str = str(HEIGHT - BOTTOM)
    column_height: str = str(HEIGHT - BOTTOM - TOP)

    @property
    def drawn_bars(self) -> SafeString:
        """The bars as SVG. Written here and not in the template: a month is two thousand values to look up there."""
        return SafeString("".join(self._drawn(bar) for bar in self.bars))

    def _drawn(self, bar: Bar) -> str:
        reach = f'x="{bar.reach_x}" y="{self.top}" width="{bar.reach_width}" height="{self.column_height}"'
        segments = "".join(
            f'<rect class="hue-{one.hue}" x="{one.x}" y="{one.y}" width="{one.width}" height="{one.height}"/>'
            for one in bar.segments
        )
        title = escape(bar.title)
        return f'<g class="chart__bar"><title>{title}</title><rect class="chart__reach" {reach}/>{segments}</g>'

    @property
    def table_rows(self) -> SafeString:
        """The rows of the table twin."""
        return SafeString(
            "".join(
                f'<tr><th scope="row">{escape(row.label)}</th>'
                + "".join(f'<td class="number">{escape(amount)}</td>' for amount in (*row.amounts, row.total))
                + "</tr>"
                for row in self.rows
            )
        )


def stacked_bars(label: str, rows: Sequence[tuple[str, Mapping[str, int]]]) -> StackedBars:
    """Return a chart of nano-dollars.

    label: what it shows, in words. rows: (day, {series: nano-dollars}) in the order of time; a series that a
    day lacks is zero, and an amount below zero (a correction) counts in the table and is not drawn.
    Series come in the order of their totals, largest first; from the seventh on hues repeat.
    """
    names = _by_total(rows)
    hues = {name: i % HUES + 1 for i, name in enumerate(names)}
    top_nano = _top([sum(max(0, amount) for amount in amounts.values()) for _day, amounts in rows])
    ticks = tuple(Mark(_text(_y_at(top_nano * i // 4, top_nano)), _dollars(top_nano * i // 4)) for i in range(5))
    left = max(LEFT, GAP + CHARACTER * max(len(tick.text) for tick in ticks))
    twin = tuple(
        Row(day, tuple(display_usd(amounts.get(name, 0)) for name in names), display_usd(sum(amounts.values())))
        for day, amounts in rows
    )
    edges = [10 * left + 10 * (WIDTH - left - RIGHT) * i // max(1, len(rows)) for i in range(len(rows) + 1)]
    return StackedBars(
        label=label,
        series=tuple(
            Series(name, hues[name], display_usd(sum(amounts.get(name, 0) for _day, amounts in rows))) for name in names
        ),
        bars=tuple(
            _bar(f"{row.label}: {row.total}", [(hues[name], amounts.get(name, 0)) for name in names], reach, top_nano)
            for row, (_day, amounts), reach in zip(twin, rows, pairwise(edges), strict=True)
        ),
        ticks=ticks,
        days=_day_marks([day for day, _amounts in rows], edges),
        rows=twin,
        total=display_usd(sum(sum(amounts.values()) for _day, amounts in rows)),
        left=str(left),
    )


def _by_total(rows: Sequence[tuple[str, Mapping[str, int]]]) -> list[str]:
    totals: dict[str, int] = {}
    for _day, amounts in rows:
        for name, amount in amounts.items():
            totals[name] = totals.get(name, 0) + amount
    return sorted(totals, key=lambda name: (-totals[name], name))


def _top(sums: Sequence[int]) -> int:
    """Return the top of the scale: the least of 1, 2, 4, 6, 8 times a power of ten that holds the tallest bar.

    Each is divisible into four steps that print shortly. An empty chart reaches one dollar.
    """
    tallest = max(sums, default=0)
    if tallest <= 0:
        return NANO_PER_USD
    power = int("1".ljust(max(2, len(str(tallest))), "0"))
    for factor in (1, 2, 4, 6, 8, 10):
        if factor * power >= tallest:
            return factor * power
    return 20 * power


def _y_at(amount_nano: int, top_nano: int) -> int:
    """Return the y of an amount, in tenths: the base at zero, the top at `top_nano`."""
    tall = 10 * (HEIGHT - BOTTOM - TOP)
    return 10 * (HEIGHT - BOTTOM) - (tall * amount_nano + top_nano // 2) // top_nano


def _bar(title: str, amounts: Sequence[tuple[int, int]], reach: tuple[int, int], top_nano: int) -> Bar:
    column = reach[1] - reach[0]
    wide = min(column * (100 - GAP_PERCENT) // 100, 10 * WIDEST_BAR)
    x, width = _text(reach[0] + (column - wide) // 2), _text(wide)
    segments = []
    below, low = 0, _y_at(0, top_nano)
    for hue, amount in amounts:
        if amount <= 0:
            continue
        below += amount
        high = _y_at(below, top_nano)
        segments.append(Segment(hue, x, _text(high), width, _text(low - high)))
        low = high
    return Bar(title, _text(reach[0]), _text(column), tuple(segments))


def _day_marks(days: Sequence[str], edges: Sequence[int]) -> tuple[Mark, ...]:
    every = -(-len(days) // MOST_LABELS) or 1
    middles = ((left + right) // 2 for left, right in pairwise(edges))
    return tuple(Mark(_text(x), day) for i, (day, x) in enumerate(zip(days, middles, strict=True)) if i % every == 0)


def _dollars(amount_nano: int) -> str:
    """Print a tick: whole dollars without cents."""
    return f"${amount_nano // NANO_PER_USD:,}" if amount_nano % NANO_PER_USD == 0 else display_usd(amount_nano)


def _text(tenths: int) -> str:
    return f"{tenths // 10}.{tenths % 10}"
