"""`manage.py retention_table`: how long every table is kept, as docs/retention.md says it."""

from typing import Any

from django.core.management.base import BaseCommand

from portal.retention import retention_table


class Command(BaseCommand):
    help = "Print how long every table is kept, as Markdown."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(retention_table(), ending="")
