"""Pages of staff about money. They work as the platform role."""

from billing.admin.contracts import ContractAdmin
from billing.admin.details import BillingDetailsAdmin
from billing.admin.fates import UsageFateAdmin
from billing.admin.ledger import LedgerAccountAdmin, LedgerEntryAdmin
from billing.admin.standing import StandingAdmin
from billing.admin.terms import OrganizationTermsAdmin
from billing.admin.transfers import BankTransferAdmin

__all__ = [
    "BankTransferAdmin",
    "BillingDetailsAdmin",
    "ContractAdmin",
    "LedgerAccountAdmin",
    "LedgerEntryAdmin",
    "OrganizationTermsAdmin",
    "StandingAdmin",
    "UsageFateAdmin",
]
