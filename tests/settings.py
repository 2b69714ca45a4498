"""The portal's settings with what tests need different; tests/conftest.py provides the environment."""

import os

import dev.testing

# mypy and pytest both import the settings; only pytest has services running.
os.environ.update({name: value for name, value in dev.testing.placeholders().items() if name not in os.environ})

from portal.settings import *  # noqa: F403
from portal.settings import DATABASES, MIDDLEWARE

# Tests see every row, requests and tasks only their own: the superuser steps down to the app role for them.
DATABASES = {
    alias: DATABASES[alias] | {"CONN_MAX_AGE": 0, "CONN_HEALTH_CHECKS": False}
    for alias in ("default", "owner", "platform", "gateway")
}
DATABASES["default"] = DATABASES["default"] | dev.testing.superuser()
ONE_DATABASE_CONNECTION = True
MIDDLEWARE = ["tests.support.AppRoleMiddleware", *MIDDLEWARE]
# Django's test client holds the name of a session's row as its cookie, which opens nothing outside tests.
SESSION_ENGINE = "tests.sessions"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "invoice_files": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Something to sell credit through, which nobody answers for: tests of payments bring a double of their own.
STRIPE_SECRET_KEY = "sk_test_nobody"
STRIPE_API_URL = "http://127.0.0.1:9"
STRIPE_WEBHOOK_SECRETS = ["whsec_nobody"]
# Nothing is collected for tests: static files come from where they are written.
WHITENOISE_AUTOREFRESH = WHITENOISE_USE_FINDERS = True
