"""manage.py load_catalog: make the catalog say what catalog/data/*.toml say."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from catalog.services.catalog_files import SHIPPED_FOLDER, BadCatalogFiles, read_catalog_files
from catalog.services.loading import load_catalog
from portal.lib.tenancy import as_platform


class Command(BaseCommand):
    help = "Load regions, shapes, images, models and prices from TOML files. Safe to repeat."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--check", action="store_true", help="only say whether the files are right")
        parser.add_argument("--from", type=Path, default=SHIPPED_FOLDER, dest="folder", help="folder with the files")

    def handle(self, *args: Any, folder: Path, check: bool, **options: Any) -> None:
        try:
            files = read_catalog_files(folder)
            if check:
                self.stdout.write(
                    f"Right: {len(files.instance_types)} instance types and {len(files.served_models)} models."
                )
                return
            with as_platform():
                loaded = load_catalog(files=files, now=timezone.now())
        except BadCatalogFiles as error:
            raise CommandError(f"Nothing was changed.\n{error}") from error
        self.stdout.write(
            f"{loaded.sku_count} prices: {loaded.new_price_count} new, {loaded.changed_price_count} change at the"
            f" next full hour; {loaded.unlisted_count} entries are no longer offered."
        )
