"""Pages of instances: launch, list, one instance, and what can be done with it."""

from http import HTTPStatus

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django_htmx.http import reswap, retarget

from accounts.access import OrganizationRequest, organization_required, require_in
from accounts.models import Permission
from billing.selectors import budget_of
from compute import selectors
from compute.forms import SOLD_HERE, LaunchForm, refuse_key
from compute.models import Instance, SshKey
from compute.services.instances import (
    UnableToChangeInstance,
    restart_instance,
    start_instance,
    stop_instance,
    terminate_instance,
)
from compute.services.launching import UnableToLaunch, launch_instances
from compute.services.ssh_keys import DuplicateSshKey, InvalidSshKey
from portal.lib.errors import DomainError
from portal.lib.http import page_or_partial, redirect_after_post
from portal.lib.snippets import launch_snippet

NOTHING_NEW = 204


@organization_required(Permission.MANAGE_INSTANCES, in_projects=True)
@require_http_methods(["GET", "HEAD", "POST"])
def instance_launch(request: OrganizationRequest) -> HttpResponse:
    """Show the launch form and what the choice costs (htmx asks for the summary alone); POST launches.

    Without a script a POST that only asks for the summary brings the page back, with all that was filled in.
    """
    now = timezone.now()
    offers = selectors.launch_offers(request.organization, now)
    keys = list(SshKey.objects.owned_by(request.organization).by_name())
    request.balance_nano = remaining_nano = budget_of(request.organization).remaining_nano
    initial = LaunchForm.starting_values(offers, keys, remaining_nano, request.GET.get("instance_type", ""))
    data = request.POST if request.method == "POST" and "preview" not in request.POST else None
    if data is None:
        initial |= LaunchForm.values_of(request.POST or request.GET)
    form = LaunchForm(data, initial=initial, membership=request.membership, offers=offers, keys=keys)
    if data is None:
        form.follow_choice()
    if form.is_valid():
        launch = form.launch_request(launched_by=request.user, now=now)
        try:
            launched = launch_instances(request=launch, now=now)
        except UnableToLaunch as error:
            form.add_error(error.field if error.field in form.fields else None, str(error))
        except (InvalidSshKey, DuplicateSshKey) as error:
            refuse_key(form, "new_public_key", error)
        except DomainError as error:
            form.add_error(None, str(error))
        else:
            return redirect_after_post(
                request, "compute:instance-detail", request.organization.slug, launched.instances[0].public_id
            )
    offer = form.chosen_offer
    context = {
        "form": form,
        "offers": offers,
        "offer": offer,
        "lease_classes": [(one.value, one.label, one.notice_in_words) for one in SOLD_HERE],
        "summary": offer and selectors.launch_summary(offer.row, form.chosen_lease_class, remaining_nano),
        "snippet": offer and launch_snippet(f"{settings.PORTAL_URL}/api/v1", **form.values_for_programs()),
        "is_refresh": request.htmx and data is None,
    }
    template = page_or_partial(
        request, "compute/instance_launch.html", "launch-summary" if data is None else "launch-form"
    )
    return render(request, template, context, status=HTTPStatus.UNPROCESSABLE_ENTITY if data is not None else 200)


@organization_required(Permission.VIEW)
@require_safe
def instance_list(request: OrganizationRequest) -> HttpResponse:
    """List the newest instances, a page at a time; their states are polled by instance_status."""
    page = selectors.instance_page(request.organization, after=request.GET.get("after", ""))
    context = {
        "page": page,
        "is_first": "after" not in request.GET,
        "moving_ids": page.moving_ids,
        "may_manage": request.membership.may_somewhere(Permission.MANAGE_INSTANCES),
    }
    return render(request, "compute/instance_list.html", context)


@organization_required(Permission.VIEW)
@require_safe
def instance_status(request: OrganizationRequest) -> HttpResponse:
    """Answer the list's one poll: the states asked for, to be swapped cell by cell, and the next poll if any."""
    cells = selectors.status_cells(request.organization, request.GET.getlist("id"))
    moving_ids = [cell.public_id for cell in cells if not cell.is_at_rest]
    return render(request, "compute/instance_status.html", {"cells": cells, "moving_ids": moving_ids})


@organization_required(Permission.VIEW)
@require_safe
def instance_detail(request: OrganizationRequest, public_id: str) -> HttpResponse:
    """Show one instance. Its poll says which state it shows and gets the page's body only when that has changed.

    While billing runs it gets what the instance has cost so far, so that nothing else loses focus or selection.
    """
    instance = _get(request, public_id)
    if request.htmx and request.GET.get("state") == instance.state:
        return _spend_so_far(request, instance)
    context = {
        "instance": instance,
        "row": selectors.row_of(instance),
        "events": selectors.timeline_of(instance),
        "spend": selectors.spend_of(instance),
        "may_manage": request.membership.may_in(Permission.MANAGE_INSTANCES, instance.project_id),
    }
    return render(request, page_or_partial(request, "compute/instance_detail.html", "instance-body"), context)


def _spend_so_far(request: OrganizationRequest, instance: Instance) -> HttpResponse:
    spend = selectors.spend_of(instance)
    if not spend.is_running:
        return HttpResponse(status=NOTHING_NEW)
    context = {"instance": instance, "row": selectors.row_of(instance), "spend": spend}
    answer = render(request, "compute/instance_detail.html#instance-spend", context)
    return retarget(reswap(answer, "outerHTML"), "#instance-spend")


@organization_required(Permission.MANAGE_INSTANCES, in_projects=True, open_while_stopped=True)
@require_POST
def instance_stop(request: OrganizationRequest, public_id: str) -> HttpResponse:
    instance = _get_to_manage(request, public_id)
    try:
        stop_instance(instance=instance, now=timezone.now())
    except UnableToChangeInstance as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("%(name)s is stopping. Billing has ended.") % {"name": instance.name})
    return _back(request, public_id)


@organization_required(Permission.MANAGE_INSTANCES, in_projects=True)
@require_POST
def instance_start(request: OrganizationRequest, public_id: str) -> HttpResponse:
    try:
        start_instance(instance=_get_to_manage(request, public_id), now=timezone.now())
    except DomainError as error:
        messages.error(request, str(error))
    return _back(request, public_id)


@organization_required(Permission.MANAGE_INSTANCES, in_projects=True)
@require_POST
def instance_restart(request: OrganizationRequest, public_id: str) -> HttpResponse:
    try:
        restart_instance(instance=_get_to_manage(request, public_id), now=timezone.now())
    except UnableToChangeInstance as error:
        messages.error(request, str(error))
    return _back(request, public_id)


@organization_required(Permission.MANAGE_INSTANCES, in_projects=True, open_while_stopped=True)
@require_http_methods(["GET", "HEAD", "POST"])
def instance_terminate(request: OrganizationRequest, public_id: str) -> HttpResponse:
    """Say what is lost and ask once; POST ends the instance."""
    instance = _get_to_manage(request, public_id)
    if request.method == "POST":
        terminate_instance(instance=instance, now=timezone.now())
        messages.success(request, _("%(name)s is being terminated. Billing has ended.") % {"name": instance.name})
        return _back(request, public_id)
    return render(request, "compute/instance_terminate.html", {"instance": instance})


def _get(request: OrganizationRequest, public_id: str) -> Instance:
    mine = Instance.objects.owned_by(request.organization)
    return get_object_or_404(mine.select_related("region", "instance_type", "image", "project"), public_id=public_id)


def _get_to_manage(request: OrganizationRequest, public_id: str) -> Instance:
    instance = _get(request, public_id)
    require_in(request, Permission.MANAGE_INSTANCES, instance.project_id)
    return instance


def _back(request: OrganizationRequest, public_id: str) -> HttpResponse:
    return redirect("compute:instance-detail", request.organization.slug, public_id)
