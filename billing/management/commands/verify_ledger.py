"""`manage.py verify_ledger`: sum all entries of the ledger again; fails where an account says something else."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from billing.services.ledger_proof import report_ledger
from portal.lib.money import decimal_string
from portal.lib.tenancy import as_platform


class Command(BaseCommand):
    help = "Recompute every account of the ledger from its entries and say which differ"

    def handle(self, *args: Any, **options: Any) -> None:
        with as_platform():
            proof = report_ledger()
        self.stdout.write(f"{proof.account_count} accounts, {proof.entry_count} entries")
        self.stdout.write(
            f"debits {decimal_string(proof.debits_nano)}, credits {decimal_string(proof.credits_nano)} USD"
        )
        for difference in proof.differences:
            self.stdout.write(f"  {difference}")
        if not proof.is_whole:
            raise CommandError(f"{proof.difference_count} accounts are not what their entries say.")
