"""Types and helpers shared by views."""

from collections.abc import Sequence

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import NoReverseMatch, reverse
from django_htmx.middleware import HtmxDetails


class PortalHttpRequest(HttpRequest):
    """What every view receives once our middleware has run."""

    htmx: HtmxDetails
    request_id: str
    logged_path: str  # what the log says of the address: secrets in it left out


def page_or_partial(request: PortalHttpRequest, template: str, partial: str) -> str:
    """Return `template`, or only its named partial for a targeted htmx request.

    Boosted links replace the whole body, so they get the full page.
    """
    if request.htmx and not request.htmx.boosted:
        return f"{template}#{partial}"
    return template


def redirect_after_post(request: PortalHttpRequest, to: str, *args: str) -> HttpResponse:
    """Send the browser to the URL named `to` after a successful POST, from htmx or from a plain form."""
    address = reverse(to, args=args)
    if request.htmx and not request.htmx.boosted:
        return HttpResponse(headers={"HX-Redirect": address})
    return HttpResponseRedirect(address)


def first_address(*names: str, args: Sequence[str]) -> str:
    """Return the address of the first URL name that exists, so that a lower app may point at a higher app's page.

    Raises NoReverseMatch when none does.
    """
    for name in names[:-1]:
        try:
            return reverse(name, args=args)
        except NoReverseMatch:
            continue
    return reverse(names[-1], args=args)
