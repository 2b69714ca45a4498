"""Which invoices a bank transfer pays, by what its sender wrote. Plain values in, plain values out."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Claim:
    """An unpaid invoice: its number and what is left to be paid, in cents."""

    number: str
    due_cents: int


@dataclass(frozen=True, slots=True)
class Match:
    number: str
    cents: int


def plain(text: str) -> str:
    """Return the letters and digits of a text, in capitals: banks drop and add spaces, dots and dashes."""
    return re.sub(r"[^0-9A-Z]", "", text.upper())


def suggest(amount_cents: int, reference: str, claims: Iterable[Claim]) -> Sequence[Match]:
    """Share a transfer out over unpaid invoices, which come oldest first.

    1. Those whose number is in the reference, in their order, each as far as the money goes. 2. Where none is named,
    the one that is owed exactly so much, if there is one only. What is left over is nobody's: it becomes credit.
    """
    open_claims = [claim for claim in claims if claim.due_cents > 0]
    written = plain(reference)
    chosen = [claim for claim in open_claims if _names(written, plain(claim.number))]
    if not chosen:
        exact = [claim for claim in open_claims if claim.due_cents == amount_cents]
        chosen = exact if len(exact) == 1 else []
    return share_out(amount_cents, chosen)


def share_out(amount_cents: int, claims: Iterable[Claim]) -> Sequence[Match]:
    """Pay invoices one after the other, as far as the money goes."""
    matches = []
    for claim in claims:
        cents = min(amount_cents, claim.due_cents)
        if cents > 0:
            matches.append(Match(claim.number, cents))
            amount_cents -= cents
    return matches


def _names(written: str, number: str) -> bool:
    # HR-000012 is not named by HR-0000123.
    return re.search(rf"{re.escape(number)}(?!\d)", written) is not None
