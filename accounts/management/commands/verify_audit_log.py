"""`manage.py verify_audit_log`: recompute the audit log of one organization or of all; fails when one is not whole.

It fails as well when nothing outside the database vouches for the end of one: a log that was cut off is whole.
"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from accounts.models import Organization
from accounts.services.audit_anchors import verify_audit_log
from portal.lib.tenancy import as_platform


class Command(BaseCommand):
    help = "Recompute audit logs and say what is not as it was written"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--organization", help="the address (slug) of one; all without it")

    def handle(self, *args: Any, organization: str | None, **options: Any) -> None:
        broken, unvouched = 0, 0
        with as_platform():
            wanted = Organization.objects.order_by("slug")
            if organization is not None:
                wanted = wanted.filter(slug=organization)
                if not wanted:
                    raise CommandError(f"There is no organization {organization}.")
            for one in wanted:
                result = verify_audit_log(organization=one, now=timezone.now())
                broken += bool(result.flaws)
                unvouched += not result.is_vouched_for
                self.stdout.write(f"{one.slug}: {result.count} entries, {len(result.flaws)} flaws")
                for flaw in result.flaws:
                    self.stdout.write(f"  entry {flaw.sequence}: {flaw.reason}")
                if not result.is_vouched_for:
                    last = f"last kept {result.kept_at:%Y-%m-%d %H:%M} UTC" if result.kept_at else "no digest is kept"
                    self.stdout.write(f"  nothing outside the database vouches for its end: {last}")
        problems = [f"{broken} audit logs are not as they were written."] if broken else []
        if unvouched:
            problems.append(f"Nothing outside the database vouches for the end of {unvouched} audit logs.")
        if problems:
            raise CommandError(" ".join(problems))
