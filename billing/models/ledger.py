"""Double entry: accounts, and the entries that move money between them. Rules: docs/algorithms/ledger.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts.models import Organization
from billing.models.credit import CreditGrant
from portal.lib.public_ids import new_acct_id

if TYPE_CHECKING:
    from collections.abc import Iterable

CURRENCY = "USD"


class AccountKind(models.TextChoices):
    # The customer's side.
    RECEIVABLE = "receivable", _("Receivable")
    CASH_IN_TRANSIT = "cash_in_transit", _("Cash in transit")
    PREPAID_CREDIT = "prepaid_credit", _("Prepaid credit")
    PROMOTIONAL_CREDIT = "promotional_credit", _("Promotional credit")
    GRANT_CREDIT = "grant_credit", _("Grant credit")
    # The house's.
    REVENUE = "revenue", _("Revenue")
    TAX = "tax", _("Tax")
    BREAKAGE = "breakage", _("Breakage")
    PROMOTIONS = "promotions", _("Promotions given")
    WRITE_OFF = "write_off", _("Write-offs")
    FEES = "fees", _("Payment fees")
    DISPUTES = "disputes", _("Disputes")
    CASH = "cash", _("Cash")


# What is left of a credit grant: an account per grant, and never less than nothing.
CREDIT = (AccountKind.PREPAID_CREDIT, AccountKind.PROMOTIONAL_CREDIT, AccountKind.GRANT_CREDIT)
CUSTOMER = (AccountKind.RECEIVABLE, AccountKind.CASH_IN_TRANSIT, *CREDIT)
GROWS_BY_CREDIT = frozenset({*CREDIT, AccountKind.REVENUE, AccountKind.TAX, AccountKind.BREAKAGE})


@dataclass(frozen=True, slots=True)
class Route:
    """Which account of a book: product for revenue only, grant_id (CreditGrant) for credit only."""

    kind: AccountKind
    product: str = ""
    grant_id: int | None = None


class LedgerAccountQuerySet(models.QuerySet["LedgerAccount"]):
    def owned_by(self, organization: Organization) -> LedgerAccountQuerySet:
        return self.filter(organization=organization)

    def of_book(self, organization_id: int | None) -> LedgerAccountQuerySet:
        """Those of one book. organization_id: None for the house's own."""
        if organization_id is None:
            return self.filter(organization=None)
        return self.filter(organization_id=organization_id)

    def on(self, organization_id: int | None, routes: Iterable[Route]) -> LedgerAccountQuerySet:
        """The accounts of a book on these routes."""
        wanted = Q()
        for route in routes:
            wanted |= Q(kind=route.kind, product=route.product, grant_id=route.grant_id)
        return self.of_book(organization_id).filter(wanted, currency=CURRENCY)


class LedgerAccount(models.Model):
    """One account of a book, with the sums of what was ever debited and credited to it.

    organization: whose book; none for the house's own. Only `billing.services.ledger` changes the sums.
    """

    organization = models.ForeignKey(Organization, null=True, on_delete=models.PROTECT, related_name="ledger_accounts")
    public_id = models.CharField(max_length=32, unique=True, default=new_acct_id, editable=False)
    kind = models.CharField(max_length=20, choices=AccountKind)
    currency = models.CharField(max_length=3, default=CURRENCY)
    product = models.CharField(max_length=24, blank=True, default="")  # such as model, instance
    grant = models.ForeignKey(CreditGrant, null=True, on_delete=models.PROTECT, related_name="ledger_accounts")
    no_overdraft = models.BooleanField()
    debits_nano = models.BigIntegerField(default=0)
    credits_nano = models.BigIntegerField(default=0)
    opened_at = models.DateTimeField()

    objects = LedgerAccountQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="ledger_account_organization_id"),
            models.UniqueConstraint(
                fields=["organization", "kind", "currency", "product", "grant"],
                nulls_distinct=False,
                name="ledger_account_once_per_route",
            ),
            # The second net under the refusal in billing.services.ledger.
            models.CheckConstraint(
                condition=Q(no_overdraft=False) | Q(debits_nano__lte=F("credits_nano")),
                name="ledger_account_not_overdrawn",
            ),
            models.CheckConstraint(
                condition=Q(debits_nano__gte=0, credits_nano__gte=0), name="ledger_account_sums_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=CREDIT, no_overdraft=True, grant__isnull=False)
                | ~Q(kind__in=CREDIT) & Q(no_overdraft=False, grant=None),
                name="ledger_account_of_credit_has_its_grant",
            ),
            models.CheckConstraint(
                condition=Q(kind="revenue") & ~Q(product="") | ~Q(kind="revenue") & Q(product=""),
                name="ledger_account_of_revenue_has_its_product",
            ),
            models.CheckConstraint(
                condition=Q(organization__isnull=False) | ~Q(kind__in=CUSTOMER),
                name="ledger_account_of_a_customer_has_its_organization",
            ),
            models.CheckConstraint(condition=Q(currency=CURRENCY), name="ledger_account_in_usd"),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.public_id}"

    @property
    def grows_by_credit(self) -> bool:
        return self.kind in GROWS_BY_CREDIT

    @property
    def balance_nano(self) -> int:
        """Nano-dollars; positive on the side on which accounts of this kind grow."""
        growth_nano = self.credits_nano - self.debits_nano
        return growth_nano if self.grows_by_credit else -growth_nano


class LedgerEntryQuerySet(models.QuerySet["LedgerEntry"]):
    def owned_by(self, organization: Organization) -> LedgerEntryQuerySet:
        return self.filter(organization=organization)

    def of_book(self, organization_id: int | None) -> LedgerEntryQuerySet:
        """Those of one book. organization_id: None for the house's own."""
        if organization_id is None:
            return self.filter(organization=None)
        return self.filter(organization_id=organization_id)

    def of_source(self, organization_id: int | None, source: str) -> LedgerEntryQuerySet:
        """The journal of one cause in a book, in the order of its lines."""
        return self.of_book(organization_id).filter(source=source).order_by("line")


class LedgerEntry(models.Model):
    """One amount from the credited account to the debited one. Rows are only ever added.

    journal_id: public id (txn_…) that the entries of one cause share; with `line` it names the entry outwardly.
    """

    class Code(models.TextChoices):
        AWARD = "award", _("Credit given")
        TOP_UP = "top_up", _("Credit bought")
        USAGE = "usage", _("Usage")
        TAX = "tax", _("Tax")
        PAYMENT = "payment", _("Payment")
        PAYOUT = "payout", _("Payout")
        FEE = "fee", _("Payment fee")
        FEE_BACK = "fee_back", _("Payment fee given back")
        CREDIT_NOTE = "credit_note", _("Credit note")
        REFUND = "refund", _("Refund")
        EXPIRY = "expiry", _("Bought credit expired")
        RETURN = "return", _("Given credit ended")
        DISPUTE = "dispute", _("Dispute")
        DISPUTE_LOST = "dispute_lost", _("Dispute lost")
        WRITE_OFF = "write_off", _("Debt written off")

    # The keys with the organization in them (migration) say more than these could, and each costs a look per entry.
    organization = models.ForeignKey(
        Organization, null=True, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    journal_id = models.CharField(max_length=32)
    source = models.CharField(max_length=120)  # the cause, such as grant:grant_…, so that none posts twice
    line = models.SmallIntegerField()  # 1, 2, 3 … in its journal
    code = models.CharField(max_length=16, choices=Code)
    debit = models.ForeignKey(
        LedgerAccount, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    credit = models.ForeignKey(
        LedgerAccount, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    amount_nano = models.BigIntegerField()
    reverses = models.ForeignKey(
        "self", null=True, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    effective_at = models.DateTimeField()  # from when it counts
    recorded_at = models.DateTimeField()

    objects = LedgerEntryQuerySet.as_manager()

    class Meta:
        verbose_name, verbose_name_plural = _("ledger entry"), _("ledger entries")
        constraints = [
            models.UniqueConstraint(fields=["organization", "id"], name="ledger_entry_organization_id"),
            models.UniqueConstraint(
                fields=["organization", "source", "line"], nulls_distinct=False, name="ledger_entry_once_per_source"
            ),
            models.UniqueConstraint(fields=["journal_id", "line"], name="ledger_entry_once_per_line"),
            models.UniqueConstraint(
                fields=["reverses"], condition=Q(reverses__isnull=False), name="ledger_entry_reversed_once"
            ),
            models.CheckConstraint(condition=Q(amount_nano__gt=0), name="ledger_entry_positive"),
            models.CheckConstraint(condition=~Q(debit=F("credit")), name="ledger_entry_between_two_accounts"),
            models.CheckConstraint(condition=Q(line__gte=1), name="ledger_entry_lines_from_one"),
        ]
        # Statements of one account, newest first.
        indexes = [
            models.Index(fields=["debit", "-id"], name="ledger_entry_of_debit"),
            models.Index(fields=["credit", "-id"], name="ledger_entry_of_credit"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        """What the outside calls it."""
        return f"{self.journal_id}-{self.line}"
