"""The account's own money: its balance, what moved it, and payouts to its bank."""

from billing.demo_stripe.account import DAY, Account
from billing.demo_stripe.calls import Call, LaterVerbs, Routes, route
from billing.demo_stripe.movements import record_movement
from billing.demo_stripe.records import PAGING, listing, page_of, retrieving, shaped, updating
from billing.demo_stripe.refusals import Body, Refused
from billing.demo_stripe.spec.blanks import blank
from billing.demo_stripe.spec.source import class_named


def retrieve_balance(call: Call) -> Body:
    def amounts(status: str) -> list[Body]:
        found = [each for each in call.account.all_of("balance_transaction") if each["status"] == status]
        return [{"amount": sum(each["net"] for each in found), "currency": "usd"}]

    empty = blank(class_named("stripe._balance", "Balance"))
    return {**empty, "available": amounts("available"), "pending": amounts("pending")}


def list_movements(call: Call) -> Body:
    wanted = {name: call.given[name] for name in ("currency", "source", "type") if name in call.given}
    paid_out = call.account.secrets.payouts.get(call.given.get("payout", ""), ())
    return page_of(
        call,
        (
            each
            for each in call.account.all_of("balance_transaction")
            if all(each[name] == value for name, value in wanted.items())
            and ("payout" not in call.given or each["id"] in paid_out)
        ),
    )


def create_payout(call: Call) -> Body:
    available = retrieve_balance(call)["available"][0]["amount"]
    if call.given["amount"] > available:
        raise Refused(
            f"A payout of {call.given['amount']} is more than the {available} that are available.",
            code="balance_insufficient",
            param="amount",
        )
    return _new_payout(call.account, shaped("payout", call.given, "amount currency description metadata"))


def pay_out(account: Account) -> Body | None:
    """Pay out all that is available and not paid out yet, as Stripe does every day; None when there is nothing."""
    done = {name for names in account.secrets.payouts.values() for name in names}
    due = [
        each
        for each in account.all_of("balance_transaction")
        if each["status"] == "available" and each["id"] not in done and each["type"] != "payout"
    ]
    amount = sum(each["net"] for each in due)
    if amount < 1:
        return None
    payout = _new_payout(account, {"amount": amount, "automatic": True, "currency": "usd"})
    account.secrets.payouts[payout["id"]] = {each["id"] for each in due} | {payout["balance_transaction"]}
    return payout


def _new_payout(account: Account, known: Body) -> Body:
    payout = account.create(
        "payout",
        **{
            "arrival_date": account.now() + DAY,
            "automatic": False,
            "method": "standard",
            "reconciliation_status": "completed" if known.get("automatic") else "not_applicable",
            "source_type": "card",
            "status": "in_transit",
            **known,
        },
    )
    payout["balance_transaction"] = record_movement(
        account, amount=-payout["amount"], currency=payout["currency"], kind="payout", source=payout["id"], at_once=True
    )["id"]
    account.emit("payout.created", payout)
    account.happen_later(DAY, "arrive_payout", payout["id"])
    return payout


def _arrive(account: Account, name: str) -> None:
    payout = account.objects[name]
    payout["status"] = "paid"
    account.emit("payout.paid", payout)


ROUTES: Routes = {
    ("get", "/v1/balance"): route(retrieve_balance),
    ("get", "/v1/balance_transactions"): route(list_movements, f"{PAGING} currency payout source type"),
    ("get", "/v1/balance_transactions/{id}"): retrieving("balance_transaction"),
    ("post", "/v1/payouts"): route(create_payout, "amount currency description metadata"),
    ("get", "/v1/payouts"): listing("payout", "status"),
    ("get", "/v1/payouts/{payout}"): retrieving("payout"),
    ("post", "/v1/payouts/{payout}"): updating("payout", "metadata", "payout.updated"),
}

LATER: LaterVerbs = {"arrive_payout": _arrive}
