"""Reads of billing: numbers that other apps ask for, and rows of ready strings as pages print them."""

from billing.selectors.breakdown import Grouping, amounts_by_day
from billing.selectors.budget import Budget, budget_of, organization_ids_without_cap, starter_credit_nano
from billing.selectors.caps import (
    CapPage,
    CapRow,
    cap_page,
    cap_row,
    cap_words_of,
    has_cap,
    left_under_caps,
    newest_warnings,
    tightest_cap_of,
)
from billing.selectors.closing import closed_until
from billing.selectors.commitments import BurnDown, burn_downs
from billing.selectors.credit import (
    GrantRow,
    PaymentPage,
    PaymentRow,
    newest_grants,
    payment_page,
    payment_row,
    sells_credit,
)
from billing.selectors.events import EventRow, Position, cursor_of, event_batches, event_page, position_in
from billing.selectors.fates import FateView, fate_of, fate_view, fates_of
from billing.selectors.keys import KeySpend, spend_of_key, spend_of_resource
from billing.selectors.ledger import (
    Statement,
    StatementLine,
    TrialBalance,
    TrialRow,
    balance_of,
    statement,
    trial_balance,
    trial_balance_of,
)
from billing.selectors.ledger_proof import Difference, LedgerProof, prove_ledger
from billing.selectors.prices import price_source, prices_for, prices_of_contracts, prices_of_hours
from billing.selectors.spend import (
    Range,
    SpendLine,
    spend_lines,
)
from billing.selectors.spend_page import SkuLines, SpendView, budget_meter, sku_lines, spend_view
from billing.selectors.tiers import tier_lines
from billing.selectors.twin import Twin, TwinLine, contract_twin

__all__ = [
    "Budget",
    "BurnDown",
    "CapPage",
    "CapRow",
    "Difference",
    "EventRow",
    "FateView",
    "GrantRow",
    "Grouping",
    "KeySpend",
    "LedgerProof",
    "PaymentPage",
    "PaymentRow",
    "Position",
    "Range",
    "SkuLines",
    "SpendLine",
    "SpendView",
    "Statement",
    "StatementLine",
    "TrialBalance",
    "TrialRow",
    "Twin",
    "TwinLine",
    "amounts_by_day",
    "balance_of",
    "budget_meter",
    "budget_of",
    "burn_downs",
    "cap_page",
    "cap_row",
    "cap_words_of",
    "closed_until",
    "contract_twin",
    "cursor_of",
    "event_batches",
    "event_page",
    "fate_of",
    "fate_view",
    "fates_of",
    "has_cap",
    "left_under_caps",
    "newest_grants",
    "newest_warnings",
    "organization_ids_without_cap",
    "payment_page",
    "payment_row",
    "position_in",
    "price_source",
    "prices_for",
    "prices_of_contracts",
    "prices_of_hours",
    "prove_ledger",
    "sells_credit",
    "sku_lines",
    "spend_lines",
    "spend_of_key",
    "spend_of_resource",
    "spend_view",
    "starter_credit_nano",
    "statement",
    "tier_lines",
    "tightest_cap_of",
    "trial_balance",
    "trial_balance_of",
]
