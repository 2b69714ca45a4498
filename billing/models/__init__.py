"""Usage, what it costs, and the credit that it is paid from."""

from billing.models.cap import CapWarning, Reservation, SpendCap, WriteOff
from billing.models.contract import Contract, ContractPrice
from billing.models.credit import CreditGrant
from billing.models.details import BillingDetails
from billing.models.fate import UsageFate
from billing.models.invoice import CreditNote, Invoice, InvoicedBucket, InvoiceLine, InvoiceSeries
from billing.models.ledger import AccountKind, LedgerAccount, LedgerEntry, Route
from billing.models.payment import BillingAccount, Payment, StripeEvent
from billing.models.price_notice import PriceNotice
from billing.models.standing import Standing, StandingLetter
from billing.models.transfer import BankTransfer, TransferMatch
from billing.models.usage import SpendByCause, SpendByDay, UsageByHour, UsageByResource, UsageEvent

__all__ = [
    "AccountKind",
    "BankTransfer",
    "BillingAccount",
    "BillingDetails",
    "CapWarning",
    "Contract",
    "ContractPrice",
    "CreditGrant",
    "CreditNote",
    "Invoice",
    "InvoiceLine",
    "InvoiceSeries",
    "InvoicedBucket",
    "LedgerAccount",
    "LedgerEntry",
    "Payment",
    "PriceNotice",
    "Reservation",
    "Route",
    "SpendByCause",
    "SpendByDay",
    "SpendCap",
    "Standing",
    "StandingLetter",
    "StripeEvent",
    "TransferMatch",
    "UsageByHour",
    "UsageByResource",
    "UsageEvent",
    "UsageFate",
    "WriteOff",
]
