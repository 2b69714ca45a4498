"""Served models with their prices, as rows of ready strings."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime

from catalog.models import ServedModel
from catalog.selectors.price_list import PriceSource, UnitPrice, unit_prices
from portal.lib.money import decimal_string, divide_half_even

TOKENS = 1_000_000
TokenKind = ServedModel.TokenKind


@dataclass(frozen=True, slots=True)
class ServedModelRow:
    """A model on the list. Prices are for a million tokens: nano-dollars to sort by, exact decimals to print."""

    name: str
    title: str
    publisher: str
    kind: str
    kind_label: str
    description: str
    license_name: str
    context_length: int
    context: str
    max_output_tokens: int
    max_output: str  # empty for a model that produces no tokens
    default_output: str
    quantization: str
    released_on: date | None
    input_nano: int
    output_nano: int
    input: str
    cached_input: str  # empty where there is no such price
    output: str
    skus: tuple[str, ...]


def served_model_rows(at: datetime, prices: PriceSource = unit_prices) -> list[ServedModelRow]:
    """Return the listed models that have a price at `at`, by title."""
    models = list(ServedModel.objects.filter(is_listed=True).order_by("title", "pk"))
    return _rows(models, at, prices)


def served_model_row(name: str, at: datetime, prices: PriceSource = unit_prices) -> ServedModelRow | None:
    """Return the listed and priced model with that name, or None."""
    rows = _rows(ServedModel.objects.filter(is_listed=True, name=name), at, prices)
    return rows[0] if rows else None


def _rows(models: Iterable[ServedModel], at: datetime, source: PriceSource) -> list[ServedModelRow]:
    models = list(models)
    prices = source([model.sku(kind) for model in models for kind in TokenKind], at)
    return [_row(model, prices) for model in models if model.sku(TokenKind.INPUT) in prices]


def _row(model: ServedModel, prices: Mapping[str, UnitPrice]) -> ServedModelRow:
    nano = {
        kind: divide_half_even(price.price_nano * TOKENS, price.unit_size)
        for kind in TokenKind
        if (price := prices.get(model.sku(kind)))
    }
    return ServedModelRow(
        name=model.name,
        title=model.title,
        publisher=model.publisher,
        kind=model.kind,
        kind_label=model.get_kind_display(),
        description=model.description,
        license_name=model.license_name,
        context_length=model.context_length,
        context=f"{model.context_length:,}",
        max_output_tokens=model.max_output_tokens,
        max_output=f"{model.max_output_tokens:,}" if model.max_output_tokens else "",
        default_output=f"{model.default_output_tokens:,}" if model.default_output_tokens else "",
        quantization=model.quantization,
        released_on=model.released_on,
        input_nano=nano[TokenKind.INPUT],
        output_nano=nano.get(TokenKind.OUTPUT, 0),
        input=_usd(nano.get(TokenKind.INPUT)),
        cached_input=_usd(nano.get(TokenKind.CACHED_INPUT)),
        output=_usd(nano.get(TokenKind.OUTPUT)),
        skus=tuple(model.sku(kind) for kind in TokenKind if kind in nano),
    )


def _usd(nano: int | None) -> str:
    return "" if nano is None else decimal_string(nano)
