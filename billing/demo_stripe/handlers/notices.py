"""Events, and the webhook endpoints that they are delivered to."""

import secrets

from billing.demo_stripe.account import Account
from billing.demo_stripe.calls import Call, Routes, route
from billing.demo_stripe.records import PAGING, change, listing, page_of, retrieving, shaped
from billing.demo_stripe.refusals import Body, Refused


def create_endpoint(call: Call) -> Body:
    """Answer with the secret that signs, which is told this once."""
    endpoint = new_endpoint(call.account, call.given, f"whsec_{secrets.token_urlsafe(24)}")
    return {**endpoint, "secret": call.account.secrets.signing[endpoint["id"]]}


def new_endpoint(account: Account, given: Body, secret: str) -> Body:
    """Keep an endpoint that gets the events it names, signed with the secret. Raises Refused."""
    _check_url(given["url"])
    endpoint = account.create(
        "webhook_endpoint",
        status="enabled",
        **shaped("webhook_endpoint", given, "api_version description enabled_events metadata url"),
    )
    # Told at its creation and never again, null neither.
    del endpoint["secret"]
    account.secrets.signing[endpoint["id"]] = secret
    return endpoint


def update_endpoint(call: Call) -> Body:
    endpoint = call.account.find_live("webhook_endpoint", call.ids[0])
    given = dict(call.given)
    if "url" in given:
        _check_url(given["url"])
    if "disabled" in given:
        endpoint["status"] = "disabled" if given.pop("disabled") else "enabled"
    return change(call.account, endpoint, given)


def delete_endpoint(call: Call) -> Body:
    endpoint = call.account.find_live("webhook_endpoint", call.ids[0])
    del call.account.secrets.signing[endpoint["id"]]
    return call.account.delete(endpoint)


def list_events(call: Call) -> Body:
    if "type" in call.given and "types" in call.given:
        raise Refused("Give type or types, not both.", code="parameters_exclusive")
    wanted = call.given.get("types") or ([call.given["type"]] if "type" in call.given else ["*"])
    return page_of(call, (each for each in call.account.all_of("event") if is_wanted(each["type"], wanted)))


def is_wanted(kind: str, wanted: list[str]) -> bool:
    """Return whether a type of event is among those wanted, where `*` stands for all, or all under a name."""
    return any(each in ("*", kind) or (each.endswith(".*") and kind.startswith(each[:-1])) for each in wanted)


def _check_url(url: str) -> None:
    if not url.startswith(("http://", "https://")):
        raise Refused(f"Invalid URL: {url}", code="url_invalid", param="url")


ROUTES: Routes = {
    ("post", "/v1/webhook_endpoints"): route(create_endpoint, "api_version description enabled_events metadata url"),
    ("get", "/v1/webhook_endpoints"): listing("webhook_endpoint"),
    ("get", "/v1/webhook_endpoints/{webhook_endpoint}"): retrieving("webhook_endpoint"),
    ("post", "/v1/webhook_endpoints/{webhook_endpoint}"): route(
        update_endpoint, "description disabled enabled_events metadata url"
    ),
    ("delete", "/v1/webhook_endpoints/{webhook_endpoint}"): route(delete_endpoint),
    ("get", "/v1/events"): route(list_events, f"{PAGING} type types"),
    ("get", "/v1/events/{id}"): retrieving("event"),
}
