"""Usage, what it costs, and the credit that it is paid from."""

from billing.models.auto_reload import AutoReload
from billing.models.cap import CapWarning, Reservation, SpendCap, WriteOff
from billing.models.contract import Contract, ContractPrice
from billing.models.credit import CreditGrant
from billing.models.dispute import Dispute
from billing.models.fate import UsageFate
from billing.models.invoice import CreditNote, Invoice, InvoicedBucket, InvoiceLine, InvoiceSeries
from billing.models.ledger import AccountKind, LedgerAccount, LedgerEntry, Route
from billing.models.payment import BillingAccount, Payment, StripeEvent
from billing.models.payment_method import PaymentMethod
from billing.models.price_notice import PriceNotice
from billing.models.refund import Refund
from billing.models.usage import SpendByCause, SpendByDay, UsageByHour, UsageByResource, UsageEvent

__all__ = [
    "AccountKind",
    "AutoReload",
    "BillingAccount",
    "CapWarning",
    "Contract",
    "ContractPrice",
    "CreditGrant",
    "CreditNote",
    "Dispute",
    "Invoice",
    "InvoiceLine",
    "InvoiceSeries",
    "InvoicedBucket",
    "LedgerAccount",
    "LedgerEntry",
    "Payment",
    "PaymentMethod",
    "PriceNotice",
    "Refund",
    "Reservation",
    "Route",
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
