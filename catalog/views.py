"""The public price list: models, prices, and the same for language models to read."""

import hashlib
from http import HTTPStatus

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.cache import get_conditional_response
from django.views.decorators.http import require_safe

from catalog import selectors
from catalog.forms import MODEL_COLUMNS, ModelListForm
from catalog.models import ServedModel
from portal.lib.api import JsonResponse
from portal.lib.http import PortalHttpRequest, page_or_partial
from portal.lib.snippets import KEY_VARIABLE, chat_snippets, embedding_snippets
from portal.lib.sorting import query_without, sort_links

# Whoever checks an invoice looks at hours that are over, whose prices never change.
RATE_CARD_SECONDS = 300


@require_safe
def model_list(request: PortalHttpRequest) -> HttpResponse:
    """List the models; filters, order and comparison are in the address."""
    form = ModelListForm(request.GET, rows=selectors.served_model_rows(timezone.now()))
    is_valid = form.is_valid()
    return render(
        request,
        page_or_partial(request, "catalog/model_list.html", "model-list"),
        {
            "form": form,
            "rows": form.matching(),
            "compared": form.compared(),
            "columns": sort_links(request.GET, MODEL_COLUMNS, form.sort_value),
            "query_without_comparison": query_without(request.GET, "compare"),
        },
        status=HTTPStatus.OK if is_valid else HTTPStatus.UNPROCESSABLE_ENTITY,
    )


@require_safe
def model_detail(request: HttpRequest, name: str) -> HttpResponse:
    """Show one model: what it is, what it costs and has cost, how to call it."""
    row = selectors.served_model_row(name, timezone.now())
    if row is None:
        raise Http404
    snippets = chat_snippets if row.kind == ServedModel.Kind.CHAT else embedding_snippets
    return render(
        request,
        "catalog/model_detail.html",
        {
            "row": row,
            "history": selectors.price_history(row.skus),
            "snippets": snippets(api_address(), row.name),
            "base_url": api_address(),
            "key_variable": KEY_VARIABLE,
        },
    )


@require_safe
def pricing(request: HttpRequest) -> HttpResponse:
    """Show the whole price list on one page."""
    now = timezone.now()
    return render(
        request,
        "catalog/pricing.html",
        {"models": selectors.served_model_rows(now), "instance_types": selectors.instance_type_rows(now)},
    )


@require_safe
def price_history(request: HttpRequest, sku: str) -> HttpResponse:
    """Show what one SKU costs, has cost and will cost: every version, from when, to when."""
    history = selectors.price_history([sku])
    if not history:
        raise Http404
    return render(request, "catalog/price_history.html", {"history": history, "now": timezone.now()})


@require_safe
def rate_card(request: HttpRequest) -> HttpResponse:
    """Serve every version of every list price as a file, the same bytes as long as there is no new version."""
    response = JsonResponse(selectors.rate_card())
    response["Cache-Control"] = f"public, max-age={RATE_CARD_SECONDS}"
    etag = f'"{hashlib.sha256(response.content).hexdigest()[:32]}"'
    response["ETag"] = etag
    return get_conditional_response(request, etag=etag, response=response) or response


@require_safe
def llms_txt(request: HttpRequest) -> HttpResponse:
    """Say in plain words for language models what is sold here and how to call it."""
    now = timezone.now()
    context = {
        "models": selectors.served_model_rows(now),
        "instance_types": selectors.instance_type_rows(now),
        "base_url": api_address(),
        "key_variable": KEY_VARIABLE,
    }
    return render(request, "catalog/llms.txt", context, content_type="text/plain; charset=utf-8")


def api_address() -> str:
    """Return what OpenAI clients call the base URL."""
    return f"{settings.PORTAL_URL}/v1"
