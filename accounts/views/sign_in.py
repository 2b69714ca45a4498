"""What comes after signing in, and proving again who one is."""

import time

from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.reauthentication import resume_request
from allauth.core import ratelimit
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from accounts import selectors
from accounts.access import SignedInRequest, keep_starter_key, remember_proof
from accounts.forms import CodeForm, OrganizationForm
from accounts.models import Organization
from accounts.services.api_keys import issue_starter_key
from accounts.services.organizations import UnableToCreateOrganization, create_organization, suggested_name
from portal.lib.http import first_address
from portal.lib.tenancy import set_user

CODE_SECONDS = 600
CODE_TRIES = 3
CODE_SESSION_KEY = "reauthentication_code"


def landing(organization: Organization, *, is_new: bool) -> str:
    """Return the first page of an organization: for a new one the quickstart."""
    names = ("quickstart", "overview") if is_new else ("overview",)
    return first_address(*names, "accounts:key-list", args=[organization.slug])


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def welcome(request: SignedInRequest) -> HttpResponse:
    """Send people to their organization; those without one make it here."""
    set_user(request.user.pk)
    memberships = selectors.memberships_of(request.user)
    if request.method != "POST" and len(memberships) == 1:
        return HttpResponseRedirect(landing(memberships[0].organization, is_new="new" in request.GET))
    if request.method != "POST" and memberships:
        return redirect("accounts:organization-list")

    form = OrganizationForm(request.POST or None, initial={"name": suggested_name(request.user.email)})
    if form.is_valid():
        now = timezone.now()
        try:
            organization = create_organization(
                owner=request.user,
                name=form.cleaned_data["name"],
                kind=Organization.Kind(form.cleaned_data["kind"]),
                now=now,
            )
        except UnableToCreateOrganization as error:
            form.add_error("name", str(error))
        else:
            starter_key = issue_starter_key(organization=organization, created_by=request.user, now=now)
            keep_starter_key(request, starter_key)
            return HttpResponseRedirect(landing(organization, is_new=True))
    status = 422 if form.is_bound else 200
    context = {"form": form, "memberships": memberships, "offers": selectors.join_offers(request.user)}
    return render(request, "accounts/welcome.html", context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def reauthenticate_by_code(request: SignedInRequest) -> HttpResponse:
    """Mail a six-digit code and take it back, for people with neither password nor second factor.

    The code lives ten minutes and allows three tries; then what was waiting for the proof goes on.
    """
    methods = get_adapter(request).get_reauthentication_methods(request.user)
    if methods[0]["url"] != request.path:
        return redirect(f"{methods[0]['url']}?{request.GET.urlencode()}")
    pending = request.session.get(CODE_SESSION_KEY)
    if pending and time.time() - pending["at"] > CODE_SECONDS:
        pending = None
    form = CodeForm(request.POST if request.method == "POST" and pending and "code" in request.POST else None)
    if request.method == "POST" and not form.is_bound:
        too_many: HttpResponse | None = ratelimit.consume_or_429(request, action="reauthenticate", user=request.user)
        if too_many is not None:
            return too_many
        pending = _send_code(request)
    elif form.is_valid() and pending:
        if constant_time_compare(form.cleaned_data["code"].strip(), pending["code"]):
            del request.session[CODE_SESSION_KEY]
            remember_proof(request, time.time())
            resumed: HttpResponse | None = resume_request(request)
            return resumed or redirect("accounts:welcome")
        pending = _count_wrong_code(request, pending)
        form.add_error("code", _("That is not the code. Look at the newest mail, or ask for another code."))
    status = 422 if form.is_bound else 200
    context = {"form": form, "is_sent": pending is not None}
    return render(request, "accounts/reauthenticate_by_code.html", context, status=status)


def _send_code(request: SignedInRequest) -> dict[str, object]:
    adapter = get_adapter(request)
    pending: dict[str, object] = {"code": adapter.generate_login_code(), "at": time.time(), "wrong": 0}
    request.session[CODE_SESSION_KEY] = pending
    adapter.send_mail("accounts/email/reauthentication_code", request.user.email, {"code": pending["code"]})
    return pending


def _count_wrong_code(request: SignedInRequest, pending: dict[str, object]) -> dict[str, object] | None:
    wrong = int(str(pending["wrong"])) + 1
    if wrong >= CODE_TRIES:
        del request.session[CODE_SESSION_KEY]
        return None
    request.session[CODE_SESSION_KEY] = {**pending, "wrong": wrong}
    return pending
