"""`manage.py verify_audit_log`: recompute the audit log of one organization or of all; fails when one is not whole."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.models import Organization
from accounts.services.audit_anchors import verify_audit_log
from portal.lib.tenancy import as_platform


class Command(BaseCommand):
    help = "Recompute audit logs and say what is not as it was written"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--organization", help="the address (slug) of one; all without it")

    def handle(self, *args: Any, organization: str | None, **options: Any) -> None:
        broken = 0
        with as_platform():
            wanted = Organization.objects.order_by("slug")
            if organization is not None:
                wanted = wanted.filter(slug=organization)
                if not wanted:
                    raise CommandError(f"There is no organization {organization}.")
            for one in wanted:
                count, found = verify_audit_log(organization=one)
                broken += bool(found)
                self.stdout.write(f"{one.slug}: {count} entries, {len(found)} flaws")
                for flaw in found:
                    self.stdout.write(f"  entry {flaw.sequence}: {flaw.reason}")
        if broken:
            raise CommandError(f"{broken} audit logs are not as they were written.")
