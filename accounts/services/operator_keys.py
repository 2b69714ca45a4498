"""Keys of the owner's own systems: issued, rotated and revoked by Capacity staff, each step in the admin's log."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from django.conf import settings
from django.db import transaction

from accounts.models import OperatorKey, Overlap, User
from accounts.models.api_key import OperatorScope
from accounts.services.api_keys import TOUCH_AFTER
from accounts.services.staff_log import note_addition, note_change
from portal.lib.errors import DomainError
from portal.lib.key_format import KeyKind, digest_of, new_secret

PERMISSION = "accounts.change_operatorkey"


class UnableToChangeOperatorKey(DomainError):
    code = "unable_to_change_operator_key"


@dataclass(frozen=True, slots=True)
class IssuedOperatorKey:
    """A key with its secret, which exists here and in the answer to the person, and nowhere else."""

    operator_key: OperatorKey
    secret: str


@transaction.atomic
def issue_operator_key(
    *, name: str, scopes: Sequence[OperatorScope], by: User | None, now: datetime
) -> IssuedOperatorKey:
    """Issue a key for the owner's own systems; it works until it is revoked.

    by: None only where the installation itself makes one. Raises UnableToChangeOperatorKey if `by` may not, for an
    empty name or without a scope.
    """
    _check(by)
    name = " ".join(name.split())
    if not name:
        raise UnableToChangeOperatorKey("Give the key a name, so that you know later what uses it.")
    if not scopes:
        raise UnableToChangeOperatorKey("Choose at least one scope.")
    secret = new_secret(settings.KEY_BRAND, KeyKind.OPERATOR)
    operator_key = OperatorKey.objects.create(
        name=name,
        scopes=[scope.value for scope in scopes],
        digest=digest_of(secret, settings.API_KEY_PEPPER),
        prefix=f"{settings.KEY_BRAND}_{KeyKind.OPERATOR.value}_",
        last_four=secret[-4:],
        created_at=now,
    )
    if by is not None:
        note_addition(operator_key, words=f"Issued with {', '.join(operator_key.scopes)}.", by=by, now=now)
    return IssuedOperatorKey(operator_key, secret)


@transaction.atomic
def rotate_operator_key(*, public_id: str, overlap: Overlap, by: User, now: datetime) -> IssuedOperatorKey:
    """Give a key a new secret under the same id; the present one works on for `overlap`, the one before it no more.

    Raises UnableToChangeOperatorKey if `by` may not, or for a key that is not there or has ended.
    """
    _check(by)
    operator_key = _lock(public_id, now)
    secret = new_secret(settings.KEY_BRAND, KeyKind.OPERATOR)
    until = now + overlap.span
    operator_key.former_digest = operator_key.digest
    operator_key.former_last_four = operator_key.last_four
    operator_key.former_valid_until = until
    operator_key.digest = digest_of(secret, settings.API_KEY_PEPPER)
    operator_key.last_four = secret[-4:]
    operator_key.save(update_fields=["former_digest", "former_last_four", "former_valid_until", "digest", "last_four"])
    words = f"Rotated; the former secret works until {until:%Y-%m-%dT%H:%M:%SZ}."
    note_change(operator_key, words=words, by=by, now=now)
    return IssuedOperatorKey(operator_key, secret)


@transaction.atomic
def revoke_operator_key(*, public_id: str, by: User, now: datetime) -> OperatorKey:
    """End a key with all of its secrets, at once. Raises UnableToChangeOperatorKey as `rotate_operator_key`."""
    _check(by)
    operator_key = _lock(public_id, now)
    operator_key.revoked_at = now
    operator_key.save(update_fields=["revoked_at"])
    note_change(operator_key, words="Revoked.", by=by, now=now)
    return operator_key


def touch_operator_key(*, operator_key: OperatorKey, now: datetime) -> None:
    """Remember that a key was used, at most once a minute, after the transaction that it opened."""
    used_at = operator_key.last_used_at
    if used_at is None or now - used_at >= TOUCH_AFTER:
        used = OperatorKey.objects.filter(pk=operator_key.pk)
        transaction.on_commit(partial(used.update, last_used_at=now), robust=True)


def _check(by: User | None) -> None:
    if by is not None and not (by.is_staff and by.has_perm(PERMISSION)):
        raise UnableToChangeOperatorKey("You may not change operator keys.")


def _lock(public_id: str, now: datetime) -> OperatorKey:
    operator_key = OperatorKey.objects.select_for_update().filter(public_id=public_id).first()
    if operator_key is None:
        raise UnableToChangeOperatorKey("There is no such key.")
    if operator_key.has_ended(now):
        raise UnableToChangeOperatorKey("This key has ended: make a new one.")
    return operator_key
