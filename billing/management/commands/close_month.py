"""`manage.py close_month`: issue the invoices of one organization that are due, as the hourly task does for all."""

from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from accounts.models import Organization
from billing.services.month_closing import close_months_of
from portal.lib.errors import DomainError
from portal.lib.tenancy import as_platform


class Command(BaseCommand):
    help = "Draft and issue the invoices of an organization whose months are over"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("organization", help="its address, such as acme")
        parser.add_argument("--at", help="the instant to do it as of, in UTC, such as 2027-01-02T00:00; now by default")

    def handle(self, *args: Any, **options: Any) -> None:
        now = _instant(options["at"])
        with as_platform():
            organization = Organization.objects.filter(slug=options["organization"]).first()
            if organization is None:
                raise CommandError("There is no organization with this address.")
            try:
                issued = close_months_of(organization=organization, now=now)
            except DomainError as error:
                raise CommandError(str(error)) from error
        for invoice in issued:
            self.stdout.write(f"{invoice.number}: {invoice.period_start:%Y-%m}, {invoice.get_status_display().lower()}")
        self.stdout.write(f"{len(issued)} issued")


def _instant(text: str | None) -> datetime:
    if text is None:
        return timezone.now()
    try:
        instant = parse_datetime(text)
    except ValueError:
        instant = None
    if instant is None:
        raise CommandError("Write the instant like 2027-01-02T00:00.")
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
