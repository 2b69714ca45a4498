"""Pages of where the audit log is sent. A signing secret is on one answer only, and nowhere after."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts import selectors
from accounts.access import OrganizationRequest, organization_required, recent_sign_in_required
from accounts.forms.audit import EndpointForm, EndpointRotationForm, NewEndpointForm
from accounts.models import AuditEndpoint, Permission
from accounts.services.audit_endpoints import (
    MAXIMUM_ENDPOINTS,
    SignedEndpoint,
    UnableToAddEndpoint,
    UnableToChangeEndpoint,
    add_endpoint,
    change_endpoint_address,
    pause_endpoint,
    remove_endpoint,
    request_test,
    resume_endpoint,
    rotate_endpoint_secret,
)

type View[**P] = Callable[Concatenate[OrganizationRequest, P], HttpResponse]


def while_it_is_there[**P](view: View[P]) -> View[P]:
    """Answer as for any missing endpoint when somebody else removed it while the request ran."""

    @wraps(view)
    def check(request: OrganizationRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except UnableToChangeEndpoint as error:
            raise Http404 from error

    return check


def _endpoint(request: OrganizationRequest, public_id: str) -> AuditEndpoint:
    endpoints = AuditEndpoint.objects.owned_by(request.organization).select_related("organization")
    return get_object_or_404(endpoints, public_id=public_id)


def _to_detail(request: OrganizationRequest, endpoint: AuditEndpoint) -> HttpResponse:
    return redirect("accounts:audit-endpoint-detail", request.organization.slug, endpoint.public_id)


def _with_secret(request: OrganizationRequest, signed: SignedEndpoint, *, is_rotated: bool) -> HttpResponse:
    # Shown in this answer and never again; RequestMiddleware forbids storing it.
    context = {"endpoint": signed.endpoint, "secret": signed.secret, "is_rotated": is_rotated}
    return render(request, "accounts/audit_endpoint_secret.html", context)


@organization_required(Permission.MANAGE_ORGANIZATION)
@require_safe
def endpoint_list(request: OrganizationRequest) -> HttpResponse:
    rows = selectors.endpoint_rows(request.organization, timezone.now())
    context = {"rows": rows, "has_room": len(rows) < MAXIMUM_ENDPOINTS}
    return render(request, "accounts/audit_endpoint_list.html", context)


@organization_required(Permission.MANAGE_ORGANIZATION)
@recent_sign_in_required
@require_http_methods(["GET", "HEAD", "POST"])
def add(request: OrganizationRequest) -> HttpResponse:
    form = NewEndpointForm(request.POST or None)
    if form.is_valid():
        url, from_start = form.cleaned_data["url"], form.cleaned_data["from_start"]
        try:
            signed = add_endpoint(organization=request.organization, url=url, from_start=from_start, now=timezone.now())
        except UnableToAddEndpoint as error:
            form.add_error("url", str(error))
        else:
            return _with_secret(request, signed, is_rotated=False)
    status = 422 if form.is_bound else 200
    return render(request, "accounts/audit_endpoint_form.html", {"form": form}, status=status)


@organization_required(Permission.MANAGE_ORGANIZATION)
@require_safe
def endpoint_detail(request: OrganizationRequest, public_id: str) -> HttpResponse:
    row = selectors.endpoint_row(_endpoint(request, public_id), timezone.now())
    return render(request, "accounts/audit_endpoint_detail.html", {"row": row})


@organization_required(Permission.MANAGE_ORGANIZATION)
@recent_sign_in_required
@require_http_methods(["GET", "HEAD", "POST"])
@while_it_is_there
def change(request: OrganizationRequest, public_id: str) -> HttpResponse:
    """Send the log to another address from where this one is."""
    endpoint = _endpoint(request, public_id)
    form = EndpointForm(request.POST or None, initial={"url": endpoint.url})
    if form.is_valid():
        try:
            change_endpoint_address(endpoint=endpoint, url=form.cleaned_data["url"], now=timezone.now())
        except UnableToAddEndpoint as error:
            form.add_error("url", str(error))
        else:
            messages.success(request, _("Saved."))
            return _to_detail(request, endpoint)
    status = 422 if form.is_bound else 200
    context = {"form": form, "endpoint": endpoint}
    return render(request, "accounts/audit_endpoint_change.html", context, status=status)


@organization_required(Permission.MANAGE_ORGANIZATION)
@recent_sign_in_required
@require_http_methods(["GET", "HEAD", "POST"])
@while_it_is_there
def rotate(request: OrganizationRequest, public_id: str) -> HttpResponse:
    """Give the endpoint a new signing secret, shown in this answer and never again."""
    endpoint = _endpoint(request, public_id)
    form = EndpointRotationForm(request.POST or None)
    if form.is_valid():
        signed = rotate_endpoint_secret(endpoint=endpoint, overlap=form.chosen_overlap(), now=timezone.now())
        return _with_secret(request, signed, is_rotated=True)
    status = 422 if form.is_bound else 200
    context = {"form": form, "row": selectors.endpoint_row(endpoint, timezone.now())}
    return render(request, "accounts/audit_endpoint_rotate.html", context, status=status)


@organization_required(Permission.MANAGE_ORGANIZATION)
@require_POST
@while_it_is_there
def test(request: OrganizationRequest, public_id: str) -> HttpResponse:
    endpoint = request_test(endpoint=_endpoint(request, public_id), now=timezone.now())
    messages.success(request, _("A test event is on its way: load this page again to see the answer."))
    return _to_detail(request, endpoint)


@organization_required(Permission.MANAGE_ORGANIZATION)
@recent_sign_in_required
@require_POST
@while_it_is_there
def pause(request: OrganizationRequest, public_id: str) -> HttpResponse:
    endpoint = pause_endpoint(endpoint=_endpoint(request, public_id), now=timezone.now())
    messages.success(request, _("Nothing is sent until you resume it. The log keeps every entry."))
    return _to_detail(request, endpoint)


@organization_required(Permission.MANAGE_ORGANIZATION)
@require_POST
@while_it_is_there
def resume(request: OrganizationRequest, public_id: str) -> HttpResponse:
    endpoint = resume_endpoint(endpoint=_endpoint(request, public_id), now=timezone.now())
    messages.success(request, _("Resumed: it gets every entry that it missed, in order."))
    return _to_detail(request, endpoint)


@organization_required(Permission.MANAGE_ORGANIZATION)
@recent_sign_in_required
@require_http_methods(["GET", "HEAD", "POST"])
@while_it_is_there
def remove(request: OrganizationRequest, public_id: str) -> HttpResponse:
    """Ask once, then forget the endpoint."""
    endpoint = _endpoint(request, public_id)
    if request.method == "POST":
        remove_endpoint(endpoint=endpoint, now=timezone.now())
        messages.success(request, _("The log is no longer sent there."))
        return redirect("accounts:audit-endpoint-list", request.organization.slug)
    return render(request, "accounts/audit_endpoint_remove.html", {"endpoint": endpoint})
