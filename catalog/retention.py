"""How long the price list is kept: for ever, since what was sold at a price refers to it."""

from portal.lib.retention import Kept, Table, Whose

_FOREVER = Kept("forever")
_WHY = "what was sold refers to it; it says nothing of customers"

TABLES = (
    Table("catalog_image", "what instances boot", Whose.PORTAL, _FOREVER, _WHY),
    Table("catalog_instancetype", "machine shapes on sale", Whose.PORTAL, _FOREVER, _WHY),
    Table("catalog_meter", "what is measured, and in which unit", Whose.PORTAL, _FOREVER, _WHY),
    Table("catalog_price", "price versions", Whose.PORTAL, _FOREVER, _WHY),
    Table("catalog_region", "where machines are", Whose.PORTAL, _FOREVER, _WHY),
    Table("catalog_servedmodel", "models on sale", Whose.PORTAL, _FOREVER, _WHY),
    Table("catalog_sku", "things on the price list", Whose.PORTAL, _FOREVER, _WHY),
)
