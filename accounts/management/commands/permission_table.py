"""`manage.py permission_table`: what each role may do, as docs/permissions.md says it."""

from typing import Any

from django.core.management.base import BaseCommand

from accounts.models import PERMISSIONS_OF_ROLE, Permission, Role

HEAD = """# What each role may do

Made by `manage.py permission_table > docs/permissions.md` from `accounts/models/role.py`; a test compares the two.
Every page asks for exactly one permission (`tests/test_tenancy.py` lists which); people outside the organization
get 404, members without the permission 403. API keys are bound by their scopes instead.
"""


def permission_table() -> str:
    lines = [
        "| Permission | " + " | ".join(str(role.label) for role in Role) + " |",
        "| --- |" + " --- |" * len(Role),
    ]
    for permission in Permission:
        marks = ["yes" if permission in PERMISSIONS_OF_ROLE[role] else "no" for role in Role]
        lines.append(f"| {permission.label} (`{permission.value}`) | " + " | ".join(marks) + " |")
    return f"{HEAD}\n" + "\n".join(lines) + "\n"


class Command(BaseCommand):
    help = "Print what each role may do, as Markdown."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(permission_table(), ending="")
