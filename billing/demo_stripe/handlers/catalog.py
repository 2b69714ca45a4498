"""Products, prices and tax rates: as much of them as payments need."""

from billing.demo_stripe.calls import Call, Routes, route
from billing.demo_stripe.records import listing, retrieving, shaped, updating
from billing.demo_stripe.refusals import Body, missing_parameter


def create_product(call: Call) -> Body:
    known = shaped("product", call.given, "active description metadata name")
    product = call.account.create("product", **{"active": True, "updated": call.account.now(), **known})
    call.account.emit("product.created", product)
    return product


def create_price(call: Call) -> Body:
    account, given = call.account, call.given
    if "unit_amount" not in given:
        raise missing_parameter("unit_amount")
    if "product_data" in given:
        product = create_product(Call(account, call.path, (), given["product_data"]))
    else:
        product = account.find("product", given.get("product", ""), "product")
    price = account.create(
        "price",
        active=True,
        billing_scheme="per_unit",
        product=product["id"],
        tax_behavior="unspecified",
        type="one_time",
        unit_amount_decimal=str(given["unit_amount"]),
        **shaped("price", given, "currency metadata nickname unit_amount"),
    )
    account.emit("price.created", price)
    return price


def create_tax_rate(call: Call) -> Body:
    known = shaped("tax_rate", call.given, _TAX_RATE)
    rate = call.account.create("tax_rate", **{"active": True, **known})
    call.account.emit("tax_rate.created", rate)
    return rate


_TAX_RATE = "active country description display_name inclusive jurisdiction metadata percentage state tax_type"

ROUTES: Routes = {
    ("post", "/v1/products"): route(create_product, "active description metadata name"),
    ("get", "/v1/products"): listing("product", "active"),
    ("get", "/v1/products/{id}"): retrieving("product"),
    ("post", "/v1/prices"): route(create_price, "currency metadata nickname product product_data unit_amount"),
    ("get", "/v1/prices"): listing("price", "active currency product type"),
    ("get", "/v1/prices/{price}"): retrieving("price"),
    ("post", "/v1/tax_rates"): route(create_tax_rate, _TAX_RATE),
    ("get", "/v1/tax_rates"): listing("tax_rate", "active inclusive"),
    ("get", "/v1/tax_rates/{tax_rate}"): retrieving("tax_rate"),
    ("post", "/v1/tax_rates/{tax_rate}"): updating(
        "tax_rate",
        "active country description display_name jurisdiction metadata state tax_type",
        "tax_rate.updated",
    ),
}
