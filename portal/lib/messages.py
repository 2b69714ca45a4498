"""What is said once on the next page, in a cookie that no other host can set."""

from django.conf import settings
from django.contrib.messages.storage.cookie import CookieStorage
from django.contrib.messages.storage.fallback import FallbackStorage
from django.contrib.messages.storage.session import SessionStorage


class _NamedCookie(CookieStorage):
    @property
    def cookie_name(self) -> str:  # type: ignore[override]  # Django writes it down in the class
        return str(settings.MESSAGE_COOKIE_NAME)


class MessageStorage(FallbackStorage):
    """Django's own, but for the cookie's name: what does not fit into it goes into the session."""

    storage_classes = (_NamedCookie, SessionStorage)
