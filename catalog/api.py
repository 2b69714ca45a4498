"""The price list for programs; like the pages, it needs no key."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from django.http import Http404, HttpResponse
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.views import APIView

from catalog import selectors
from catalog.selectors import PriceRow, ServedModelRow
from portal.lib.api import JsonResponse
from portal.lib.openapi import described


@dataclass(frozen=True, slots=True)
class WholeList[T]:
    """A list that fits one page: the shape of every list of ours, without a next page."""

    data: Sequence[T]
    has_more: bool = False
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class ModelPrices:
    """Exact decimals for a million tokens."""

    currency: str
    input: str
    cached_input: str | None
    output: str | None


@dataclass(frozen=True, slots=True)
class ModelOutput:
    id: str
    title: str
    publisher: str
    kind: str
    description: str
    license: str
    context_length: int
    max_output_tokens: int | None
    quantization: str | None
    released_on: date | None
    price_per_million_tokens: ModelPrices


class ModelListView(APIView):
    """The models that are served, with their prices."""

    @described(WholeList[ModelOutput])
    def get(self, request: Request) -> HttpResponse:
        return JsonResponse(WholeList([_model(row) for row in selectors.served_model_rows(timezone.now())]))


class ModelDetailView(APIView):
    """One served model."""

    @described(ModelOutput)
    def get(self, request: Request, name: str) -> HttpResponse:
        row = selectors.served_model_row(name, timezone.now())
        if row is None:
            raise Http404
        return JsonResponse(_model(row))


class PriceListInput(serializers.Serializer[object]):
    at = serializers.DateTimeField(required=False, help_text="the instant whose prices are asked for; now by default")


class PriceListView(APIView):
    """Every list price at an instant."""

    @described(WholeList[PriceRow], query=PriceListInput)
    def get(self, request: Request) -> HttpResponse:
        given = PriceListInput(data=request.query_params)
        given.is_valid(raise_exception=True)
        prices: WholeList[PriceRow] = WholeList(selectors.price_list(given.validated_data.get("at") or timezone.now()))
        return JsonResponse(prices)


class PriceHistoryView(APIView):
    """Every version of one SKU's list price, announced ones too, the newest first."""

    @described(WholeList[PriceRow])
    def get(self, request: Request, sku: str) -> HttpResponse:
        history = selectors.price_history([sku])
        if not history:
            raise Http404
        return JsonResponse(WholeList(history))


def _model(row: ServedModelRow) -> ModelOutput:
    return ModelOutput(
        id=row.name,
        title=row.title,
        publisher=row.publisher,
        kind=row.kind,
        description=row.description,
        license=row.license_name,
        context_length=row.context_length,
        max_output_tokens=row.max_output_tokens or None,
        quantization=row.quantization or None,
        released_on=row.released_on,
        price_per_million_tokens=ModelPrices(
            currency="USD",
            input=row.input,
            cached_input=row.cached_input or None,
            output=row.output or None,
        ),
    )
