"""Usage, what it costs, and the credit that it is paid from."""

from billing.models.cap import CapWarning, Reservation, SpendCap, WriteOff
from billing.models.contract import Contract, ContractPrice
from billing.models.credit import CreditGrant
from billing.models.ledger import AccountKind, LedgerAccount, LedgerEntry, Route
from billing.models.price_notice import PriceNotice
from billing.models.usage import SpendByCause, SpendByDay, UsageByHour, UsageByResource, UsageEvent

__all__ = [
    "AccountKind",
    "CapWarning",
    "Contract",
    "ContractPrice",
    "CreditGrant",
    "LedgerAccount",
    "LedgerEntry",
    "PriceNotice",
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
