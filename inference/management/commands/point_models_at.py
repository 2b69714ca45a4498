"""manage.py point_models_at URL: let one OpenAI-compatible server serve every listed model."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from inference.services.deployments import UnableToDeploy, point_models_at
from portal.lib.tenancy import as_platform


class Command(BaseCommand):
    help = "Let the server at URL (any OpenAI-compatible one) serve every listed model. Safe to repeat."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("url")

    def handle(self, *args: Any, url: str, **options: Any) -> None:
        try:
            with as_platform():
                count = point_models_at(base_url=url, now=timezone.now())
        except UnableToDeploy as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{count} models are served by {url}.")
