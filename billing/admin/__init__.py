"""Pages of staff about money. They work as the platform role."""

from billing.admin.contracts import ContractAdmin
from billing.admin.details import BillingDetailsAdmin
from billing.admin.disputes import DisputeAdmin
from billing.admin.fates import UsageFateAdmin
from billing.admin.given_up_debts import GivenUpDebtAdmin
from billing.admin.goodwill import GoodwillAdmin
from billing.admin.invoices import CreditNoteAdmin, InvoiceAdmin
from billing.admin.ledger import LedgerAccountAdmin, LedgerEntryAdmin
from billing.admin.payments import PaymentAdmin
from billing.admin.reconciliation import DifferenceAdmin
from billing.admin.refunds import RefundAdmin
from billing.admin.revenue import SkuCostAdmin
from billing.admin.standing import StandingAdmin
from billing.admin.terms import OrganizationTermsAdmin
from billing.admin.transfers import BankTransferAdmin

__all__ = [
    "BankTransferAdmin",
    "BillingDetailsAdmin",
    "ContractAdmin",
    "CreditNoteAdmin",
    "DifferenceAdmin",
    "DisputeAdmin",
    "GivenUpDebtAdmin",
    "GoodwillAdmin",
    "InvoiceAdmin",
    "LedgerAccountAdmin",
    "LedgerEntryAdmin",
    "OrganizationTermsAdmin",
    "PaymentAdmin",
    "RefundAdmin",
    "SkuCostAdmin",
    "StandingAdmin",
    "UsageFateAdmin",
]
