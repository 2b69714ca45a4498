"""End secrets that somebody found where they do not belong, and tell the people whose they are."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog
from django.conf import settings
from django.db import transaction

from accounts.models import ApiKey, KeyLeak, Membership, OperatorKey, RetiredSecret, Role
from accounts.models.api_key import LONGEST_SOURCE, LONGEST_URL
from accounts.selectors import organization_id_of_directory_token, organization_id_of_key
from accounts.services.audit import record_event
from accounts.services.directory_tokens import revoke_directory_token, token_of
from accounts.services.mails import mail_each, page_address
from portal.lib.batches import one_by_one
from portal.lib.jobs import enqueue
from portal.lib.key_format import KeyKind, digest_of, kind_of
from portal.lib.tenancy import set_organization

log = structlog.get_logger(__name__)

# A mail that cannot be sent for so long is given up; the audit log and the key's page have said it all the while.
TELL_FOR = timedelta(days=3)
_SECRET = re.compile(r"([a-z]{1,8}_(?:live|test|mgmt|op|scim)_)[0-9A-Za-z]+")


@transaction.atomic
def end_leaked_secret(*, secret: str, url: str, source: str, reporter: str, now: datetime) -> bool:
    """End a secret that was found somewhere, and return whether it is one of ours, alive or dead.

    A key's present secret takes the key with it; a former one ends alone, since programs that were given the new
    one are not at risk. Reporting it again changes nothing and gets the same answer. Enters the organization that
    it finds: one call, one transaction. url, source: what the finder says, kept without any secret in it.
    """
    kind = kind_of(secret, settings.KEY_BRAND)
    if kind is None:
        return False
    digest = digest_of(secret, settings.API_KEY_PEPPER)
    if kind is KeyKind.OPERATOR:
        return _end_operator_key(digest, now)
    if kind is KeyKind.DIRECTORY:
        return _end_directory_token(secret, digest, now)
    organization_id = organization_id_of_key(digest)
    if organization_id is None:
        return False
    set_organization(organization_id)
    ended = _end_key(digest, now) or _end_former_secret(digest, now)
    if ended is not None:
        leak = KeyLeak.objects.create(
            organization_id=organization_id,
            api_key=ended[0],
            is_former_secret=ended[1],
            last_four=secret[-4:],
            url=_shown(url, LONGEST_URL),
            source=_shown(source, LONGEST_SOURCE),
            reported_by=reporter,
            reported_at=now,
        )
        enqueue("accounts.tell_of_leaks")
        record_event(
            "key.leaked",
            organization_id=organization_id,
            target=("key", leak.api_key.public_id),
            changes={
                "ended": (None, "former secret" if leak.is_former_secret else "key"),
                "url": (None, leak.url),
                "source": (None, leak.source),
                "reported_by": (None, reporter),
            },
            now=now,
        )
    return True


def _end_key(digest: bytes, now: datetime) -> tuple[ApiKey, bool] | None:
    key = ApiKey.objects.select_for_update().filter(digest=digest).first()
    if key is None or key.has_ended(now):
        return None
    key.revoked_at = key.changed_at = now
    key.save(update_fields=["revoked_at", "changed_at"])
    return key, False


def _end_former_secret(digest: bytes, now: datetime) -> tuple[ApiKey, bool] | None:
    alive = RetiredSecret.objects.filter(digest=digest).working_at(now)
    # The key first, as whoever rotates it does.
    key = ApiKey.objects.select_for_update().filter(pk__in=alive.values("api_key_id")).first()
    if key is None or key.has_ended(now) or not alive.end(now):
        return None
    key.changed_at = now
    key.save(update_fields=["changed_at"])
    return key, True


def _end_operator_key(digest: bytes, now: datetime) -> bool:
    key = OperatorKey.objects.select_for_update().opened_by(digest, now).first()
    if key is not None and not key.has_ended(now):
        if bytes(key.digest) == digest:
            key.revoked_at = now
            key.save(update_fields=["revoked_at"])
        else:
            key.former_valid_until = now
            key.save(update_fields=["former_valid_until"])
        # It belongs to no organization: whoever watches the portal is told.
        log.error("accounts.operator_key_leaked", key=key.public_id)
    return key is not None or OperatorKey.objects.filter(former_digest=digest).exists()


def _end_directory_token(secret: str, digest: bytes, now: datetime) -> bool:
    # A dead one, or a closed organization's, ends no more than it has.
    token = token_of(secret, now)
    if token is not None:
        revoke_directory_token(token=token, now=now)
        # Nobody is mailed of these yet: the audit log says it, and whoever watches the portal is told.
        log.error("accounts.directory_token_leaked", token=token.public_id)
    return organization_id_of_directory_token(digest) is not None


def _shown(text: str, longest: int) -> str:
    """Return what a finder wrote as it may be kept and mailed: one line without a secret."""
    line = "".join(letter for letter in text if letter.isprintable())
    return _SECRET.sub(r"\1…", line)[:longest]


def tell_of_leaks(*, now: datetime) -> int:
    """Mail owners and admins about each leak that they were not told of; return how many leaks.

    Across organizations, each leak in a transaction of its own. A crash between mail and commit mails twice.
    """
    untold = KeyLeak.objects.filter(told_at=None, reported_at__gt=now - TELL_FOR).order_by("reported_at", "pk")
    return one_by_one(
        untold.values_list("pk", flat=True),
        lambda pk: _tell(pk, now),
        lambda pk: log.exception("accounts.leak_not_told", leak_id=pk),
    )


@transaction.atomic
def _tell(leak_id: int, now: datetime) -> int:
    leaks = KeyLeak.objects.select_for_update(skip_locked=True, of=("self",)).select_related("organization", "api_key")
    leak = leaks.filter(pk=leak_id, told_at=None).first()
    if leak is None:
        return 0
    address = page_address("accounts:key-detail", leak.organization.slug, leak.api_key.public_id)
    mail_each("key_leaked", _leaders_of(leak), leak=leak, address=address)
    leak.told_at = now
    leak.save(update_fields=["told_at"])
    return 1


def _leaders_of(leak: KeyLeak) -> Sequence[str]:
    leaders = Membership.objects.filter(
        organization_id=leak.organization_id, role__in=[Role.OWNER, Role.ADMIN], user__is_active=True
    )
    return list(leaders.order_by("pk").values_list("user__email", flat=True))
