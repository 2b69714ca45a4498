"""Customers with their tax ids, their balance and their saved cards."""

import re
import secrets

from billing.demo_stripe.account import Account
from billing.demo_stripe.calls import Call, LaterVerbs, Routes, route
from billing.demo_stripe.handlers.payment_methods import attach, find_payment_method
from billing.demo_stripe.records import PAGING, change, listing, page_of, retrieving, shaped
from billing.demo_stripe.refusals import Body, Refused, missing_object

_FIELDS = (
    "address business_name description email individual_name invoice_settings metadata name phone preferred_locales "
    "shipping tax_exempt"
)
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
# What a number of each type looks like. Those of other types are taken as they come.
_TAX_NUMBERS = {
    "au_abn": r"\d{11}",
    "ca_bn": r"\d{9}",
    "ch_vat": r"CHE-?\d{3}\.?\d{3}\.?\d{3}( ?(MWST|TVA|IVA))?",
    "eu_vat": r"(AT|BE|BG|CY|CZ|DE|DK|EE|EL|ES|FI|FR|HR|HU|IE|IT|LT|LU|LV|MT|NL|PL|PT|RO|SE|SI|SK|XI)[0-9A-Z]{2,13}",
    "gb_vat": r"(GB|XI)(\d{9}|\d{12})",
    "in_gst": r"[0-9A-Z]{15}",
    "no_vat": r"\d{9}MVA",
    "us_ein": r"\d{2}-?\d{7}",
}
_VERIFIED_TYPES = ("au_abn", "eu_vat", "gb_vat")
_SEARCH = re.compile(r"""\s*(\w+)(?:\[['"]([^'"]+)['"]\])?\s*:\s*['"]([^'"]*)['"]\s*""")


def create_customer(call: Call) -> Body:
    account, given = call.account, call.given
    _check_address(given.get("email"))
    # The default comes after the payment method, which must be the customer's first.
    customer = new_customer(account, shaped("customer", given, f"{_FIELDS} balance".replace("invoice_settings", "")))
    if given.get("payment_method"):
        attach(account, find_payment_method(account, given["payment_method"]), customer)
    if given.get("invoice_settings"):
        _set_default(account, customer, given["invoice_settings"])
    for each in given.get("tax_id_data", []):
        _add_tax_id(account, customer, each)
    return customer


def new_customer(account: Account, known: Body) -> Body:
    """Keep a customer with these fields, and tell of it."""
    customer = account.create(
        "customer",
        **{
            "balance": 0,
            "delinquent": False,
            "invoice_prefix": secrets.token_hex(4).upper(),
            "invoice_settings": dict.fromkeys(
                ("custom_fields", "default_payment_method", "footer", "rendering_options")
            ),
            "next_invoice_sequence": 1,
            "preferred_locales": [],
            "tax_exempt": "none",
            **known,
        },
    )
    account.emit("customer.created", customer)
    return customer


def update_customer(call: Call) -> Body:
    account, customer = call.account, call.account.find_live("customer", call.ids[0])
    _check_address(call.given.get("email"))
    if "invoice_settings" in call.given:
        _check_default(account, customer, call.given["invoice_settings"])
    return change(account, customer, call.given, "customer.updated")


def delete_customer(call: Call) -> Body:
    account, customer = call.account, call.account.find_live("customer", call.ids[0])
    for kind in ("payment_method", "tax_id"):
        for each in list(account.all_of(kind)):
            if each["customer"] == customer["id"]:
                each["customer"] = None
    account.emit("customer.deleted", customer)
    return account.delete(customer)


def search_customers(call: Call) -> Body:
    """Answer a search for equal fields or metadata, joined by AND; Stripe's other operators are refused."""
    wanted = []
    for clause in re.split(r"\sAND\s", call.given["query"]):
        found = _SEARCH.fullmatch(clause)
        if not found:
            raise Refused(f"The double searches for equal texts only, not {clause}.", param="query")
        wanted.append(found.groups())
    matches = [
        each
        for each in call.account.all_of("customer")
        if all(((each.get(name) or {}).get(key) if key else each.get(name)) == value for name, key, value in wanted)
    ]
    limit = call.given.get("limit", 10)
    return {
        "object": "search_result",
        "data": matches[:limit],
        "has_more": len(matches) > limit,
        "next_page": None,
        "url": call.path,
    }


def list_payment_methods(call: Call) -> Body:
    customer = call.account.find_live("customer", call.ids[0])
    return page_of(
        call,
        (
            each
            for each in call.account.all_of("payment_method")
            if each["customer"] == customer["id"] and call.given.get("type", each["type"]) == each["type"]
        ),
    )


def retrieve_payment_method(call: Call) -> Body:
    found = call.account.find("payment_method", call.ids[1])
    if found["customer"] != call.account.find_live("customer", call.ids[0])["id"]:
        raise missing_object("payment_method", call.ids[1])
    return found


def create_tax_id(call: Call) -> Body:
    return _add_tax_id(call.account, call.account.find_live("customer", call.ids[0]), call.given)


def list_tax_ids(call: Call) -> Body:
    customer = call.account.find_live("customer", call.ids[0])
    return page_of(call, (each for each in call.account.all_of("tax_id") if each["customer"] == customer["id"]))


def retrieve_tax_id(call: Call) -> Body:
    return _tax_id_of(call)


def delete_tax_id(call: Call) -> Body:
    tax_id = _tax_id_of(call)
    call.account.emit("customer.tax_id.deleted", tax_id)
    return call.account.delete(tax_id)


def create_balance_transaction(call: Call) -> Body:
    account, customer = call.account, call.account.find_live("customer", call.ids[0])
    previous = {"balance": customer["balance"]}
    customer["balance"] += call.given["amount"]
    customer["currency"] = call.given["currency"]
    made = account.create(
        "customer_balance_transaction",
        customer=customer["id"],
        ending_balance=customer["balance"],
        type="adjustment",
        **shaped("customer_balance_transaction", call.given, "amount currency description metadata"),
    )
    account.emit("customer.updated", customer, previous)
    return made


def list_balance_transactions(call: Call) -> Body:
    customer = call.account.find_live("customer", call.ids[0])
    found = call.account.all_of("customer_balance_transaction")
    return page_of(call, (each for each in found if each["customer"] == customer["id"]))


def retrieve_balance_transaction(call: Call) -> Body:
    found = call.account.find("customer_balance_transaction", call.ids[1])
    if found["customer"] != call.ids[0]:
        raise missing_object("customer_balance_transaction", call.ids[1])
    return found


def _check_address(email: str | None) -> None:
    if email and not _ADDRESS.fullmatch(email):
        raise Refused(f"Invalid email address: {email}", code="email_invalid", param="email")


def _check_default(account: Account, customer: Body, settings: Body) -> None:
    name = settings.get("default_payment_method")
    if name and find_payment_method(account, name)["customer"] != customer["id"]:
        raise missing_object("PaymentMethod", name, "invoice_settings[default_payment_method]", status=400)


def _set_default(account: Account, customer: Body, settings: Body) -> None:
    _check_default(account, customer, settings)
    change(account, customer, {"invoice_settings": settings}, "customer.updated")


def _add_tax_id(account: Account, customer: Body, given: Body) -> Body:
    kind, value = given["type"], given["value"]
    if not re.fullmatch(_TAX_NUMBERS.get(kind, ".+"), value):
        raise Refused(f"Invalid value for {kind}.", code="tax_id_invalid", param="value")
    status = "pending" if kind in _VERIFIED_TYPES else "unavailable"
    tax_id = account.create(
        "tax_id",
        customer=customer["id"],
        type=kind,
        value=value,
        country=value[:2] if kind == "eu_vat" else kind[:2].upper(),
        owner={
            "account": None,
            "application": None,
            "customer": customer["id"],
            "customer_account": None,
            "type": "customer",
        },
        verification={"status": status, "verified_address": None, "verified_name": None},
    )
    account.emit("customer.tax_id.created", tax_id)
    # Numbers of nine zeros and nine ones are verified and not, as with Stripe's own test numbers; others stay pending.
    outcome = {"0" * 9: "verified", "1" * 9: "unverified"}.get(value[-9:])
    if status == "pending" and outcome:
        account.happen_later(60, "verify_tax_id", tax_id["id"], outcome)
    return tax_id


def _verify(account: Account, name: str, outcome: str) -> None:
    tax_id = account.objects[name]
    if not tax_id.get("deleted"):
        found = "Verified Name" if outcome == "verified" else None
        change(
            account,
            tax_id,
            {"verification": {"status": outcome, "verified_address": None, "verified_name": found}},
            "customer.tax_id.updated",
        )


def _tax_id_of(call: Call) -> Body:
    found = call.account.find_live("tax_id", call.ids[1])
    if found["customer"] != call.ids[0]:
        raise missing_object("tax_id", call.ids[1])
    return found


ROUTES: Routes = {
    ("post", "/v1/customers"): route(create_customer, f"{_FIELDS} balance payment_method tax_id_data"),
    ("get", "/v1/customers"): listing("customer", "email"),
    ("get", "/v1/customers/search"): route(search_customers, "limit query"),
    ("get", "/v1/customers/{customer}"): retrieving("customer"),
    ("post", "/v1/customers/{customer}"): route(update_customer, _FIELDS),
    ("delete", "/v1/customers/{customer}"): route(delete_customer),
    ("get", "/v1/customers/{customer}/payment_methods"): route(list_payment_methods, f"{PAGING} type"),
    ("get", "/v1/customers/{customer}/payment_methods/{payment_method}"): route(retrieve_payment_method),
    ("post", "/v1/customers/{customer}/tax_ids"): route(create_tax_id, "type value"),
    ("get", "/v1/customers/{customer}/tax_ids"): route(list_tax_ids, PAGING),
    ("get", "/v1/customers/{customer}/tax_ids/{id}"): route(retrieve_tax_id),
    ("delete", "/v1/customers/{customer}/tax_ids/{id}"): route(delete_tax_id),
    ("post", "/v1/customers/{customer}/balance_transactions"): route(
        create_balance_transaction, "amount currency description metadata"
    ),
    ("get", "/v1/customers/{customer}/balance_transactions"): route(list_balance_transactions, PAGING),
    ("get", "/v1/customers/{customer}/balance_transactions/{transaction}"): route(retrieve_balance_transaction),
}

LATER: LaterVerbs = {"verify_tax_id": _verify}
