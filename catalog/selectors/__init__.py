"""Reads of the catalog: prices as calculations want them, and rows of ready strings as pages print them."""

from catalog.selectors.instance_types import InstanceTypeRow, LeasePrice, instance_type_row, instance_type_rows
from catalog.selectors.price_list import (
    VERSION,
    PriceRow,
    PriceSource,
    RateCard,
    TierRow,
    UnitPrice,
    list_versions,
    price_history,
    price_list,
    rate_card,
    unit_prices,
    version_of,
)
from catalog.selectors.proposals import ProposalRow, proposal_rows
from catalog.selectors.served_models import ServedModelRow, served_model_row, served_model_rows

__all__ = [
    "VERSION",
    "InstanceTypeRow",
    "LeasePrice",
    "PriceRow",
    "PriceSource",
    "ProposalRow",
    "RateCard",
    "ServedModelRow",
    "TierRow",
    "UnitPrice",
    "instance_type_row",
    "instance_type_rows",
    "list_versions",
    "price_history",
    "price_list",
    "proposal_rows",
    "rate_card",
    "served_model_row",
    "served_model_rows",
    "unit_prices",
    "version_of",
]
