"""Look for secrets in whatever was kept: every value of every row, as it stands and behind what may hide it."""

import base64
import binascii
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping

from django.db import connection

PACKED = re.compile(rb"[A-Za-z0-9+/_-]{16,}={0,2}")


def dump() -> Iterator[tuple[str, bytes]]:
    """Yield table.column and every value in the database that is not null, bytes as they are."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, a.attname, a.atttypid = 'bytea'::regtype FROM pg_class c"
            " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
            " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') ORDER BY 1, 2"
        )
        for table, column, is_bytes in cursor.fetchall():
            value = f'"{column}"' if is_bytes else f'"{column}"::text'
            cursor.execute(f'SELECT {value} FROM "{table}" WHERE "{column}" IS NOT NULL')
            for (found,) in cursor.fetchall():
                yield f"{table}.{column}", bytes(found) if is_bytes else found.encode()


def layers(value: bytes, depth: int = 3) -> Iterator[bytes]:
    """Yield a value and whatever base64 and zlib hide in it."""
    yield value
    if depth:
        for token in PACKED.findall(value):
            for opened in _unpacked(token):
                yield from layers(opened, depth - 1)


def _unpacked(token: bytes) -> Iterator[bytes]:
    try:
        opened = base64.b64decode(token.rstrip(b"=") + b"=" * (-len(token.rstrip(b"=")) % 4), altchars=b"-_")
    except binascii.Error:
        return
    yield opened
    try:
        yield zlib.decompress(opened)
    except zlib.error:
        return


def spellings(secret: str) -> set[bytes]:
    raw = secret.encode()
    return {raw, raw.hex().encode(), raw.hex().upper().encode(), json.dumps(secret)[1:-1].encode()}


def packed(secret: str) -> set[bytes]:
    """Return what of its base64 is the same whatever stands before and after it, for the three ways it may begin."""
    found = set()
    for before in range(3):
        code = base64.b64encode(b"x" * before + secret.encode() + b"x" * (-(before + len(secret)) % 3))
        core = code[4 if before else 0 : -4]
        found |= {core, core.replace(b"+", b"-").replace(b"/", b"_")}
    return found


def places_of(secrets: Mapping[str, str], values: Iterable[tuple[str, bytes]] | None = None) -> set[tuple[str, str]]:
    """Return what was found where. values: each with its place; all of the database if they are not given."""
    wanted = [(name, spelling) for name, secret in secrets.items() for spelling in spellings(secret)]
    return {
        (name, place)
        for place, value in (dump() if values is None else values)
        for layer in layers(value)
        for name, spelling in wanted
        if spelling in layer
    }
