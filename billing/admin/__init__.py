"""Pages of staff about money. They work as the platform role."""

from billing.admin.contracts import ContractAdmin
from billing.admin.fates import UsageFateAdmin
from billing.admin.goodwill import GoodwillAdmin
from billing.admin.invoices import CreditNoteAdmin, InvoiceAdmin
from billing.admin.ledger import LedgerAccountAdmin, LedgerEntryAdmin
from billing.admin.payments import PaymentAdmin
from billing.admin.reconciliation import DifferenceAdmin
from billing.admin.revenue import SkuCostAdmin

__all__ = [
    "ContractAdmin",
    "CreditNoteAdmin",
    "DifferenceAdmin",
    "GoodwillAdmin",
    "InvoiceAdmin",
    "LedgerAccountAdmin",
    "LedgerEntryAdmin",
    "PaymentAdmin",
    "SkuCostAdmin",
    "UsageFateAdmin",
]
