"""Files of rows: a line at a time, and nothing that a spreadsheet would run."""

import csv
import io
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.lib.exports import csv_lines, harmless, json_lines


@dataclass(frozen=True)
class Row:
    name: str
    amount: str | None


@pytest.mark.parametrize(
    "cell", ["=1+1", "+1", "-cmd", "@sum", "\t=1", "\r=1", "-1+2", "--1", "-", " =1", "\n=1", "|cmd", "%1"]
)
def test_disarms_a_formula(cell):
    assert harmless(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["-1.50", "-7", "a=1", "1+1", "", "model.demo"])
def test_leaves_numbers_and_words_alone(cell):
    assert harmless(cell) == cell


def test_writes_times_in_utc_and_nothing_as_nothing():
    assert harmless(None) == ""
    assert harmless(datetime(2026, 11, 22, 12, tzinfo=UTC)) == "2026-11-22T12:00:00.000000Z"


def test_writes_a_heading_and_a_line_per_row():
    rows = [Row('say "hi", twice', None), Row("b\nc", "1.50")]

    text = "".join(csv_lines(Row, rows))

    assert list(csv.reader(io.StringIO(text, newline=""))) == [
        ["name", "amount"],
        ['say "hi", twice', ""],
        ["b\nc", "1.50"],
    ]
    assert b"".join(json_lines(rows)).decode().splitlines()[1] == '{"name":"b\\nc","amount":"1.50"}'


@given(st.text())
def test_no_cell_begins_like_a_formula(text):
    cell = harmless(text)

    assert not cell.startswith(("=", "+", "@", "\t", "\r"))
    assert cell.endswith(text)
