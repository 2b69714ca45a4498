"""The settings of production, for tests of what a browser is told: the file is read again as `DEVELOPMENT=false`."""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from django.test import override_settings

from dev.check import PRODUCTION
from dev.paths import ROOT
from portal import settings as those_of_development

HOST = urlsplit(PRODUCTION["PORTAL_URL"]).hostname or ""
# Where things are and with what they are sealed stays as it is in tests.
OF_BROWSERS = (
    "DEVELOPMENT",
    "PORTAL_URL",
    "ALLOWED_HOSTS",
    "SECURE_",
    "SESSION_",
    "CSRF_",
    "MESSAGE_",
    "MFA_WEBAUTHN_",
)


def settings_of_production() -> dict[str, Any]:
    """Return every setting that a browser is told of and that differs from development's."""
    before = dict(os.environ)
    spec = importlib.util.spec_from_file_location("settings_of_production", ROOT / "portal" / "settings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    os.environ.update(PRODUCTION)
    try:
        spec.loader.exec_module(module)
    finally:
        os.environ.clear()
        os.environ.update(before)
    return {
        name: value
        for name, value in vars(module).items()
        if name.startswith(OF_BROWSERS) and value != getattr(those_of_development, name)
    }


@contextmanager
def in_production() -> Iterator[None]:
    """Serve as production does. Clients ask for `https://{HOST}`: `Client(SERVER_NAME=HOST)`, `secure=True`."""
    with override_settings(**settings_of_production()):
        yield
