"""Disputes and inquiries: opened by a card's bank, answered with evidence, won, lost or given up."""

from billing.demo_stripe.account import DAY, Account
from billing.demo_stripe.calls import Call, LaterVerbs, Routes, route
from billing.demo_stripe.movements import record_movement
from billing.demo_stripe.records import change, listing, retrieving
from billing.demo_stripe.refusals import Body, Refused

DISPUTE_FEE = 1500  # cents
ANSWER_SECONDS = 7 * DAY
_OPEN = ("needs_response", "under_review", "warning_needs_response", "warning_under_review")


def open_dispute(account: Account, charge: Body, *, reason: str, is_inquiry: bool = False) -> Body:
    """Open a dispute, which takes the money at once, or an inquiry, which does not."""
    dispute = account.create(
        "dispute",
        amount=charge["amount_captured"],
        charge=charge["id"],
        currency=charge["currency"],
        is_charge_refundable=is_inquiry,
        payment_intent=charge["payment_intent"],
        payment_method_details={
            "card": {
                "brand": charge["payment_method_details"]["card"]["brand"],
                "case_type": "inquiry" if is_inquiry else "chargeback",
                "network": charge["payment_method_details"]["card"]["network"],
                "network_reason_code": None,
            },
            "type": "card",
        },
        reason=reason,
        status="warning_needs_response" if is_inquiry else "needs_response",
    )
    dispute["evidence_details"].update(
        due_by=account.now() + ANSWER_SECONDS, has_evidence=False, past_due=False, submission_count=0
    )
    charge["disputed"] = True
    account.emit("charge.dispute.created", dispute)
    if not is_inquiry:
        _move(account, dispute, -dispute["amount"], fee=DISPUTE_FEE)
        account.emit("charge.dispute.funds_withdrawn", dispute)
    account.happen_later(ANSWER_SECONDS, "lapse_dispute", dispute["id"])
    return dispute


def end_dispute(account: Account, dispute: Body, *, won: bool, fee_back: bool = False) -> Body:
    """Decide a dispute; when it is won the money comes back, and the fee if `fee_back`.

    Raises Refused when it has ended.
    """
    if dispute["status"] not in _OPEN:
        raise Refused(f"The dispute has ended: it is {dispute['status']}.", param="dispute")
    previous = {"status": dispute["status"]}
    is_inquiry = dispute["status"].startswith("warning_")
    dispute["status"] = "warning_closed" if is_inquiry else "won" if won else "lost"
    if won and not is_inquiry:
        _move(account, dispute, dispute["amount"], fee=-DISPUTE_FEE if fee_back else 0)
        account.emit("charge.dispute.funds_reinstated", dispute)
    account.emit("charge.dispute.closed", dispute, previous)
    return dispute


def update_dispute(call: Call) -> Body:
    """Stage evidence, or submit it, which is what Stripe does unless told otherwise."""
    account, dispute = call.account, call.account.find("dispute", call.ids[0])
    evidence = call.given.get("evidence")
    given = {name: call.given[name] for name in ("evidence", "metadata") if call.given.get(name)}
    if evidence is None:
        return change(account, dispute, given, "charge.dispute.updated")
    if dispute["status"] not in ("needs_response", "warning_needs_response"):
        raise Refused(f"Evidence is taken while a response is needed; the dispute is {dispute['status']}.")
    dispute["evidence_details"]["has_evidence"] = True
    if call.given.get("submit", True):
        dispute["evidence_details"]["submission_count"] += 1
        warned = "warning_" if dispute["status"].startswith("warning_") else ""
        dispute["status"] = f"{warned}under_review"
    change(account, dispute, given, "charge.dispute.updated")
    told = dispute["evidence"]["uncategorized_text"]
    # Words by which Stripe's own test mode decides at once.
    if dispute["status"] == "under_review" and told in ("winning_evidence", "losing_evidence"):
        end_dispute(account, dispute, won=told == "winning_evidence")
    return dispute


def close_dispute(call: Call) -> Body:
    return end_dispute(call.account, call.account.find("dispute", call.ids[0]), won=False)


def _move(account: Account, dispute: Body, amount: int, fee: int = 0) -> None:
    movement = record_movement(
        account,
        amount=amount,
        currency=dispute["currency"],
        kind="adjustment",
        source=dispute["id"],
        fee=fee,
        at_once=True,
        category="dispute" if amount < 0 else "dispute_reversal",
    )
    dispute["balance_transactions"].append(dict(movement))


def _lapse(account: Account, name: str) -> None:
    dispute = account.objects[name]
    if dispute["status"] in ("needs_response", "warning_needs_response"):
        dispute["evidence_details"]["past_due"] = True
        end_dispute(account, dispute, won=False)


ROUTES: Routes = {
    ("get", "/v1/disputes"): listing("dispute", "charge payment_intent"),
    ("get", "/v1/disputes/{dispute}"): retrieving("dispute"),
    ("post", "/v1/disputes/{dispute}"): route(update_dispute, "evidence metadata submit"),
    ("post", "/v1/disputes/{dispute}/close"): route(close_dispute),
}

LATER: LaterVerbs = {"lapse_dispute": _lapse}
