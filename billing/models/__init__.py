"""Usage, what it costs, and the credit that it is paid from."""

from billing.models.cap import CapWarning, Reservation, SpendCap, WriteOff
from billing.models.credit import CreditGrant
from billing.models.invoice import CreditNote, Invoice, InvoicedBucket, InvoiceLine, InvoiceSeries
from billing.models.ledger import AccountKind, LedgerAccount, LedgerEntry, Route
from billing.models.usage import SpendByCause, SpendByDay, UsageByHour, UsageByResource, UsageEvent

__all__ = [
    "AccountKind",
    "CapWarning",
    "CreditGrant",
    "CreditNote",
    "Invoice",
    "InvoiceLine",
    "InvoiceSeries",
    "InvoicedBucket",
    "LedgerAccount",
    "LedgerEntry",
    "Reservation",
    "Route",
    "SpendByCause",
    "SpendByDay",
    "SpendCap",
    "UsageByHour",
    "UsageByResource",
    "UsageEvent",
    "WriteOff",
]
