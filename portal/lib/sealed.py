"""The words in which every app says which of its columns hold sealed secrets; `portal.sealed` collects them.

A column that is in no app's `sealed.py` is not rotated, and tests/portal/test_sealed.py fails for it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from portal.lib.sealing import (
    bytes_of_text,
    is_sealed_text,
    needs_reseal,
    reseal,
    seal,
    seal_text,
    text_of,
    unseal,
    unseal_text,
)


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """A `bytea` column of sealed secrets, and the column that names its row: unique, fixed, known before the insert.

    A service writes `SECRET.seal(plain, row=thing.public_id)` and reads `SECRET.unseal(thing.secret, row=…)`.
    """

    table: str
    column: str
    row: str = "public_id"

    def seal(self, plain: str, *, row: str) -> bytes:
        return seal(plain, context=self.context(row))

    def unseal(self, sealed: bytes | memoryview, *, row: str) -> str:
        """Return the secret of this row. Raises SealingError, as `portal.lib.sealing.unseal` does."""
        return unseal(sealed, context=self.context(row))

    def context(self, row: str) -> str:
        return f"{self.table}.{self.column}:{row}"


@dataclass(frozen=True, slots=True)
class SealedText:
    """As SealedColumn, a text column of a library's table, whose primary key `row` is."""

    table: str
    column: str
    row: str

    def seal(self, plain: str, *, row: str) -> str:
        return seal_text(plain, context=self.context(row))

    def unseal(self, sealed: str, *, row: str) -> str:
        """Return the secret of this row. Raises SealingError, as `portal.lib.sealing.unseal` does."""
        return unseal_text(sealed, context=self.context(row))

    def context(self, row: str) -> str:
        return f"{self.table}.{self.column}:{row}"


@dataclass(frozen=True, slots=True)
class SealedJson:
    """A JSON column of a library that holds sealed texts, or lists of them, under some names of each document.

    context: what all of them are bound to, as the library names no row. from_before: opens what was stored in
    another form; raises SealingError.
    """

    table: str
    column: str
    names: tuple[str, ...]
    context: str
    from_before: Callable[[str], str]

    def resealed(self, text: str) -> str:
        """Return the text under the newest key; the same one if it is. Raises SealingError."""
        if not is_sealed_text(text):
            return seal_text(self.from_before(text), context=self.context)
        sealed = bytes_of_text(text)
        return text_of(reseal(sealed, context=self.context)) if needs_reseal(sealed) else text
