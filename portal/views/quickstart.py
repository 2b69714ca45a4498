"""The first page of a new organization: its key, a program filled in, and an answer streamed into the page."""

from collections.abc import Mapping

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from accounts.access import OrganizationRequest, organization_required, recent_sign_in_required, take_starter_key
from accounts.models import Permission
from accounts.services.api_keys import UnableToIssueKey, issue_starter_key
from portal import playground
from portal.lib.snippets import PROMPT, chat_snippets
from portal.selectors.quickstart import quickstart_of


@organization_required(Permission.USE_MODELS)
@require_safe
def quickstart(request: OrganizationRequest) -> HttpResponse:
    """Show the first steps; a key that was just made is shown on this answer and never again."""
    return _page(request, secret=take_starter_key(request) or "")


@organization_required(Permission.MANAGE_KEYS)
@recent_sign_in_required
@require_POST
def make_starter_key(request: OrganizationRequest) -> HttpResponse:
    """Make a key of the first steps and show it, once, in its place on the page."""
    try:
        issued = issue_starter_key(organization=request.organization, created_by=request.user, now=timezone.now())
    except UnableToIssueKey as error:
        return _page(request, error=str(error), status=error.status)
    return _page(request, secret=issued.secret)


@organization_required(Permission.USE_MODELS)
@require_POST
def run(request: OrganizationRequest) -> HttpResponse:
    """Answer a prompt on a whole page, for readers without JavaScript; with it, the page streams by itself."""
    model, prompt = request.POST.get("model", ""), request.POST.get("prompt", "").strip()
    if not model or not prompt:
        return _page(request, error=_("Choose a model and write a prompt."), status=422)
    answer = playground.ask(request, request.organization.slug, model=model, prompt=prompt)
    return _page(request, asked={"model": model, "prompt": prompt}, answer=answer)


def _page(
    request: OrganizationRequest,
    *,
    secret: str = "",
    error: str = "",
    asked: Mapping[str, str] | None = None,
    answer: playground.Answer | None = None,
    status: int = 200,
) -> HttpResponse:
    content = quickstart_of(request.organization, timezone.now())
    base_url = f"{settings.PORTAL_URL}/v1"
    model = content.models[0].name if content.models else ""
    context = {
        "content": content,
        "secret": secret,
        "error": error,
        "asked": asked,
        "answer": answer,
        "prompt": PROMPT,
        "snippets": chat_snippets(base_url, model, secret=secret) if model else (),
        "may_manage_keys": request.membership.may(Permission.MANAGE_KEYS),
        "may_launch": request.membership.may(Permission.MANAGE_INSTANCES),
    }
    return render(request, "portal/quickstart.html", context, status=status)
