"""Reads across apps for the pages at the top: home, overview, status."""

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings

from catalog.models import ServedModel
from catalog.selectors import InstanceTypeRow, ServedModelRow, instance_type_rows, served_model_rows
from portal.lib.snippets import Snippet, chat_snippets

SHOWN = 5


@dataclass(frozen=True, slots=True)
class Offer:
    """What the home page shows of the price list; all of it is empty while nothing is priced."""

    models: tuple[ServedModelRow, ...]
    instance_types: tuple[InstanceTypeRow, ...]
    model_count: int
    instance_type_count: int
    snippets: tuple[Snippet, ...]


def offer(at: datetime) -> Offer:
    """Return the newest models, the machines with one accelerator, and how to call the first chat model."""
    models = sorted(served_model_rows(at), key=lambda row: (-(row.released_on or at.date()).toordinal(), row.name))
    instance_types = instance_type_rows(at)
    chat = [row for row in models if row.kind == ServedModel.Kind.CHAT]
    return Offer(
        models=tuple((chat or models)[:SHOWN]),
        instance_types=tuple([row for row in instance_types if row.accelerator_count == 1][:SHOWN]),
        model_count=len(models),
        instance_type_count=len(instance_types),
        snippets=chat_snippets(f"{settings.PORTAL_URL}/v1", chat[0].name) if chat else (),
    )
