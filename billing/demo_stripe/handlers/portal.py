"""Sessions of the hosted customer portal, and its configurations."""

from billing.demo_stripe.account import Account
from billing.demo_stripe.calls import Call, Routes, route
from billing.demo_stripe.kinds import KINDS
from billing.demo_stripe.records import listing, retrieving, shaped, updating
from billing.demo_stripe.refusals import Body, Refused, missing_parameter
from billing.demo_stripe.spec.blanks import blank, filled
from billing.demo_stripe.spec.shapes import fields_of

_CONFIGURATION = "business_profile default_return_url features metadata name"


def create_session(call: Call) -> Body:
    account, given = call.account, call.given
    if "customer" not in given:
        raise missing_parameter("customer")
    customer = account.find("customer", given["customer"], "customer")
    if given.get("configuration"):
        configuration = account.find("billing_portal.configuration", given["configuration"], "configuration")
    else:
        configuration = _default_configuration(account)
    session = account.create(
        "billing_portal.session",
        configuration=configuration["id"],
        customer=customer["id"],
        flow=_flow(given.get("flow_data")),
        return_url=given.get("return_url") or configuration["default_return_url"],
        **shaped("billing_portal.session", given, "locale"),
    )
    session["url"] = f"{account.address}/p/{session['id']}"
    account.emit("billing_portal.session.created", session)
    return session


def create_configuration(call: Call) -> Body:
    return _new_configuration(call.account, call.given)


def _new_configuration(account: Account, given: Body, *, is_default: bool = False) -> Body:
    made = account.create(
        "billing_portal.configuration",
        active=True,
        is_default=is_default,
        updated=account.now(),
        **shaped("billing_portal.configuration", given, _CONFIGURATION),
    )
    account.emit("billing_portal.configuration.created", made)
    return made


def _default_configuration(account: Account) -> Body:
    for each in account.all_of("billing_portal.configuration"):
        if each["is_default"]:
            return each
    return _new_configuration(account, {"features": {"payment_method_update": {"enabled": True}}}, is_default=True)


def _flow(given: Body | None) -> Body | None:
    if given is None:
        return None
    if given["type"] != "payment_method_update":
        raise Refused(
            "The double's portal has the flow payment_method_update only.",
            status=501,
            code="not_implemented_in_double",
            param="flow_data[type]",
        )
    source = KINDS["billing_portal.session"].source.nested["Flow"]
    after = filled(fields_of(source)["after_completion"].shape, {"type": "portal_homepage"})
    return {**blank(source), "type": "payment_method_update", "after_completion": after}


ROUTES: Routes = {
    ("post", "/v1/billing_portal/sessions"): route(
        create_session, "configuration customer flow_data locale return_url"
    ),
    ("post", "/v1/billing_portal/configurations"): route(create_configuration, _CONFIGURATION),
    ("get", "/v1/billing_portal/configurations"): listing("billing_portal.configuration", "active is_default"),
    ("get", "/v1/billing_portal/configurations/{configuration}"): retrieving("billing_portal.configuration"),
    ("post", "/v1/billing_portal/configurations/{configuration}"): updating(
        "billing_portal.configuration", f"{_CONFIGURATION} active", "billing_portal.configuration.updated"
    ),
}
