"""What every template may name without its view passing it."""

from django.conf import settings
from django.http import HttpRequest


def portal(request: HttpRequest) -> dict[str, object]:
    return {
        "brand": settings.PORTAL_BRAND,
        "portal_url": settings.PORTAL_URL,
        "development": settings.DEVELOPMENT,
    }
