"""`manage.py rotate_secrets`: bring stored secrets under the newest of KEY_ENCRYPTION_KEYS, or say where they are."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from portal.lib.sealing import SealingError, is_known_key, key_id_of, newest_header
from portal.lib.tenancy import as_platform
from portal.sealed import BEFORE, count_by_key, rotate_secrets


class Command(BaseCommand):
    help = "Wrap every stored secret by the newest of KEY_ENCRYPTION_KEYS. Safe to interrupt and to repeat."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="only count the secrets under each key")

    def handle(self, *args: Any, check: bool, **options: Any) -> None:
        try:
            newest = key_id_of(newest_header())
        except SealingError as error:
            raise CommandError(f"KEY_ENCRYPTION_KEYS: {error}") from error
        with as_platform():
            if not check:
                for one in rotate_secrets():
                    self.stdout.write(f"{one.table}.{one.column}: {one.done} rotated, {one.failed} failed")
            counts = count_by_key()
        lost = 0
        for (table, column, key), count in sorted(counts.items()):
            is_lost = key != BEFORE and not is_known_key(key)
            lost += count if is_lost else 0
            note = " (newest)" if key == newest else " (not in KEY_ENCRYPTION_KEYS)" if is_lost else ""
            self.stdout.write(f"{table}.{column}: {count} under {key}{note}")
        if lost:
            raise CommandError(f"{lost} secrets are under a key that is gone: put it back, behind the others.")
        if not check and any(key != newest for _table, _column, key in counts):
            raise CommandError("Some secrets could not be rotated; the log says which and why.")
