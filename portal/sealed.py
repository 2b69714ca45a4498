"""Every sealed secret of the database, and bringing them all under the newest key.

Each app registers its own columns in its `sealed.py`. How to change keys: docs/how-to/rotate-keys.md.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import structlog
from django.db import connection, transaction

import accounts.sealed
from portal.lib.sealed import SealedColumn, SealedJson, SealedText
from portal.lib.sealing import (
    HEADER_BYTES,
    SealingError,
    bytes_of_text,
    is_sealed_text,
    key_id_of,
    newest_header,
    reseal,
    text_of,
)
from portal.lib.sessions import CONTENT

log = structlog.get_logger(__name__)

type Registered = SealedColumn | SealedText | SealedJson
type Key = int | str

SEALED: tuple[Registered, ...] = (*accounts.sealed.COLUMNS, *accounts.sealed.JSON, CONTENT)

BATCH = 200
# What was stored before envelope encryption names no key of ours.
BEFORE = "before"


@dataclass(frozen=True, slots=True)
class Rotated:
    """What came of one column. failed: rows that no key of ours opens, which stay as they are and are in the log."""

    table: str
    column: str
    done: int
    failed: int


def rotate_secrets(*, batch: int = BATCH) -> Iterator[Rotated]:
    """Wrap every stored secret by the newest key, column by column. For the platform role.

    Each batch is a transaction of its own and chooses by what is stored, so it may be interrupted at any point and
    run again, beside a portal that serves people; rows that are changed meanwhile wait for their batch.
    """
    for one in SEALED:
        done = failed = 0
        after: Key = "" if isinstance(one, SealedText) else 0
        while rows := _batch(one, after, batch):
            for outcome in rows:
                done += outcome.is_done
                failed += outcome.is_failed
                after = outcome.pk
        log.info("portal.secrets.rotated", table=one.table, column=one.column, count=done, failed=failed)
        yield Rotated(one.table, one.column, done, failed)


def count_by_key() -> dict[tuple[str, str, str], int]:
    """Return how many secrets are under which key: (table, column, id of the key, or `before`) -> count.

    For the platform role. A key may be taken out of KEY_ENCRYPTION_KEYS once none of these names it.
    """
    counts: dict[tuple[str, str, str], int] = {}
    for one in SEALED:
        for key, count in _keys_of(one):
            counts[one.table, one.column, key] = counts.get((one.table, one.column, key), 0) + count
    return counts


@dataclass(frozen=True, slots=True)
class _Outcome:
    pk: Key
    is_done: bool = False
    is_failed: bool = False


# Names come from the registry, which is code.
_STALE = """
    SELECT id, {row}, {column} FROM {table}
    WHERE id > %s AND {column} IS NOT NULL AND substring({column} FOR %s) <> %s
    ORDER BY id LIMIT %s FOR NO KEY UPDATE
"""
_STALE_TEXTS = """
    SELECT {row}, {column} FROM {table} WHERE {row} > %s AND NOT starts_with({column}, %s)
    ORDER BY {row} LIMIT %s FOR NO KEY UPDATE
"""
_DOCUMENTS = """
    SELECT id, {column}::text FROM {table} WHERE id > %s AND jsonb_exists_any({column}, %s)
    ORDER BY id LIMIT %s FOR NO KEY UPDATE
"""
_WRITE = "UPDATE {table} SET {column} = %s WHERE {key} = %s"
# What says the key, and how often: sessions are many, and large.
_HEADERS = "SELECT substring({column} FOR %s), count(*) FROM {table} WHERE {column} IS NOT NULL GROUP BY 1"
_TEXT_HEADERS = "SELECT left({column}, %s), count(*) FROM {table} GROUP BY 1"
_ALL_DOCUMENTS = "SELECT {column}::text FROM {table} WHERE jsonb_exists_any({column}, %s)"


@transaction.atomic
def _batch(one: Registered, after: Key, size: int) -> list[_Outcome]:
    """Rotate the next rows behind a primary key; none are left when none come back."""
    with connection.cursor() as cursor:
        match one:
            case SealedColumn():
                query = _STALE.format(row=one.row, column=one.column, table=one.table)
                cursor.execute(query, [after, HEADER_BYTES, newest_header(), size])
                return [_rotate_value(one, *row) for row in cursor.fetchall()]
            case SealedText():
                query = _STALE_TEXTS.format(row=one.row, column=one.column, table=one.table)
                cursor.execute(query, [after, text_of(newest_header()), size])
                return [_rotate_text(one, *row) for row in cursor.fetchall()]
            case SealedJson():
                cursor.execute(_DOCUMENTS.format(column=one.column, table=one.table), [after, list(one.names), size])
                return [_rotate_document(one, *row) for row in cursor.fetchall()]


def _rotate_value(one: SealedColumn, pk: int, row: str, sealed: bytes) -> _Outcome:
    try:
        fresh = reseal(sealed, context=one.context(row))
    except SealingError as error:
        return _failed(one, pk, error)
    _write(one, pk, fresh)
    return _Outcome(pk, is_done=True)


def _rotate_text(one: SealedText, row: str, text: str) -> _Outcome:
    try:
        fresh = text_of(reseal(bytes_of_text(text), context=one.context(row)))
    except SealingError as error:
        return _failed(one, row, error)
    _write(one, row, fresh, key=one.row)
    return _Outcome(row, is_done=True)


def _rotate_document(one: SealedJson, pk: int, text: str) -> _Outcome:
    document = json.loads(text)
    try:
        fresh = document | {name: _resealed(one, document[name]) for name in one.names if name in document}
    except SealingError as error:
        return _failed(one, pk, error)
    if fresh == document:
        return _Outcome(pk)
    _write(one, pk, json.dumps(fresh))
    return _Outcome(pk, is_done=True)


def _resealed(one: SealedJson, value: str | list[str]) -> str | list[str]:
    return [one.resealed(text) for text in value] if isinstance(value, list) else one.resealed(value)


def _write(one: Registered, pk: Key, value: bytes | str, *, key: str = "id") -> None:
    with connection.cursor() as cursor:
        cursor.execute(_WRITE.format(table=one.table, column=one.column, key=key), [value, pk])


def _failed(one: Registered, pk: Key, error: SealingError) -> _Outcome:
    log.error("portal.secrets.not_rotated", table=one.table, column=one.column, row=pk, reason=str(error))
    return _Outcome(pk, is_failed=True)


def _keys_of(one: Registered) -> Iterator[tuple[str, int]]:
    """Yield the ids of the keys of a column's secrets, with how many are under each; one may come several times."""
    with connection.cursor() as cursor:
        match one:
            case SealedColumn():
                cursor.execute(_HEADERS.format(column=one.column, table=one.table), [HEADER_BYTES])
                yield from ((key_id_of(bytes(header)), count) for header, count in cursor.fetchall())
            case SealedText():
                cursor.execute(
                    _TEXT_HEADERS.format(column=one.column, table=one.table), [len(text_of(newest_header()))]
                )
                yield from ((_key_of_text(text), count) for text, count in cursor.fetchall())
            case SealedJson():
                cursor.execute(_ALL_DOCUMENTS.format(column=one.column, table=one.table), [list(one.names)])
                for (text,) in cursor.fetchall():
                    yield from ((_key_of_text(each), 1) for each in _texts(one, json.loads(text)))


def _texts(one: SealedJson, document: dict[str, str | list[str]]) -> Iterator[str]:
    for name in one.names:
        value = document.get(name, [])
        yield from value if isinstance(value, list) else [value]


def _key_of_text(text: str) -> str:
    return key_id_of(bytes_of_text(text)[:HEADER_BYTES]) if is_sealed_text(text) else BEFORE
