"""The sessions of one person: a new name with every proof, and an end for the others when ways of signing in change.

Both go by django-allauth's list of sessions, so that every session has to stay in it under its present name. A lock on
the person keeps one from being renamed while the others end, which would leave it behind.
"""

import structlog
from allauth.usersessions.models import UserSession
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.exceptions import SessionInterrupted
from django.contrib.sessions.models import Session
from django.db import transaction

from accounts.models import User

log = structlog.get_logger(__name__)


@transaction.atomic
def rename_session(*, user: User, session: SessionBase) -> None:
    """Give the person's session a new name; what opened it before opens nothing any more.

    Raises SessionInterrupted, which is answered as a bad request, if the session has ended meanwhile.
    """
    _lock(user)
    former = session.session_key
    if not Session.objects.filter(pk=former).exists():
        # A new name would bring it back.
        raise SessionInterrupted("The session ended before it could be renamed.")
    session.cycle_key()
    UserSession.objects.filter(session_key=former).update(session_key=session.session_key)


@transaction.atomic
def end_other_sessions(*, user: User, session: SessionBase) -> None:
    """End all of a person's sessions but this one."""
    _lock(user)
    others = UserSession.objects.filter(user=user).exclude(session_key=session.session_key)
    names = list(others.values_list("session_key", flat=True))
    Session.objects.filter(pk__in=names).delete()
    UserSession.objects.filter(session_key__in=names).delete()
    log.info("accounts.sessions.ended", user=user.public_id, count=len(names))


def _lock(user: User) -> None:
    User.objects.select_for_update(no_key=True).get(pk=user.pk)
