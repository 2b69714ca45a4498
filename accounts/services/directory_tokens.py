"""Issue, use and revoke the secrets by which a directory provisions people."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from accounts.models import DirectoryToken, Membership
from accounts.selectors import organization_id_of_directory_token
from accounts.services.api_keys import TOUCH_AFTER
from accounts.services.audit import record_event
from accounts.services.members import lock_organization, manager
from portal.lib.errors import DomainError
from portal.lib.key_format import KeyKind, digest_of, kind_of, new_secret
from portal.lib.tenancy import set_organization


class UnableToIssueToken(DomainError):
    code = "unable_to_issue_directory_token"


# One that works and the one that takes its place.
MAXIMUM_ACTIVE = 2
LONGEST_LIFE = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A new token with its secret, which exists here and in the answer to the person, and nowhere else."""

    token: DirectoryToken
    secret: str


@transaction.atomic
def issue_directory_token(*, name: str, life: timedelta, by: Membership, now: datetime) -> IssuedToken:
    """Issue a token that works for `life`.

    Raises UnableToIssueToken for an empty name, a life of no or more than 365 days, if two work already, and if `by`
    may not manage members.
    """
    name = " ".join(name.split())
    if not name:
        raise UnableToIssueToken("Give the token a name, so that you know later what uses it.")
    if not timedelta() < life <= LONGEST_LIFE:
        raise UnableToIssueToken(f"A token lives for {LONGEST_LIFE.days} days at the most.")
    organization = lock_organization(by.organization_id)
    asker = manager(by, UnableToIssueToken)
    if DirectoryToken.objects.owned_by(organization).active(now).count() >= MAXIMUM_ACTIVE:
        raise UnableToIssueToken(f"{MAXIMUM_ACTIVE} tokens work already: revoke the one that nobody uses.")
    secret = new_secret(settings.KEY_BRAND, KeyKind.DIRECTORY)
    token = DirectoryToken.objects.create(
        organization=organization,
        name=name,
        digest=digest_of(secret, settings.API_KEY_PEPPER),
        prefix=f"{settings.KEY_BRAND}_{KeyKind.DIRECTORY.value}_",
        last_four=secret[-4:],
        created_by=asker.user,
        created_at=now,
        expires_at=now + life,
    )
    record_event(
        "directory_token.created",
        organization_id=organization.pk,
        target=("directory_token", token.public_id),
        changes={"name": (None, name), "expires_at": (None, f"{token.expires_at:%Y-%m-%dT%H:%M:%SZ}")},
        now=now,
    )
    return IssuedToken(token, secret)


@transaction.atomic
def revoke_directory_token(*, token: DirectoryToken, now: datetime) -> DirectoryToken:
    """End a token from the next request on; revoking a revoked one changes nothing. People stay what they are."""
    token = DirectoryToken.objects.select_for_update().get(pk=token.pk)
    if token.revoked_at is None:
        token.revoked_at = now
        token.save(update_fields=["revoked_at"])
        record_event(
            "directory_token.revoked",
            organization_id=token.organization_id,
            target=("directory_token", token.public_id),
            now=now,
        )
    return token


def token_of(secret: str, now: datetime) -> DirectoryToken | None:
    """Return the token of a secret if it works, and enter its organization; a malformed one costs no query."""
    if kind_of(secret, settings.KEY_BRAND) is not KeyKind.DIRECTORY:
        return None
    digest = digest_of(secret, settings.API_KEY_PEPPER)
    organization_id = organization_id_of_directory_token(digest)
    if organization_id is None:
        return None
    set_organization(organization_id)
    token = DirectoryToken.objects.select_related("organization").filter(digest=digest).first()
    return token if token is not None and token.is_usable(now) else None


def touch_directory_token(*, token: DirectoryToken, now: datetime) -> None:
    """Remember that a token was used, at most once a minute, after the transaction that it opened (see `touch_key`)."""
    if token.last_used_at is None or now - token.last_used_at >= TOUCH_AFTER:
        transaction.on_commit(partial(_touch, token, now), robust=True)


@transaction.atomic
def _touch(token: DirectoryToken, now: datetime) -> None:
    set_organization(token.organization_id)
    due = Q(last_used_at=None) | Q(last_used_at__lte=now - TOUCH_AFTER)
    DirectoryToken.objects.filter(due, pk=token.pk).update(last_used_at=now)
