"""Usage, what it costs, and the credit that it is paid from."""

from billing.models.anomaly import AnomalyMails, SpendAnomaly
from billing.models.auto_reload import AutoReload
from billing.models.cap import CapWarning, Reservation, SpendCap, WriteOff
from billing.models.contract import Contract, ContractPrice
from billing.models.cost import SkuCost
from billing.models.cost_tag import CostTags
from billing.models.credit import CreditGrant
from billing.models.details import BillingDetails
from billing.models.dispute import Dispute
from billing.models.fate import UsageFate
from billing.models.given_up_debt import GivenUpDebt
from billing.models.goodwill import Goodwill
from billing.models.invoice import CreditNote, Invoice, InvoicedBucket, InvoiceLine, InvoiceSeries
from billing.models.invoice_file import InvoiceFile
from billing.models.ledger import AccountKind, LedgerAccount, LedgerEntry, Route
from billing.models.payment import BillingAccount, Payment, StripeEvent
from billing.models.payment_method import PaymentMethod
from billing.models.price_notice import PriceNotice
from billing.models.reconciliation import Difference, Reconciliation, ReconciliationJob
from billing.models.refund import Refund
from billing.models.standing import Standing, StandingLetter
from billing.models.transfer import BankTransfer, TransferMatch
from billing.models.usage import SpendByCause, SpendByDay, UsageByHour, UsageByResource, UsageEvent

__all__ = [
    "AccountKind",
    "AnomalyMails",
    "AutoReload",
    "BankTransfer",
    "BillingAccount",
    "BillingDetails",
    "CapWarning",
    "Contract",
    "ContractPrice",
    "CostTags",
    "CreditGrant",
    "CreditNote",
    "Difference",
    "Dispute",
    "GivenUpDebt",
    "Goodwill",
    "Invoice",
    "InvoiceFile",
    "InvoiceLine",
    "InvoiceSeries",
    "InvoicedBucket",
    "LedgerAccount",
    "LedgerEntry",
    "Payment",
    "PaymentMethod",
    "PriceNotice",
    "Reconciliation",
    "ReconciliationJob",
    "Refund",
    "Reservation",
    "Route",
    "SkuCost",
    "SpendAnomaly",
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
