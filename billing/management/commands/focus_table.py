"""`manage.py focus_table`: the columns of the FOCUS export, as docs/how-to/read-costs-as-focus.md has them."""

from typing import Any

from django.core.management.base import BaseCommand

from billing.invoicing.focus import columns


def focus_table() -> str:
    lines = ["| Column | Type | Level | Null | What it says | Only |", "|---|---|---|---|---|---|"]
    for name, column, nullable in columns():
        only = ", ".join(sorted(column.allowed))
        null = "yes" if nullable else "no"
        lines.append(f"| `{name}` | {column.kind} | {column.level} | {null} | {column.meaning} | {only} |")
    return "\n".join(lines) + "\n"


class Command(BaseCommand):
    help = "Print the columns of the FOCUS export, as Markdown"

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(focus_table(), ending="")
