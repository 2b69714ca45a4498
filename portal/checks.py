"""Settings that contradict each other stop `manage.py check`, with an id to look up."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from portal.lib.sealing import UnreadableKeys, check_keys
from portal.lib.signatures import UnreadableKey, read_public_keys

# Use is noted once a minute; anything near that would end sessions that are in use.
SHORTEST_IDLE_SECONDS = 300


@register()
def portal_settings(app_configs: Any, **_: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if settings.SECRET_KEY == settings.API_KEY_PEPPER:
        found.append(Error("SECRET_KEY and API_KEY_PEPPER are the same: one leak would open both.", id="portal.E001"))
    try:
        check_keys(settings.KEY_ENCRYPTION_KEYS)
    except UnreadableKeys as error:
        found.append(Error(f"KEY_ENCRYPTION_KEYS: {error}. No secret can be stored or read.", id="portal.E002"))
    if not settings.DEVELOPMENT and settings.PORTAL_URL.startswith("http://"):
        found.append(Error("PORTAL_URL must be https:// outside development.", id="portal.E003"))
    try:
        read_public_keys(settings.LEAK_REPORT_PUBLIC_KEYS)
    except UnreadableKey as error:
        found.append(Error(f"LEAK_REPORT_PUBLIC_KEYS: {error}.", id="portal.E004"))
    if settings.SESSION_IDLE_SECONDS < SHORTEST_IDLE_SECONDS:
        found.append(Error(f"SESSION_IDLE_SECONDS must be {SHORTEST_IDLE_SECONDS} or more.", id="portal.E005"))
    return found
