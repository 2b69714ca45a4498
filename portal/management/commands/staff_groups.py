"""Give the groups of staff exactly their rights: after each migration of a deployment."""

from typing import Any

from django.core.management.base import BaseCommand

from accounts.services.staff import ensure_staff_groups
from portal.lib.tenancy import as_platform


class Command(BaseCommand):
    help = "Make the groups of staff, each with exactly the rights that are theirs. Safe to repeat."

    def handle(self, *args: Any, **options: Any) -> None:
        with as_platform():
            groups = ensure_staff_groups()
        self.stdout.write(f"{len(groups)} groups of staff have their rights.")
