"""What pages of finance have in common."""

from collections.abc import Callable

from django.contrib import messages
from django.http import Http404, HttpRequest
from django.utils.translation import gettext as _

from accounts.models import Organization
from portal.lib.errors import DomainError


def take_step(request: HttpRequest, step: Callable[[], object] | None) -> bool:
    """Take a step that one of staff asked for, and say what came of it; False where it is none, or was refused."""
    if step is None:
        return False
    try:
        step()
    except DomainError as error:
        messages.error(request, str(error))
        return False
    say_done(request)
    return True


def say_done(request: HttpRequest) -> None:
    messages.success(request, _("Done. It is in the organization's audit log."))


def organization_of(request: HttpRequest) -> Organization | None:
    """Return the organization that was asked for by its address, None where none was. Raises Http404."""
    slug = request.GET.get("organization", "")
    if not slug:
        return None
    # PostgreSQL takes no NUL in a text.
    organization = None if "\0" in slug else Organization.objects.filter(slug=slug).first()
    if organization is None:
        raise Http404(_("There is no organization with this address."))
    return organization
