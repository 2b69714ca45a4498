"""Sessions whose rows open nothing: they are keyed by a digest of what the browser holds, and their content is sealed.

`session.session_key` is the digest everywhere in the portal, django-allauth's list of sessions included. What opens the
session is in the browser's cookie and, while a request runs, in `session.cookie_key`.

A session ends by itself SESSION_COOKIE_AGE after the sign-in that it began with, whatever happened in it since, and
SESSION_IDLE_SECONDS after its last use. Its row says when, so that reading it asks for both.
"""

import base64
import hashlib
import re
from datetime import UTC, datetime
from time import time
from typing import Any, Self

import structlog
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends import db
from django.contrib.sessions.base_session import AbstractBaseSession
from django.contrib.sessions.middleware import SessionMiddleware as DjangoSessionMiddleware
from django.contrib.sessions.models import Session
from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import import_string

from portal.lib.sealed import SealedText
from portal.lib.sealing import SealingError

log = structlog.get_logger(__name__)

CONTENT = SealedText("django_session", "session_data", row="session_key")
# What Django makes: 165 random bits, which need no slow digest.
_COOKIE_KEY = re.compile(r"[a-z0-9]{32}", re.ASCII)
_DIGEST_BYTES = 30  # 40 letters of base64, as many as the columns hold
# Whose a session is, and since when: a new name, a proof or a change of what is in it begin none anew.
BEGAN = "_began"


def stored_key(key: str) -> str:
    """Return what the row of a session is called; a row's name is its own."""
    if not _COOKIE_KEY.fullmatch(key):
        return key
    digest = hashlib.sha256(key.encode()).digest()[:_DIGEST_BYTES]
    return base64.urlsafe_b64encode(digest).decode()


def content_of(session: Session) -> dict[str, Any]:
    """Return what is in a stored session, for the portal's own searches; empty when no key of ours opens it."""
    content: dict[str, Any] = SessionStore(session.session_key).decode(session.session_data)
    return content


class SessionStore(db.SessionStore):
    """Django's, with another name for the row and sealed content. From synchronous code only."""

    def __init__(self, session_key: str | None = None) -> None:
        """session_key: a row's name, or what a browser holds."""
        self._cookie_key = session_key if session_key and _COOKIE_KEY.fullmatch(session_key) else None
        super().__init__(stored_key(session_key) if session_key else None)

    @classmethod
    def of_cookie(cls, value: str | None) -> Self:
        """Return the session that a browser's cookie opens. The name of a row opens nothing."""
        return cls(value if value and _COOKIE_KEY.fullmatch(value) else None)

    @property
    def cookie_key(self) -> str:
        """What the browser is given. Raises LookupError for a session that was reached by its row."""
        if self._cookie_key is None:
            raise LookupError("a row does not say what opens it")
        return self._cookie_key

    def exists(self, session_key: str) -> bool:
        return super().exists(stored_key(session_key))

    def delete(self, session_key: str | None = None) -> None:
        super().delete(stored_key(session_key) if session_key else None)

    def encode(self, session_dict: dict[str, Any]) -> str:
        content: bytes = self.serializer().dumps(session_dict)
        # Whoever saves it has named the row by then.
        return CONTENT.seal(content.decode("latin-1"), row=self.session_key or "")

    def decode(self, session_data: bytes | str) -> dict[str, Any]:
        try:
            content = CONTENT.unseal(str(session_data), row=self.session_key or "")
        except SealingError as error:
            log.warning("portal.session.unreadable", reason=str(error))
            return {}
        found: dict[str, Any] = self.serializer().loads(content.encode("latin-1"))
        return found

    def get_expiry_age(self, **_: Any) -> int:
        """Return the seconds until the session ends even if it is used: how long the browser keeps what opens it."""
        return max(0, round(self._ends_at() - time()))

    def get_expiry_date(self, **_: Any) -> datetime:
        """Return when the session ends if nobody uses it from now on."""
        return datetime.fromtimestamp(min(self._ends_at(), time() + settings.SESSION_IDLE_SECONDS), UTC)

    def create_model_instance(self, data: dict[str, Any]) -> AbstractBaseSession:
        data[BEGAN] = {"user": data.get(SESSION_KEY), "at": self._began_at()}
        return super().create_model_instance(data)

    def note_use(self) -> None:
        """Put off the end of a session that is in use. Its content is left to the requests that change it."""
        if BEGAN not in self:
            # Stored by the program of before this one: saved with the answer, which says when it began.
            self.modified = True
        self.model.objects.filter(pk=self.session_key).update(expire_date=self.get_expiry_date())

    def _ends_at(self) -> float:
        return self._began_at() + settings.SESSION_COOKIE_AGE

    def _began_at(self) -> float:
        """Return when the person signed in, in seconds since the epoch; now if that has just happened."""
        began: dict[str, Any] = self.get(BEGAN, {})
        at: float = began["at"] if began and began["user"] == self.get(SESSION_KEY) else time()
        return at

    def _get_new_session_key(self) -> str:
        # What Django would call the row is for the cookie here. Django's types leave the method out.
        self._cookie_key = key = str(super()._get_new_session_key())  # type: ignore[misc]
        return stored_key(key)

    async def _aget_new_session_key(self) -> str:
        raise NotImplementedError("sessions are made by synchronous code")


class SessionMiddleware(DjangoSessionMiddleware):
    """Django's, for a store whose rows are not called what the browser holds."""

    def process_request(self, request: HttpRequest) -> None:
        opened = _store().of_cookie(request.COOKIES.get(settings.SESSION_COOKIE_NAME))
        request.session = opened
        # Libraries that save a session early go on with another object for its row, which does not know what opens it.
        request.opened_session = opened  # type: ignore[attr-defined]  # ours alone

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        answer = super().process_response(request, response)
        cookie = answer.cookies.get(settings.SESSION_COOKIE_NAME)
        if cookie is not None and cookie.value and isinstance(request.session, SessionStore):
            opened: SessionStore = request.opened_session  # type: ignore[attr-defined]  # as above
            is_same = opened.session_key == request.session.session_key
            key = (opened if is_same else request.session).cookie_key
            cookie.set(settings.SESSION_COOKIE_NAME, key, key)
        return answer


def _store() -> type[SessionStore]:
    # Tests name another one, which is made from this.
    found: type[SessionStore] = import_string(f"{settings.SESSION_ENGINE}.SessionStore")
    return found
