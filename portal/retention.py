"""Every table of the database, how long it is kept, and the deleting of what is past its time.

Each app registers its own in its `retention.py`; a table that none names fails tests/portal/test_retention.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import structlog
from django.db import OperationalError, connection, transaction

import accounts.retention
import billing.retention
import catalog.retention
import compute.retention
import inference.retention
from portal.lib.retention import AfterClosing, Deleted, LeftOut, Part, Table

log = structlog.get_logger(__name__)

TABLES: tuple[Table, ...] = (
    *accounts.retention.TABLES,
    *catalog.retention.TABLES,
    *billing.retention.TABLES,
    *compute.retention.TABLES,
    *inference.retention.TABLES,
)

BATCH = 5_000
# A run ends well before a task has to; what is left is the next run's.
MOST_BATCHES = 40


# Names and conditions come from the registry, which is code.
_DELETE = """
    DELETE FROM {table} WHERE ctid = ANY (ARRAY(
        SELECT t.ctid FROM {table} AS t
        WHERE t.{counted_from} <= %(before)s AND NOT ({held}) AND NOT ({unless}) LIMIT %(most)s))
"""
_OF_CLOSED = """EXISTS (SELECT FROM accounts_organization AS o
    WHERE o.id = t.organization_id AND o.closed_at <= %(before)s AND NOT o.legal_hold)"""
_DELETE_OF_CLOSED = """
    DELETE FROM {table} WHERE ctid = ANY (ARRAY(
        SELECT t.ctid FROM {table} AS t WHERE {of_closed} LIMIT %(most)s))
"""
_CLEAR_OF_CLOSED = """
    UPDATE {table} SET {emptied} WHERE ctid = ANY (ARRAY(
        SELECT t.ctid FROM {table} AS t WHERE concat({columns}) <> '' AND {of_closed} LIMIT %(most)s))
"""


@dataclass(frozen=True, slots=True)
class _Pass:
    """One statement that takes away at most `%(most)s` rows a time. through: or the owner's function that does."""

    table: str
    statement: str
    before: datetime
    through: str = ""


def _passes(now: datetime) -> Iterator[_Pass]:
    for table in TABLES:
        if isinstance(rule := table.rule, Deleted):
            statement = _DELETE.format(
                table=table.name, counted_from=rule.counted_from, held=rule.held, unless=rule.unless
            )
            yield _Pass(table.name, statement, rule.after.before(now), rule.through)
    # Backwards, because what refers to a row is registered after it.
    for table in reversed(TABLES):
        if (closing := table.after_closing) is not None:
            yield _Pass(table.name, _of_closed(table.name, closing), closing.after.before(now))


def _of_closed(table: str, closing: AfterClosing) -> str:
    if not closing.clears:
        return _DELETE_OF_CLOSED.format(table=table, of_closed=_OF_CLOSED)
    emptied = ", ".join(f"{column} = ''" for column in closing.clears)
    return _CLEAR_OF_CLOSED.format(
        table=table,
        emptied=emptied,
        columns=", ".join(f"t.{column}" for column in closing.clears),
        of_closed=_OF_CLOSED,
    )


def delete_past(*, now: datetime, batch: int = BATCH, most_batches: int = MOST_BATCHES) -> bool:
    """Delete what is past its time from every table that says so; return whether nothing is left to delete.

    For the platform role. Each batch is a transaction of its own, and safe to repeat. What a legal hold keeps stays.
    """
    left = most_batches
    for one in _passes(now):
        count = 0
        while left > 0:
            try:
                gone = _take_batch(one, batch)
            except OperationalError:
                # Somebody else holds the table for longer than we wait: the others need not wait for the next run.
                log.exception("portal.retention.unable", table=one.table)
                break
            count += gone
            # Looking in vain costs nothing, or the last of many tables would never have its turn.
            left -= gone > 0
            if gone == 0 or (gone < batch and not one.through):
                break
        log.info("portal.retention.deleted", table=one.table, count=count)
    return left > 0


@transaction.atomic
def _take_batch(one: _Pass, most: int) -> int:
    with connection.cursor() as cursor:
        if one.through:
            cursor.execute(f"SELECT {one.through}(%s)", [most])
            return int(cursor.fetchone()[0])
        cursor.execute(one.statement, {"before": one.before, "most": most})
        return int(cursor.rowcount)


HEAD = """# What is kept, and for how long

Made by `manage.py retention_table > docs/retention.md` from the `retention.py` of every app; tests compare the two, and
fail for a table of the database that is not in here. What has a time is deleted by a daily job (`portal/retention.py`);
an organization under a legal hold loses nothing, nor do its members. What is personal or opens something goes earlier
once an organization was closed; what was billed and the audit log stay.

Append-only tables (receipts, usage events) stay append-only for every role of the portal: what deletes from them is a
function of the tables' owner, whose condition, the age and no legal hold, is written in a migration and cannot be
passed to it. The audit log has no such function: each entry is tied to the one before it, so none may go.
"""


def retention_table() -> str:
    """Return docs/retention.md."""
    lines = ["| Table | What it holds | Whose | Kept | Why |", "| --- | --- | --- | --- | --- |"]
    lines += [f"| `{t.name}` | {t.holds} | {t.whose.value} | {t.kept} | {t.why} |" for t in TABLES]
    lines += ["", "## What may say who somebody is", ""]
    lines += ["| Column | When the person is erased |", "| --- | --- |"]
    lines += [
        f"| `{t.name}.{one.column}` | {f'stays: {one.kept}' if one.kept else 'removed'} |"
        for t in TABLES
        for one in t.personal
    ]
    lines += ["", "## What can be taken along", ""]
    lines += ["| Table | By the organization | By the person |", "| --- | --- | --- |"]
    lines += [
        f"| `{t.name}` | {_export(t.of_organization)} | {_export(t.of_person)} |"
        for t in TABLES
        if t.of_organization or t.of_person
    ]
    return f"{HEAD}\n" + "\n".join(lines) + "\n"


def _export(part: Part | LeftOut | None) -> str:
    match part:
        case Part():
            return f"`{part.name}`"
        case LeftOut():
            return f"no: {part.why}"
    return ""
