"""What lost disputes leave owed, and what has been paid of it. Rules: docs/algorithms/payments.md."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Sum

from accounts.models import Organization
from billing.models import BankTransfer, Dispute, GivenUpDebt, Payment
from billing.models.dispute import DisputeQuerySet
from billing.selectors.owed import SMALLEST_CENTS
from portal.lib.money import NANO_PER_CENT, display_usd


@dataclass(frozen=True, slots=True)
class Debt:
    """What is left of what a lost dispute leaves owed. cents: USD. since: when it was lost, and so became due."""

    cents: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Debts:
    """What an organization owes of lost disputes. left: oldest first; what was paid went to the oldest.

    too_much_cents: what was paid beyond all of it, owed back to the organization.
    """

    left: Sequence[Debt] = ()
    too_much_cents: int = 0

    @property
    def cents(self) -> int:
        return sum(debt.cents for debt in self.left)

    @property
    def payable_cents(self) -> int:
        """What can be paid by card, and is overdue until it is; less than the provider charges is asked of nobody."""
        return self.cents if self.cents >= SMALLEST_CENTS else 0


NOTHING_OWED = Debts()


def debts_of(organization_id: int) -> Debts:
    return _debts(Dispute.objects.filter(organization_id=organization_id)).get(organization_id, NOTHING_OWED)


def debts_by_organization() -> Mapping[int, Debts]:
    """Return the debts of every organization that ever lost a dispute. For the platform role."""
    return _debts(Dispute.objects.all())


def owed_of(organization: Organization) -> str:
    """Return what pages say that is owed of lost disputes and can be paid by card; empty where nothing is."""
    cents = debts_of(organization.pk).payable_cents
    return display_usd(cents * NANO_PER_CENT) if cents else ""


def has_lost_since(organization_id: int, since: datetime) -> bool:
    """Whether something is to be paid, and of a dispute that was lost since an instant."""
    debts = debts_of(organization_id)
    return debts.payable_cents > 0 and debts.left[-1].since >= since


def _debts(disputes: DisputeQuerySet) -> dict[int, Debts]:
    lost: dict[int, list[Debt]] = defaultdict(list)
    rows = disputes.leaving_debts().order_by("ended_at", "pk")
    for organization_id, cents, frozen_cents, since in rows.values_list(
        "organization_id", "amount_cents", "frozen_cents", "ended_at"
    ):
        assert since is not None  # noqa: S101  # for the type checker: a constraint says that what is lost has ended
        lost[organization_id].append(Debt(cents - frozen_cents, since))
    if not lost:
        return {}
    paid: Counter[int] = Counter()
    for found, cents_of in (
        (Payment.objects.filter(organization_id__in=lost).paying_debts(), "amount_cents"),
        (BankTransfer.objects.filter(organization_id__in=lost).paying_debts(), "debt_cents"),
        # Owed no more, as if it had been paid.
        (GivenUpDebt.objects.filter(organization_id__in=lost).counting(), "amount_cents"),
    ):
        sums = found.order_by("organization_id").values("organization_id").annotate(cents=Sum(cents_of))
        paid.update(dict(sums.values_list("organization_id", "cents")))
    return {organization_id: _after(debts, paid[organization_id]) for organization_id, debts in lost.items()}


def _after(debts: Sequence[Debt], paid_cents: int) -> Debts:
    left = []
    for debt in debts:
        taken_cents = min(debt.cents, paid_cents)
        paid_cents -= taken_cents
        if debt.cents > taken_cents:
            left.append(Debt(debt.cents - taken_cents, debt.since))
    return Debts(tuple(left), paid_cents)
