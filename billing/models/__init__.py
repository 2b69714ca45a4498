"""Usage, what it costs, and the credit that it is paid from."""

from billing.models.cap import CapWarning, Reservation, SpendCap, WriteOff
from billing.models.contract import Contract, ContractPrice
from billing.models.cost import SkuCost
from billing.models.credit import CreditGrant
from billing.models.fate import UsageFate
from billing.models.goodwill import Goodwill
from billing.models.invoice import CreditNote, Invoice, InvoicedBucket, InvoiceLine, InvoiceSeries
from billing.models.ledger import AccountKind, LedgerAccount, LedgerEntry, Route
from billing.models.payment import BillingAccount, Payment, StripeEvent
from billing.models.price_notice import PriceNotice
from billing.models.reconciliation import Difference, Reconciliation, ReconciliationJob
from billing.models.usage import SpendByCause, SpendByDay, UsageByHour, UsageByResource, UsageEvent

__all__ = [
    "AccountKind",
    "BillingAccount",
    "CapWarning",
    "Contract",
    "ContractPrice",
    "CreditGrant",
    "CreditNote",
    "Difference",
    "Goodwill",
    "Invoice",
    "InvoiceLine",
    "InvoiceSeries",
    "InvoicedBucket",
    "LedgerAccount",
    "LedgerEntry",
    "Payment",
    "PriceNotice",
    "Reconciliation",
    "ReconciliationJob",
    "Reservation",
    "Route",
    "SkuCost",
    "SpendByCause",
    "SpendByDay",
    "SpendCap",
    "StripeEvent",
    "UsageByHour",
    "UsageByResource",
    "UsageEvent",
    "UsageFate",
    "WriteOff",
]
