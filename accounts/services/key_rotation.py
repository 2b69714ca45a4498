"""Give a key a new secret without ending the programs that still have the old one."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from accounts.models import ApiKey, Overlap, RetiredSecret
from accounts.services.api_keys import IssuedKey
from accounts.services.audit import record_event
from portal.lib.errors import DomainError
from portal.lib.key_format import KeyKind, digest_of, new_secret

MAXIMUM_FORMER = 5
# A gateway forgets a former secret by its digest, so the row stays long after every gateway has looked.
KEPT_AFTER = timedelta(days=1)


class UnableToRotateKey(DomainError):
    code = "unable_to_rotate_key"


@transaction.atomic
def rotate_key(*, api_key: ApiKey, overlap: Overlap, now: datetime) -> IssuedKey:
    """Give a key a new secret under the same id; the present one works on for `overlap`.

    Without an overlap every former secret ends at once too, on every process within a second; with one they keep
    the second that was stated for them. The key's end stays where it is. Each call makes another secret.
    Raises UnableToRotateKey for a key that has ended, or that five former secrets still open.
    """
    api_key = ApiKey.objects.select_for_update().get(pk=api_key.pk)
    if api_key.has_ended(now):
        raise UnableToRotateKey("This key has ended: make a new one.")
    former = RetiredSecret.objects.filter(api_key=api_key)
    former.filter(valid_until__lte=now - KEPT_AFTER).delete()
    alive = former.working_at(now)
    if overlap == Overlap.NONE:
        alive.end(now)
    elif alive.count() >= MAXIMUM_FORMER:
        raise UnableToRotateKey(
            f"{MAXIMUM_FORMER} former secrets of this key still work. Let one end first, or end all of them at once."
        )
    until = now if overlap == Overlap.NONE else (now + overlap.span).replace(microsecond=0)
    RetiredSecret.objects.create(
        organization_id=api_key.organization_id,
        api_key=api_key,
        digest=api_key.digest,
        last_four=api_key.last_four,
        retired_at=now,
        valid_until=until,
    )

    label, secret = api_key.label, new_secret(settings.KEY_BRAND, KeyKind(api_key.kind))
    api_key.digest = digest_of(secret, settings.API_KEY_PEPPER)
    api_key.last_four = secret[-4:]
    api_key.changed_at = now
    api_key.save(update_fields=["digest", "last_four", "changed_at"])
    record_event(
        "key.rotated",
        organization_id=api_key.organization_id,
        target=("key", api_key.public_id),
        changes={"label": (label, api_key.label), "overlap_ends_at": (None, f"{until:%Y-%m-%dT%H:%M:%SZ}")},
        now=now,
    )
    return IssuedKey(api_key, secret)
