"""Tax of a sale, as Stripe Tax would calculate it for a seller in Ireland who is registered in a few countries."""

from billing.demo_stripe.account import DAY, Account
from billing.demo_stripe.calls import Call, Routes, route
from billing.demo_stripe.records import PAGING, page_of, retrieving, shaped
from billing.demo_stripe.refusals import Body, Refused, missing_parameter

# Standard rates of value-added tax in tenths of a percent; elsewhere the demonstration's seller is not registered.
RATES = {"AT": 200, "BE": 210, "DE": 190, "ES": 210, "FR": 200, "IE": 230, "IT": 220, "NL": 210, "PL": 230, "SE": 250}
HOME = "IE"


def tax_of(amount: int, rate: int) -> int:
    """Return the tax on an amount, both in cents, half a cent upwards. rate: tenths of a percent."""
    return (amount * rate + 500) // 1000


def create_calculation(call: Call) -> Body:
    account, given = call.account, call.given
    details = _details(account, given)
    if not details["address"]:
        raise Refused(
            "The customer's address is not known.",
            code="customer_tax_location_invalid",
            param="customer_details[address]",
        )
    rate, reason = _rate(details)
    items = [_line_item(account, each, details["address"]["country"], rate, reason) for each in given["line_items"]]
    net, tax = sum(item["amount"] for item in items), sum(item["amount_tax"] for item in items)
    made = account.create(
        "tax.calculation",
        amount_total=net + tax,
        currency=given["currency"],
        customer=given.get("customer"),
        customer_details=details,
        expires_at=account.now() + 90 * DAY,
        tax_amount_exclusive=tax,
        tax_breakdown=[
            {
                "amount": tax,
                "inclusive": False,
                "tax_rate_details": {
                    "country": details["address"]["country"],
                    "flat_amount": None,
                    "percentage_decimal": _percentage(rate),
                    "rate_type": "percentage",
                    "state": None,
                    "tax_type": "vat",
                },
                "taxability_reason": reason,
                "taxable_amount": net if rate else 0,
            }
        ],
        tax_date=given.get("tax_date", account.now()),
    )
    account.secrets.made_with[made["id"]] = {"items": [item["id"] for item in items]}
    return made


def list_line_items(call: Call) -> Body:
    made = call.account.find("tax.calculation", call.ids[0])
    return page_of(call, [call.account.objects[name] for name in call.account.secrets.made_with[made["id"]]["items"]])


def _details(account: Account, given: Body) -> Body:
    """Return who buys and where: as given, or as the customer's own data says."""
    if given.get("customer"):
        customer = account.find("customer", given["customer"], "customer")
        tax_ids = [
            {"type": each["type"], "value": each["value"]}
            for each in account.all_of("tax_id")
            if each["customer"] == customer["id"]
        ]
        override = {"exempt": "customer_exempt", "reverse": "reverse_charge"}.get(customer["tax_exempt"], "none")
        known: Body = {"address": customer["address"], "tax_ids": tax_ids, "taxability_override": override}
    elif given.get("customer_details"):
        known = {"tax_ids": [], "taxability_override": "none", **given["customer_details"]}
    else:
        raise missing_parameter("customer_details")
    filled: Body = shaped("tax.calculation", {"customer_details": known}, "customer_details")["customer_details"]
    return {**filled, "address_source": filled["address_source"] or "billing"}


def _rate(details: Body) -> tuple[int, str]:
    """Return the rate that applies, in tenths of a percent, and why."""
    country, override = details["address"]["country"], details["taxability_override"]
    if override == "customer_exempt":
        return 0, "customer_exempt"
    is_business = any(each["type"] == "eu_vat" for each in details["tax_ids"])
    if override == "reverse_charge" or (is_business and country in RATES and country != HOME):
        return 0, "reverse_charge"
    if country not in RATES:
        return 0, "not_collecting"
    return RATES[country], "standard_rated"


def _line_item(account: Account, given: Body, country: str, rate: int, reason: str) -> Body:
    if given.get("tax_behavior", "exclusive") != "exclusive":
        raise Refused(
            "The double calculates tax on top of prices only.",
            status=501,
            code="not_implemented_in_double",
            param="line_items[tax_behavior]",
        )
    tax = tax_of(given["amount"], rate)
    made = account.create(
        "tax.calculation_line_item",
        amount=given["amount"],
        amount_tax=tax,
        quantity=given.get("quantity", 1),
        tax_behavior="exclusive",
        tax_breakdown=[
            {
                "amount": tax,
                "jurisdiction": {"country": country, "display_name": country, "level": "country", "state": None},
                "sourcing": "destination",
                "tax_rate_details": {
                    "display_name": "VAT",
                    "percentage_decimal": _percentage(rate),
                    "tax_type": "vat",
                },
                "taxability_reason": reason,
                "taxable_amount": given["amount"] if rate else 0,
            }
        ],
        tax_code=given.get("tax_code", "txcd_10000000"),
        **shaped("tax.calculation_line_item", given, "metadata"),
    )
    made["reference"] = given.get("reference") or made["id"]
    return made


def _percentage(rate: int) -> str:
    return f"{rate // 10}.{rate % 10}"


ROUTES: Routes = {
    ("post", "/v1/tax/calculations"): route(
        create_calculation, "currency customer customer_details line_items tax_date"
    ),
    ("get", "/v1/tax/calculations/{calculation}"): retrieving("tax.calculation"),
    ("get", "/v1/tax/calculations/{calculation}/line_items"): route(list_line_items, PAGING),
}
