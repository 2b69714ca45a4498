"""Signing in with an account elsewhere: on to the provider. Coming back is allauth's part."""

from allauth.account.utils import get_next_redirect_url
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.providers.base.constants import AuthProcess
from django.conf import settings
from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST

from accounts.access import SignedInRequest, recent_sign_in_required
from accounts.models import User


@require_POST
def begin(request: SignedInRequest, provider: str) -> HttpResponse:
    """Lead to a configured provider; who is signed in ties that account to theirs, after proving again who they are."""
    if provider not in settings.SOCIALACCOUNT_PROVIDERS:
        raise Http404
    if isinstance(request.user, User):
        return _connect(request, provider)
    return _leave(request, provider, AuthProcess.LOGIN)


@recent_sign_in_required
def _connect(request: SignedInRequest, provider: str) -> HttpResponse:
    return _leave(request, provider, AuthProcess.CONNECT)


def _leave(request: SignedInRequest, name: str, process: str) -> HttpResponse:
    provider = get_adapter(request).get_provider(request, name)
    answer: HttpResponse = provider.redirect(request, process, next_url=get_next_redirect_url(request))
    if "Location" not in answer.headers:
        return answer
    # A form may not be redirected to another site (form-action).
    return render(request, "accounts/sso_leave.html", {"address": answer["Location"], "issuer": provider.name})
