"""Which columns of people and organizations hold secrets that we must read again. Everything else is a digest.

`portal.sealed` collects these of all apps; `manage.py rotate_secrets` goes through them.
"""

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from portal.lib.sealed import SealedColumn, SealedJson
from portal.lib.sealing import NotSealedForThis, is_sealed_text, seal_text, unseal_text

# django-allauth writes this column and names no row, so these are bound to the column alone.
SECOND_FACTORS = "mfa_authenticator.data"


def seal_factor(text: str) -> str:
    """Return the seed or code of a second factor as it is stored."""
    return seal_text(text, context=SECOND_FACTORS)


def unseal_factor(text: str) -> str:
    """Return the seed or code. Raises SealingError for what no key of ours opens."""
    if is_sealed_text(text):
        return unseal_text(text, context=SECOND_FACTORS)
    return _from_before(text)


def _from_before(text: str) -> str:
    """Open what was stored before envelope encryption, until `rotate_secrets` has been there."""
    try:
        return MultiFernet([Fernet(key) for key in settings.MFA_ENCRYPTION_KEYS]).decrypt(text.encode()).decode()
    except (InvalidToken, ValueError) as error:
        raise NotSealedForThis("no key of MFA_ENCRYPTION_KEYS opens the second factor") from error


# Columns of our own tables.
AUDIT_SECRET = SealedColumn("accounts_auditendpoint", "secret")
AUDIT_FORMER_SECRET = SealedColumn("accounts_auditendpoint", "former_secret")
SSO_CLIENT_SECRET = SealedColumn("accounts_ssoconnection", "client_secret")
COLUMNS = (AUDIT_SECRET, AUDIT_FORMER_SECRET, SSO_CLIENT_SECRET)
# Columns of libraries.
JSON: tuple[SealedJson, ...] = (
    SealedJson(
        table="mfa_authenticator",
        column="data",
        names=("secret", "seed", "migrated_codes"),
        context=SECOND_FACTORS,
        from_before=_from_before,
    ),
)
