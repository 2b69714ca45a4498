"""The door of /api/operator/v1, for the systems of the portal's owner."""

import time
from typing import Any, ClassVar

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.utils import timezone
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.access import InvalidApiKey, secret_in
from accounts.models import OperatorKey, OperatorScope
from accounts.services.operator_keys import touch_operator_key
from portal.lib.context import Actor, remember_actor
from portal.lib.key_format import KeyKind, digest_of, kind_of
from portal.lib.throttle import WINDOW_SECONDS, Throttle

# Of one key at each process, and of all together. More than an API key has: a gateway reports for all of its callers,
# and may send every event by itself.
REQUESTS_PER_MINUTE = 120_000
_throttle = Throttle(each=REQUESTS_PER_MINUTE, together=2 * REQUESTS_PER_MINUTE)


class OperatorAPIView(APIView):
    """The base of every view of /api/operator/v1: an operator key, as a bearer token. It opens no organization."""

    scope: ClassVar[OperatorScope]
    key_words = "an operator key"

    def get_authenticate_header(self, request: Request) -> str:
        return InvalidApiKey.auth_header

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        operator_key = authenticate_operator(secret_in(request))
        if self.scope not in operator_key.scopes:
            raise PermissionDenied(f"This key needs the scope {self.scope.value}.")
        if not _throttle.admits(operator_key.public_id, time.monotonic()):
            raise exceptions.Throttled(wait=WINDOW_SECONDS)
        remember_actor(Actor(kind="key", public_id=operator_key.public_id, via="key"))


def authenticate_operator(secret: str) -> OperatorKey:
    """Return the operator key of a secret. Raises InvalidApiKey with one and the same answer for every reason."""
    if kind_of(secret, settings.KEY_BRAND) is not KeyKind.OPERATOR:
        raise InvalidApiKey
    now = timezone.now()
    operator_key = OperatorKey.objects.opened_by(digest_of(secret, settings.API_KEY_PEPPER), now).first()
    if operator_key is None or not operator_key.is_usable(now):
        raise InvalidApiKey
    touch_operator_key(operator_key=operator_key, now=now)
    return operator_key
