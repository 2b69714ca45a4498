"""The public list of instance types: prices from the catalog, and where they are free right now."""

from http import HTTPStatus

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.models import Membership, User
from accounts.selectors import memberships_of
from catalog.forms import INSTANCE_TYPE_COLUMNS, InstanceTypeListForm
from catalog.models import Region
from catalog.selectors import instance_type_row, instance_type_rows, price_history
from compute.selectors import stock_by_type
from portal.lib.http import PortalHttpRequest, page_or_partial
from portal.lib.sorting import query_without, sort_links
from portal.lib.tenancy import set_user


@require_safe
def instance_type_list(request: PortalHttpRequest) -> HttpResponse:
    """List the instance types; filters, order and comparison are in the address."""
    stock = stock_by_type()
    form = InstanceTypeListForm(
        request.GET,
        rows=instance_type_rows(timezone.now()),
        regions=Region.objects.order_by("name"),
        free_in={name: {place.region for place in places if place.is_free} for name, places in stock.items()},
    )
    is_valid = form.is_valid()
    return render(
        request,
        page_or_partial(request, "compute/instance_type_list.html", "instance-type-list"),
        {
            "form": form,
            "offers": [(row, row.price_of(form.lease_class_value), stock.get(row.name, ())) for row in form.matching()],
            "compared": form.compared(),
            "columns": sort_links(request.GET, INSTANCE_TYPE_COLUMNS, form.sort_value),
            "query_without_comparison": query_without(request.GET, "compare"),
        },
        status=HTTPStatus.OK if is_valid else HTTPStatus.UNPROCESSABLE_ENTITY,
    )


@require_safe
def instance_type_detail(request: HttpRequest, name: str) -> HttpResponse:
    """Show one instance type: prices and notice by lease class, where it is free, its facts, how to launch it."""
    row = instance_type_row(name, timezone.now())
    if row is None:
        raise Http404
    return render(
        request,
        "compute/instance_type_detail.html",
        {
            "row": row,
            "stock": stock_by_type(name).get(name, ()),
            "history": price_history(row.skus),
            "memberships": _memberships(request),
            "api_url": f"{settings.PORTAL_URL}/api/v1",
        },
    )


def _memberships(request: HttpRequest) -> list[Membership]:
    """Return where the reader could launch it; nothing for visitors."""
    if not isinstance(request.user, User):
        return []
    set_user(request.user.pk)
    return memberships_of(request.user)
