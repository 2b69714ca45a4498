from typing import Any

from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        # The last app that has tables: by then the rights of all of them are there.
        post_migrate.connect(_give_staff_their_rights, sender=apps.get_app_config("sessions"))


def _give_staff_their_rights(*, using: str, **_signal: Any) -> None:
    from accounts.services.staff import ensure_staff_groups  # noqa: PLC0415  # models are not there before

    ensure_staff_groups(using)
