"""What we sell; knows nothing of customers."""

from catalog.models.instance_type import Image, InstanceType, LeaseClass, Region
from catalog.models.price import Meter, Price, Product, Sku
from catalog.models.proposal import PriceProposal
from catalog.models.served_model import ServedModel

__all__ = [
    "Image",
    "InstanceType",
    "LeaseClass",
    "Meter",
    "Price",
    "PriceProposal",
    "Product",
    "Region",
    "ServedModel",
    "Sku",
]
