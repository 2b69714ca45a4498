"""What an organization or a person takes along: every table that the registry says is theirs, as JSON.

Rows are read in batches, each in a transaction of its own, since the answer is sent after the request's has ended.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction
from django.utils.translation import gettext as _

from accounts.models import Organization, User
from portal.lib.context import remember_organization
from portal.lib.retention import Deleted, Kept, LeftOut, Part
from portal.lib.tenancy import as_platform, set_organization
from portal.retention import TABLES

BATCH = 2_000
ALWAYS_HIDDEN = ("id", "organization_id")

# What a part has that says nothing else.
_OF_ORGANIZATION = "t.organization_id = %(organization)s"

type Value = str | int | datetime


@dataclass(frozen=True, slots=True)
class ExportRow:
    """A line of the page: a part of the export, what is in it, and how long that is kept."""

    name: str
    holds: str
    kept: str


def organization_rows() -> list[ExportRow]:
    return [
        ExportRow(f"{table.of_organization.name}.jsonl", table.holds, _words(table.rule))
        for table in TABLES
        if isinstance(table.of_organization, Part)
    ]


def person_rows() -> list[ExportRow]:
    return [
        ExportRow(table.of_person.name, table.holds, _words(table.rule))
        for table in TABLES
        if isinstance(table.of_person, Part)
    ]


def _words(rule: Deleted | Kept) -> str:
    return str(rule.after if isinstance(rule, Deleted) else rule)


def organization_files(organization: Organization, now: datetime) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield a file of JSON lines for each table of the organization, and one that says what they are."""
    yield "README.txt", iter([_readme(organization, now).encode()])
    values = {"organization": organization.pk}
    for table in TABLES:
        if isinstance(table.of_organization, Part):
            rows = _rows(table.name, table.of_organization, values, organization)
            yield f"{table.of_organization.name}.jsonl", (f"{row}\n".encode() for row in rows)


def _readme(organization: Organization, now: datetime) -> str:
    lines = [
        _("%(name)s (%(id)s), %(time)s UTC. One JSON object per line; money in nano-dollars unless it says otherwise.")
        % {"name": organization.name, "id": organization.public_id, "time": f"{now:%Y-%m-%d %H:%M:%S}"},
        "",
        *(f"{row.name}: {row.holds}" for row in organization_rows()),
        "",
        _("Not in here:"),
        *(
            f"{table.holds}: {table.of_organization.why}"
            for table in TABLES
            if isinstance(table.of_organization, LeftOut)
        ),
    ]
    return "\n".join([*lines, ""])


def person_document(user: User, now: datetime) -> Iterator[bytes]:
    """Yield one JSON object with everything that is about the person, in whichever organization.

    Read as the platform role: people take along also what they did in organizations that they have left.
    """
    head = {"person": user.public_id, "exported_at": f"{now:%Y-%m-%dT%H:%M:%SZ}"}
    yield json.dumps(head)[:-1].encode()
    values: dict[str, Value] = {"user": user.pk, "public_id": user.public_id}
    for table in TABLES:
        if isinstance(table.of_person, Part):
            yield f', "{table.of_person.name}": ['.encode()
            for number, row in enumerate(_rows(table.name, table.of_person, values, None)):
                yield f"{', ' if number else ''}{row}".encode()
            yield b"]"
    left_out = {table.holds: table.of_person.why for table in TABLES if isinstance(table.of_person, LeftOut)}
    yield f', "not_in_here": {json.dumps(left_out)}}}\n'.encode()


@contextmanager
def _transaction_of(organization: Organization | None) -> Iterator[None]:
    """Read within an organization, or without one as the platform."""
    role: AbstractContextManager[None] = nullcontext() if organization else as_platform()
    try:
        with role, transaction.atomic():
            if organization:
                set_organization(organization.pk)
            yield
    finally:
        remember_organization(None)


def _rows(table: str, part: Part, values: Mapping[str, Value], organization: Organization | None) -> Iterator[str]:
    """Yield the rows of a part as JSON, in the order of its key."""
    hidden = [*ALWAYS_HIDDEN, *part.hidden, *part.shown]
    last: tuple[Value, ...] | None = None
    while True:
        behind = {f"key_{number}": value for number, value in enumerate(last or ())}
        with _transaction_of(organization), connection.cursor() as cursor:
            cursor.execute(_statement(table, part, is_first=last is None), {**values, **behind, "hidden": hidden})
            found = cursor.fetchall()
        yield from (row[0] for row in found)
        if len(found) < BATCH:
            return
        last = tuple(found[-1][1:])


def _statement(table: str, part: Part, *, is_first: bool) -> str:
    shown = ", ".join(f"'{column.removesuffix('_id')}', {sql}" for column, sql in part.shown.items())
    key = ", ".join(f"t.{column}" for column in part.key)
    behind = ", ".join(f"%(key_{number})s" for number, _column in enumerate(part.key))
    rows = f"({part.where or _OF_ORGANIZATION}) AND ({part.only})"
    # Names and conditions come from the registry, which is code; values are bound.
    return (
        f"SELECT ((to_jsonb(t) - %(hidden)s::text[]) || jsonb_build_object({shown}))::text, {key}"  # noqa: S608
        f" FROM {table} AS t WHERE {rows} {'' if is_first else f'AND ({key}) > ({behind})'}"
        f" ORDER BY {key} LIMIT {BATCH}"
    )
