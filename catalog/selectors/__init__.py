"""Reads of the catalog: prices as calculations want them, and rows of ready strings as pages print them."""

from catalog.selectors.instance_types import InstanceTypeRow, LeasePrice, instance_type_row, instance_type_rows
from catalog.selectors.price_list import (
    PriceRow,
    PriceSource,
    UnitPrice,
    list_versions,
    price_history,
    price_list,
    unit_prices,
)
from catalog.selectors.served_models import ServedModelRow, served_model_row, served_model_rows

__all__ = [
    "InstanceTypeRow",
    "LeasePrice",
    "PriceRow",
    "PriceSource",
    "ServedModelRow",
    "UnitPrice",
    "instance_type_row",
    "instance_type_rows",
    "list_versions",
    "price_history",
    "price_list",
    "served_model_row",
    "served_model_rows",
    "unit_prices",
]
