"""Hold a day of the payment provider against our payments and books, and post its fees and payouts.

For the platform role, outside a transaction. Rules: docs/algorithms/agreement.md.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from billing.gateways.movements import Movement, charge_of, movements_of, movements_of_payout
from billing.models import AccountKind, LedgerEntry, Route
from billing.reconcile import ABSENT, NOTHING, Findings, Found, Thing, compare_amounts
from billing.selectors.nightly_payments import Payer, moved_in_transit, payers_of, received_by, received_in
from billing.services.ledger import Journal, JournalConflict, Line, post
from portal.lib.money import NANO_PER_CENT, decimal_string
from portal.lib.periods import Period

Code = LedgerEntry.Code
IN_TRANSIT = Route(AccountKind.CASH_IN_TRANSIT)
CHARGES = ("charge", "payment")
# What takes money back from us or brings it back, other than charges: refunds, and disputes as adjustments.
BACK = ("refund", "payment_refund", "refund_failure", "adjustment")


def compare_payments(*, period: Period, now: datetime) -> Findings:
    """Compare a UTC day with the provider's list of movements, and post what the provider kept and handed on.

    Everything is posted under the provider's name of it, so that a second run posts nothing. Raises ProviderTrouble,
    ProviderRefusal, OtherCurrency: nothing is lost, as the next run begins anew.
    """
    movements = movements_of(period)
    payers = _payers(movements)
    findings = _compare_charges(period, movements)
    findings += _compare_books(period)
    findings += _compare_back(period, movements, payers)
    findings += _post_fees(movements, payers, now)
    for movement in movements:
        if movement.kind == "payout":
            findings += _post_payout(movement, now)
    return findings + _name_unknown(movements, payers)


def _payers(movements: Iterable[Movement]) -> Mapping[str, Payer]:
    return payers_of({movement.intent_id for movement in movements if movement.intent_id})


def _compare_charges(period: Period, movements: Sequence[Movement]) -> Findings:
    """Every charge is a payment of ours, and every payment that succeeded was charged."""
    charges = {one.intent_id or one.source_id: one for one in movements if one.kind in CHARGES}
    of_day = {found.intent_id: found for found in received_in(period)}
    ours = {**of_day, **received_by(list(charges))}
    # We may hear of a charge on a later day than its own.
    missing = of_day.keys() - charges.keys()
    charges |= {intent_id: charge for intent_id in sorted(missing) if (charge := charge_of(intent_id))}
    things = {
        name: Thing(f"charge of {name}", ours[name].payer.organization if name in ours else "")
        for name in ours.keys() | charges.keys()
    }
    return compare_amounts(
        {things[name]: found.amount_nano for name, found in ours.items()},
        {things[name]: charge.amount_cents * NANO_PER_CENT for name, charge in charges.items()},
    )


def _compare_books(period: Period) -> Findings:
    """What the ledger says came into transit on a day is what the payments of the day say."""
    name = f"money received on {period.start:%Y-%m-%d}"
    paid: defaultdict[Thing, int] = defaultdict(int)
    for found in received_in(period):
        paid[Thing(name, found.payer.organization)] += found.amount_nano
    return compare_amounts(moved_in_transit(period, (Code.TOP_UP, Code.PAYMENT), name), paid)


def _compare_back(period: Period, movements: Iterable[Movement], payers: Mapping[str, Payer]) -> Findings:
    """What the ledger says went back to customers and banks on a day is what the provider moved back."""
    name = f"money sent back on {period.start:%Y-%m-%d}"
    theirs: defaultdict[Thing, int] = defaultdict(int)
    for movement in movements:
        payer = payers.get(movement.intent_id or "")
        if movement.kind in BACK and payer:
            theirs[Thing(name, payer.organization)] += movement.amount_cents * NANO_PER_CENT
    moved = {thing: amount_nano for thing, amount_nano in theirs.items() if amount_nano}
    return compare_amounts(moved_in_transit(period, (Code.REFUND, Code.DISPUTE), name), moved)


def _post_fees(movements: Iterable[Movement], payers: Mapping[str, Payer], now: datetime) -> Findings:
    """Post what the provider kept of each movement, or gave back of it, in the book of whoever paid."""
    findings = NOTHING
    for movement in movements:
        payer = payers.get(movement.intent_id or "")
        if payer is None or not movement.fee_cents:
            continue
        thing = Thing(f"fee of {movement.movement_id}", payer.organization)
        fee_nano = movement.fee_cents * NANO_PER_CENT
        # One below nothing is given back, such as that of a dispute that was won.
        fees = Route(AccountKind.FEES)
        kept, back = Line(Code.FEE, fees, IN_TRANSIT, fee_nano), Line(Code.FEE_BACK, IN_TRANSIT, fees, -fee_nano)
        line = kept if fee_nano > 0 else back
        journal = Journal(payer.organization_id, f"fee:{movement.movement_id}", movement.created_at, (line,))
        findings += _post(thing, journal, now)
    return findings


def _post_payout(payout: Movement, now: datetime) -> Findings:
    """Post a payout in the book of each organization whose money is in it: what it nets to, after fees."""
    paid_nano = -payout.net_cents * NANO_PER_CENT
    thing = Thing(f"payout {payout.source_id}")
    if not payout.is_split:
        return Findings(1, (Found(thing, ABSENT, f"{decimal_string(paid_nano)} USD, asked for by hand", paid_nano),))
    parts = movements_of_payout(payout.source_id)
    payers = _payers(parts)
    # Its movements may be of days that nobody has compared.
    findings = _post_fees(parts, payers, now)
    nets: defaultdict[Payer, int] = defaultdict(int)
    for part in parts:
        if payer := payers.get(part.intent_id or ""):
            nets[payer] += part.net_cents * NANO_PER_CENT
    for payer, net_nano in sorted(nets.items(), key=lambda item: item[0].organization_id):
        if net_nano:
            of_payer = Thing(f"payout {payout.source_id}, part", payer.organization)
            source = f"payout:{payout.source_id}"
            lines = (_payout_line(net_nano),)
            findings += _post(of_payer, Journal(payer.organization_id, source, payout.created_at, lines), now)
    return findings + compare_amounts({thing: sum(nets.values())}, {thing: paid_nano})


def _payout_line(net_nano: int) -> Line:
    cash = Route(AccountKind.CASH)
    if net_nano > 0:
        return Line(Code.PAYOUT, cash, IN_TRANSIT, net_nano)
    # More went back to its customers than came in: the payout is smaller for it.
    return Line(Code.PAYOUT, IN_TRANSIT, cash, -net_nano)


def _post(thing: Thing, journal: Journal, now: datetime) -> Findings:
    try:
        post(journal, now=now)
    except JournalConflict:
        amount_nano = sum(line.amount_nano for line in journal.lines)
        theirs = f"{decimal_string(amount_nano)} USD"
        return Findings(1, (Found(thing, "posted with another amount", theirs, amount_nano),))
    return Findings(1)


def _name_unknown(movements: Iterable[Movement], payers: Mapping[str, Payer]) -> Findings:
    """Name what moved and belongs to no payment of ours. Charges and payouts are compared by themselves."""
    unknown = [
        Found(
            Thing(f"{movement.kind} {movement.movement_id}"),
            ABSENT,
            f"{decimal_string(movement.net_cents * NANO_PER_CENT)} USD",
            abs(movement.net_cents) * NANO_PER_CENT,
        )
        for movement in movements
        if movement.kind not in (*CHARGES, "payout")
        and (movement.kind not in BACK or (movement.intent_id or "") not in payers)
    ]
    return Findings(len(unknown), tuple(unknown))
