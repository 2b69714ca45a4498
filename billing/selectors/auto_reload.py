"""Auto-reload as its page prints it."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import Sum

from accounts.models import Organization
from billing.models import AutoReload, Payment, PaymentMethod
from billing.selectors.cards import card_row
from portal.lib.money import NANO_PER_CENT, display_usd
from portal.lib.periods import month_of


@dataclass(frozen=True, slots=True)
class ReloadView:
    """card: that it charges, empty without one. bought: in the running UTC month."""

    is_on: bool
    off_because: str
    has_failed: bool
    card: str
    bought: str
    initial: dict[str, Decimal | bool]


def reload_view(organization: Organization, now: datetime) -> ReloadView:
    found = AutoReload.objects.owned_by(organization).first()
    card = PaymentMethod.objects.owned_by(organization).usable().first()
    bought = Payment.objects.owned_by(organization).filter(
        purpose=Payment.Purpose.RELOAD, state=Payment.State.SUCCEEDED, created_at__gte=month_of(now).start
    )
    cents = bought.aggregate(Sum("amount_cents"))["amount_cents__sum"] or 0
    return ReloadView(
        is_on=bool(found and found.is_on),
        off_because=found.get_off_because_display() if found and found.off_because else "",
        has_failed=bool(found and found.off_because == AutoReload.Why.FAILURES),
        card=card_row(card, now).name if card else "",
        bought=display_usd(cents * NANO_PER_CENT),
        initial=_initial(found),
    )


def _initial(found: AutoReload | None) -> dict[str, Decimal | bool]:
    if found is None:
        return {"is_on": True, "threshold": Decimal(10), "reload_amount": Decimal(50), "ceiling": Decimal(200)}
    amounts = {"threshold": found.threshold_cents, "reload_amount": found.amount_cents, "ceiling": found.ceiling_cents}
    return {"is_on": found.is_on, **{name: Decimal(cents).scaleb(-2) for name, cents in amounts.items()}}
