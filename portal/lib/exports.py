"""Files of rows for spreadsheets and programs, made line by line so that they can be streamed."""

import csv
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_encoder = msgspec.json.Encoder(decimal_format="string")

# A spreadsheet would run such a cell as a formula or a command, also behind spaces; numbers are left alone, so that
# -1.50 stays one.
DANGEROUS = ("=", "+", "-", "@", "|", "%", "\t", "\r", "\n")


class _Line:
    """A file that csv writes one line to at a time."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text = text


def harmless(cell: object) -> str:
    """Return a cell as text that no spreadsheet runs: words that begin like a formula get an apostrophe in front."""
    if cell is None:
        return ""
    text = f"{cell.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}" if isinstance(cell, datetime) else str(cell)
    if (text.startswith(DANGEROUS) or text.lstrip().startswith(DANGEROUS)) and not _is_number(text):
        return f"'{text}"
    return text


def _is_number(text: str) -> bool:
    return text[1:].replace(".", "", 1).isdecimal() and text[0] == "-"


def csv_lines(row_type: "type[DataclassInstance]", rows: Iterable["DataclassInstance"]) -> Iterator[str]:
    """Yield a heading of the field names and a line per row, as RFC 4180 writes them."""
    line = _Line()
    writer = csv.writer(line)

    def write(cells: Sequence[object]) -> str:
        writer.writerow([harmless(cell) for cell in cells])
        return line.text

    yield write([field.name for field in fields(row_type)])
    for row in rows:
        yield write([getattr(row, field.name) for field in fields(row_type)])


def json_of(row: object) -> bytes:
    """Return a dataclass as one JSON object."""
    return _encoder.encode(row)


def json_lines(rows: Iterable[object]) -> Iterator[bytes]:
    """Yield a JSON object and a line end per row."""
    for row in rows:
        yield json_of(row) + b"\n"


class _Outbox:
    """A file that can only be written to; what was written is taken away before the next part."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, content: bytes) -> int:
        self._parts.append(bytes(content))
        return len(content)

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        content = b"".join(self._parts)
        self._parts.clear()
        return content


def zip_parts(files: Iterable[tuple[str, Iterable[bytes]]]) -> Iterator[bytes]:
    """Yield a ZIP archive of named files part by part; only what compression holds back is in memory."""
    outbox = _Outbox()
    # It needs write and flush alone once nothing can be sought.
    with zipfile.ZipFile(outbox, "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[call-overload]
        for name, content in files:
            with archive.open(name, "w", force_zip64=True) as file:
                for part in content:
                    file.write(part)
                    if ready := outbox.take():
                        yield ready
    yield outbox.take()
