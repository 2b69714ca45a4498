"""How long receipts are kept. What was asked and answered is kept nowhere (P10)."""

from accounts.retention import HELD_BY_ORGANIZATION, PROJECT, USER
from portal.lib.retention import Age, Deleted, Kept, LeftOut, Part, Personal, Table, Whose, name_of

RECEIPTS = Age(months=13)

_RECEIPTS = {
    **PROJECT,
    **USER,
    "api_key_id": name_of("accounts_apikey", "api_key_id"),
    "served_model_id": name_of("catalog_servedmodel", "served_model_id", "name"),
    "deployment_id": name_of("inference_deployment", "deployment_id"),
    # As text, since it has more decimals than most programs read.
    "cost_usd": "t.cost_usd::text",
}
_DIGESTS = ("idempotency_digest", "body_digest")

TABLES = (
    Table(
        "inference_receipt",
        "what every request to a model came to: who, when, how much; never what was said",
        Whose.ORGANIZATION,
        Deleted(RECEIPTS, "requested_at", through="inference_forget_receipts"),
        "as long as the usage events that they explain",
        (Personal("user_id", "a number, which leads to nobody once they are erased"),),
        of_organization=Part("receipts", hidden=_DIGESTS, shown=_RECEIPTS),
        of_person=Part("receipts", "t.user_id = %(user)s", hidden=_DIGESTS, shown=_RECEIPTS),
    ),
    Table(
        "inference_idempotencyclaim",
        "requests with an Idempotency-Key that are running now, as digests",
        Whose.ORGANIZATION,
        Deleted(Age(days=1), "expires_at", HELD_BY_ORGANIZATION),
        "an expired one is a killed gateway's, and only a repetition would take it over",
        of_organization=LeftOut("digests of what a program sent, for minutes; the receipt takes its place"),
    ),
    Table(
        "inference_deployment",
        "upstreams that serve our models",
        Whose.PORTAL,
        Kept("forever"),
        "receipts name theirs; it says nothing of customers",
    ),
)
