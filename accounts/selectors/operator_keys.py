"""Operator keys as staff see them."""

from dataclasses import dataclass
from datetime import datetime

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType

from accounts.models import OperatorKey, OperatorScope


@dataclass(frozen=True, slots=True)
class OperatorKeyRow:
    """former: the masked secret before the present one and until when it works, empty for none that does."""

    public_id: str
    name: str
    label: str
    scopes: str
    state: str
    former: str
    created_at: datetime
    last_used_at: datetime | None
    history: list[str]


def operator_key_rows(now: datetime) -> list[OperatorKeyRow]:
    """Return all operator keys, newest first, each with what staff did to it."""
    keys = list(OperatorKey.objects.order_by("-created_at", "-pk"))
    entries = LogEntry.objects.filter(
        content_type=ContentType.objects.get_for_model(OperatorKey), object_id__in=[key.public_id for key in keys]
    )
    history: dict[str, list[str]] = {}
    for entry in entries.select_related("user").order_by("action_time", "pk"):
        words = f"{entry.action_time:%Y-%m-%d %H:%M} {entry.user.public_id}: {entry.change_message}"
        history.setdefault(str(entry.object_id), []).append(words)
    return [_row(key, history.get(key.public_id, []), now) for key in keys]


def _row(key: OperatorKey, history: list[str], now: datetime) -> OperatorKeyRow:
    until = key.former_valid_until
    is_former_alive = until is not None and until > now
    return OperatorKeyRow(
        public_id=key.public_id,
        name=key.name,
        label=key.label,
        scopes=", ".join(str(OperatorScope(scope).label) for scope in key.scopes),
        state=str(key.state(now).label),
        former=f"{key.prefix}…{key.former_last_four} until {until:%Y-%m-%d %H:%M:%S}" if is_former_alive else "",
        created_at=key.created_at,
        last_used_at=key.last_used_at,
        history=history,
    )
