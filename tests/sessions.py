"""The portal's sessions for Django's test client, which takes the name of a row for what a browser would hold."""

from typing import Self

from portal.lib import sessions


class SessionStore(sessions.SessionStore):
    @classmethod
    def of_cookie(cls, value: str | None) -> Self:
        return cls(value)

    @property
    def cookie_key(self) -> str:
        return self._cookie_key or self.session_key or ""
