"""What the quickstart shows."""

from dataclasses import dataclass
from datetime import datetime

from accounts.models import ApiKey, Organization, Scope
from catalog.models import ServedModel
from catalog.selectors import ServedModelRow, served_model_rows


@dataclass(frozen=True, slots=True)
class Quickstart:
    """models: chat models, the cheapest first. key_label: the newest key that can call them, masked, or empty."""

    models: tuple[ServedModelRow, ...]
    key_label: str


def quickstart_of(organization: Organization, at: datetime) -> Quickstart:
    chat = [row for row in served_model_rows(at) if row.kind == ServedModel.Kind.CHAT]
    usable = ApiKey.objects.owned_by(organization).filter(revoked_at=None, disabled_at=None, expires_at__gt=at)
    newest = usable.filter(scopes__contains=[Scope.INFERENCE.value]).newest_first().first()
    return Quickstart(
        models=tuple(sorted(chat, key=lambda row: (row.output_nano, row.name))),
        key_label=newest.label if newest else "",
    )
