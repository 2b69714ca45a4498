"""How long the price list is kept: for ever, since what was sold at a price refers to it."""

from portal.lib.retention import Kept, Part, Personal, Table, Whose, name_of

_FOREVER = Kept("forever")
_WHY = "what was sold refers to it; it says nothing of customers"
_NUMBER = "a number, which leads to nobody once they are erased"

TABLES = (
    Table("catalog_image", "what instances boot", Whose.PORTAL, _FOREVER, _WHY),
    Table("catalog_instancetype", "machine shapes on sale", Whose.PORTAL, _FOREVER, _WHY),
    Table("catalog_meter", "what is measured, and in which unit", Whose.PORTAL, _FOREVER, _WHY),
    Table("catalog_price", "price versions", Whose.PORTAL, _FOREVER, _WHY),
    Table(
        "catalog_priceproposal",
        "changes of the price list that staff proposed and decided on",
        Whose.PORTAL,
        _FOREVER,
        "it says who changed what was sold",
        (Personal("proposed_by_id", _NUMBER), Personal("decided_by_id", _NUMBER)),
        of_person=Part(
            "price_proposals",
            "%(user)s IN (t.proposed_by_id, t.decided_by_id)",
            hidden=("proposed_by_id", "decided_by_id"),
            shown={"sku_id": name_of("catalog_sku", "sku_id", "code")},
        ),
    ),
    Table("catalog_region", "where machines are", Whose.PORTAL, _FOREVER, _WHY),
    Table("catalog_servedmodel", "models on sale", Whose.PORTAL, _FOREVER, _WHY),
    Table("catalog_sku", "things on the price list", Whose.PORTAL, _FOREVER, _WHY),
)
