"""`manage.py permission_table`: what each role may do, as docs/permissions.md says it."""

from collections.abc import Container, Mapping, Sequence
from typing import Any

from django.core.management.base import BaseCommand

from accounts.models import (
    CLOSED_WHILE_STOPPED,
    PERMISSION_OF_SCOPE,
    PERMISSIONS_OF_PROJECT_ROLE,
    PERMISSIONS_OF_ROLE,
    SCOPES_OF_PROJECT,
    Permission,
    ProjectRole,
    Role,
    Scope,
)

HEAD = """# What each role may do

Made by `manage.py permission_table > docs/permissions.md` from `accounts/models/role.py`; a test compares the two.
Every page asks for exactly one permission (`tests/test_tenancy.py` lists which); people outside the organization
get 404, members without the permission 403. API keys are bound by their scopes instead.
"""

PROJECTS = """
## What a part in a project adds

Within that project only, whatever the role in the organization. Launching and keys of other projects stay closed, and
so does what belongs to the whole organization; but whoever launches may add an SSH key, and is shown what the budget
has left.
"""

SCOPES = """
## Who may give a key which scope

Nobody gives a key what they may not do themselves. Most scopes reach the whole organization, so the role decides; a
scope that reaches no further than the key's project may also be given by whoever may manage keys there. The same holds
for changing and rotating a key that has the scope, and for enabling a service account that may give it. A key that
somebody made for themselves ends when its owner may no longer give its scopes.
"""

STOPPED = """
## What is open while work is stopped for an unpaid bill

Pages and answers are read as ever. What a suspended or terminated organization may change besides depends on the
permission, or the permission that a key's scope stands for; refusals answer 402 with the way back. Departing from it,
keys and service accounts are revoked, disabled and deleted, instances stopped and ended and SSH keys deleted, and caps
are not touched. `tests/test_suspended_doors.py` has every operation.
"""


def permission_table() -> str:
    given = [one for one in Permission if any(one in of for of in PERMISSIONS_OF_PROJECT_ROLE.values())]
    roles = _table("Permission", list(Role), [(_named(one), _marks(one, PERMISSIONS_OF_ROLE)) for one in Permission])
    parts = _table(
        "Permission", list(ProjectRole), [(_named(one), _marks(one, PERMISSIONS_OF_PROJECT_ROLE)) for one in given]
    )
    scopes = _table("Scope", [*Role, *ProjectRole], [(_named(scope), _givers(scope)) for scope in Scope])
    closed = _table(
        "Permission", ["Open"], [(_named(one), ["no" if one in CLOSED_WHILE_STOPPED else "yes"]) for one in Permission]
    )
    return f"{HEAD}\n{roles}{PROJECTS}\n{parts}{SCOPES}\n{scopes}{STOPPED}\n{closed}"


def _named(one: Permission | Scope) -> str:
    return f"{one.label} (`{one.value}`)"


def _marks[R: (Role, ProjectRole)](permission: Permission, table: Mapping[R, Container[Permission]]) -> list[str]:
    return ["yes" if permission in permissions else "no" for permissions in table.values()]


def _givers(scope: Scope) -> list[str]:
    manages = _marks(Permission.MANAGE_KEYS, PERMISSIONS_OF_PROJECT_ROLE)
    by_part = [
        "in the project" if scope in SCOPES_OF_PROJECT and mark == "yes" else "as their role" for mark in manages
    ]
    return [*_marks(PERMISSION_OF_SCOPE[scope], PERMISSIONS_OF_ROLE), *by_part]


def _table(head: str, columns: Sequence[Role | ProjectRole | str], rows: Sequence[tuple[str, list[str]]]) -> str:
    labels = [column.label if isinstance(column, Role | ProjectRole) else column for column in columns]
    lines = [
        f"| {head} | " + " | ".join(map(str, labels)) + " |",
        "| --- |" + " --- |" * len(columns),
        *(f"| {name} | " + " | ".join(marks) + " |" for name, marks in rows),
    ]
    return "\n".join(lines) + "\n"


class Command(BaseCommand):
    help = "Print what each role may do, as Markdown."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(permission_table(), ending="")
