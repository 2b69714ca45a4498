"""What the REST API looks like, for programs that read it."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, get_resolver
from django.views.decorators.http import require_safe

from portal.lib.api import JsonResponse
from portal.lib.openapi import document

# Of customers, and of the owner's own systems.
APIS = ("api/v1/", "api/operator/v1/")


@require_safe
def api_document(request: HttpRequest) -> HttpResponse:
    """Answer with the OpenAPI document; like the price list, it needs no key."""
    return JsonResponse(api_description())


@cache
def api_description() -> dict[str, Any]:
    """Return the OpenAPI document of every described view of both APIs, from the addresses that there are."""
    patterns = [(path, pattern) for path, pattern in _walk(get_resolver()) if path.startswith(APIS)]
    return document(patterns, title=f"{settings.PORTAL_BRAND} API", server=settings.PORTAL_URL)


def _walk(resolver: URLResolver, before: str = "") -> Iterator[tuple[str, URLPattern]]:
    for entry in resolver.url_patterns:
        path = before + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from _walk(entry, path)
        else:
            yield path, entry
