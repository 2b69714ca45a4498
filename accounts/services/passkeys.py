"""What a passkey says of itself with every use, and what it must not."""

import structlog
from allauth.mfa.models import Authenticator
from django.db import transaction
from django.utils.translation import gettext as _

from portal.lib.errors import DomainError

log = structlog.get_logger(__name__)

# Beside what django-allauth keeps of a passkey.
COUNTER = "counter"


class UnableToUsePasskey(DomainError):
    code = "unable_to_use_passkey"


@transaction.atomic
def count_use(*, passkey: Authenticator, counter: int) -> None:
    """Note how often a passkey has signed, as it says with each use; passkeys that do not count say 0 for ever.

    Raises UnableToUsePasskey if it says no more than before: then there are two of it, one of which is a copy. Uses at
    once come one after the other.
    """
    locked = Authenticator.objects.select_for_update(no_key=True).filter(pk=passkey.pk).first()
    if locked is None:
        raise UnableToUsePasskey(_("That passkey was removed."))
    enrolled = locked.wrap().authenticator_data.counter
    last = locked.data.get(COUNTER, enrolled)
    if counter <= last and (counter or last):
        log.warning("accounts.passkey.counter_went_back", user=locked.user.public_id, said=counter, last=last)
        raise UnableToUsePasskey(_("That passkey was used elsewhere since: somebody may have a copy of it."))
    locked.data[COUNTER] = counter
    locked.save(update_fields=["data"])
