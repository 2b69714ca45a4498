"""What every template may name without its view passing it."""

from django.conf import settings
from django.http import HttpRequest

# Places that people may sign in with, as they call themselves.
SOCIAL_NAMES = {"github": "GitHub", "google": "Google"}


def portal(request: HttpRequest) -> dict[str, object]:
    return {
        "brand": settings.PORTAL_BRAND,
        "portal_url": settings.PORTAL_URL,
        "development": settings.DEVELOPMENT,
        "social_providers": {name: SOCIAL_NAMES[name] for name in settings.SOCIALACCOUNT_PROVIDERS},
    }
