"""The environment variables of a development portal: embedded services, this checkout's own secrets."""

import base64
import hashlib
import os

from dev.database import ROLES, addresses, adopt_database
from dev.paths import VAR
from dev.services import Postgres, Valkey, secret_named

DATABASE = "headroom"


def secrets_environment() -> dict[str, str]:
    """Return the secrets that production takes from its operator."""
    return {
        "SECRET_KEY": secret_named("django"),
        "API_KEY_PEPPER": secret_named("pepper"),
        "KEY_ENCRYPTION_KEYS": _as_key("sealing"),
        # What a checkout stored before there were the others.
        "MFA_ENCRYPTION_KEYS": _as_key("mfa"),
        "MODEL_UPSTREAM_KEY": secret_named("demo-upstream"),
    }


def demo_stripe_environment(stripe_url: str) -> dict[str, str]:
    """Return how the portal finds the double of Stripe, and what both know."""
    return {
        "STRIPE_API_URL": stripe_url,
        "STRIPE_SECRET_KEY": f"sk_test_{secret_named('demo-stripe')}",
        "STRIPE_WEBHOOK_SECRETS": f"whsec_{secret_named('demo-stripe-webhooks')}",
        "DEMO_STRIPE_CONTROL_TOKEN": secret_named("demo-stripe-control"),
    }


def _as_key(name: str) -> str:
    """Return 32 bytes in base64, made of this checkout's random secret of that name."""
    return base64.urlsafe_b64encode(hashlib.sha256(secret_named(name).encode()).digest()).decode()


def development_environment(
    postgres: Postgres, valkey: Valkey, *, url: str, upstream_url: str, stripe_url: str
) -> dict[str, str]:
    """Return everything that settings.py reads, for a portal at `url`; what the caller's environment sets wins."""
    ours = {
        "DEVELOPMENT": "true",
        "PYTHONUNBUFFERED": "1",
        "VAR_DIR": str(VAR),
        "PORTAL_URL": url,
        "MODEL_UPSTREAM_URL": upstream_url,
        "REDIS_URL": os.environ.get("REDIS_URL", "") or valkey.url(),
        **secrets_environment(),
        # Whoever has a key of Stripe's has Stripe, and the double is not started.
        **({} if os.environ.get("STRIPE_SECRET_KEY") else demo_stripe_environment(stripe_url)),
        **(own_database() or addresses(postgres, DATABASE)),
    }
    theirs = {name: value for name, value in os.environ.items() if value and name not in ROLES.values()}
    return {**ours, **theirs}


def own_database() -> dict[str, str]:
    """Return the addresses of a database that the caller's environment names, one per role; nothing without one.

    Four addresses are taken as they are. DATABASE_URL alone must be an administrator's: the roles are then made
    there, with this checkout's passwords. Stops with a sentence for anything between.
    """
    given = {name: os.environ[name] for name in ROLES.values() if os.environ.get(name)}
    if not given or len(given) == len(ROLES):
        return given
    if set(given) != {"DATABASE_URL"}:
        missing = ", ".join(sorted(set(ROLES.values()) - set(given)))
        raise SystemExit(f"Set {missing} too, or DATABASE_URL alone with an administrator's address.")
    return adopt_database(given["DATABASE_URL"])
