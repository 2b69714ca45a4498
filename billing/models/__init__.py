"""Usage, what it costs, and the credit that it is paid from."""

from billing.models.cap import CapWarning, Reservation, SpendCap, WriteOff
from billing.models.credit import CreditGrant
from billing.models.usage import SpendByCause, SpendByDay, UsageByHour, UsageByResource, UsageEvent

__all__ = [
    "CapWarning",
    "CreditGrant",
    "Reservation",
    "SpendByCause",
    "SpendByDay",
    "SpendCap",
    "UsageByHour",
    "UsageByResource",
    "UsageEvent",
    "WriteOff",
]
