"""Enter what SKUs cost ourselves. For the platform role."""

from datetime import date, datetime
from typing import ClassVar

from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import User
from accounts.services.staff_log import note_addition
from billing.models import SkuCost
from catalog.models import Price, Sku
from portal.lib.errors import DomainError
from portal.lib.money import decimal_string

ENTER = "billing.add_skucost"


class UnableToEnterCost(DomainError):
    code: ClassVar[str] = "unable_to_enter_cost"


@transaction.atomic
def enter_cost(*, sku: str, from_month: date, cost_nano: int, by: User, now: datetime) -> SkuCost:
    """Note what a SKU costs us from a UTC month on, per unit_size of its price. What was entered before stays.

    from_month: any day of it. Raises UnableToEnterCost if `by` may not, for a SKU that has no price and for less
    than nothing.
    """
    if not by.is_staff or not by.has_perm(ENTER):
        raise UnableToEnterCost(_("You may not enter costs."))
    priced = Price.objects.filter(sku__code=sku).order_by("-version").first()
    if priced is None:
        raise UnableToEnterCost(_("There is no SKU of this name on the price list."))
    if cost_nano < 0:
        raise UnableToEnterCost(_("A cost is not less than nothing."))
    cost = SkuCost.objects.create(
        sku=Sku.objects.get(code=sku),
        from_month=from_month.replace(day=1),
        cost_nano=cost_nano,
        unit_size=priced.unit_size,
        entered_by=by.public_id,
        entered_at=now,
    )
    words = f"Cost of {sku} from {cost.from_month:%Y-%m}: {decimal_string(cost_nano)} USD per {cost.unit_size}"
    note_addition(cost, words=words, by=by, now=now)
    return cost
