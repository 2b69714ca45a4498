"""The page on which a person erases their account."""

from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from accounts.access import SignedInRequest, recent_sign_in_required
from accounts.forms import EraseForm
from accounts.services.erasure import UnableToErase, erase_person
from portal.lib.tenancy import as_platform


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
@recent_sign_in_required
def erase(request: SignedInRequest) -> HttpResponse:
    """Say what goes and what stays, and erase who types their address."""
    form = EraseForm(request.POST or None, email=request.user.email)
    if form.is_valid():
        try:
            with as_platform():
                erase_person(user=request.user, now=timezone.now())
        except UnableToErase as error:
            form.add_error(None, str(error))
        else:
            logout(request)
            messages.success(request, _("Your account is erased. Nobody can sign in to it any more."))
            return redirect("home")
    return render(request, "accounts/erase.html", {"form": form}, status=422 if form.is_bound else 200)
