"""Read settings from the environment; a value we cannot read stops the program.

Every name may instead be given as NAME_FILE, the path of a file that holds the value (for mounted secrets).
"""

import os
from decimal import Decimal, InvalidOperation
from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured

_environment = environ.Env()


def text(name: str, default: str | None = None) -> str:
    """Return NAME, or the content of the file NAME_FILE. Raises ImproperlyConfigured without either and no default."""
    if path := os.environ.get(f"{name}_FILE"):
        try:
            return Path(path).read_text().strip()
        except OSError as error:
            raise ImproperlyConfigured(f"{name}_FILE: {error}") from error
    value = os.environ.get(name, default)
    if value is None:
        raise ImproperlyConfigured(f"{name} is not set; .env.example says what it is")
    return value


secret = text


def flag(name: str, default: bool) -> bool:
    value = text(name, str(default)).lower()
    if value not in ("true", "false"):
        raise ImproperlyConfigured(f"{name} must be true or false, not {value!r}")
    return value == "true"


def number(name: str, default: int) -> int:
    value = text(name, str(default))
    try:
        return int(value)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {value!r}") from error


def decimal(name: str, default: str) -> Decimal:
    value = text(name, default)
    try:
        return Decimal(value)
    except InvalidOperation as error:
        raise ImproperlyConfigured(f"{name} must be a decimal number, not {value!r}") from error


def names(name: str, default: str = "") -> list[str]:
    """Return a comma-separated list without empty entries."""
    return [part.strip() for part in text(name, default).split(",") if part.strip()]


def database(name: str) -> dict[str, object]:
    """Return Django's database settings for an address like postgres://user:password@host:port/name."""
    address = text(name)
    try:
        found: dict[str, object] = _environment.db_url_config(address)
    except Exception as error:
        raise ImproperlyConfigured(f"{name} is not a database address") from error
    if found.get("ENGINE") != "django.db.backends.postgresql":
        raise ImproperlyConfigured(f"{name} must be a postgres:// address: row-level security needs PostgreSQL")
    return found
