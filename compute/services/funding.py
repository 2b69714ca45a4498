"""The hold of budget that lets an instance run: always minutes ahead, so that it stops before the cap is passed."""

from datetime import datetime, timedelta

from billing.models import Reservation
from billing.services.limits import Payer
from billing.services.reservations import BudgetExceeded, ReservationEnded, extend, release, reserve
from catalog.selectors import UnitPrice
from compute.models import Instance
from compute.services.run_prices import run_prices
from portal.lib.periods import hour_of

# What a hold covers when it is fresh, and what is left when it is renewed.
LEASE_SECONDS = 300
RENEW_BEFORE = timedelta(seconds=60)
# An instance whose hold cannot be renewed is stopped this long before the first second that nobody pays.
STOP_BEFORE = timedelta(seconds=30)
# Below this, what the cap has left is not worth another renewal.
SMALLEST_EXTENSION_SECONDS = 30
# A hold that nobody renews any more goes back to the customer by itself.
HOLD_LIFE = timedelta(minutes=15)
# A settlement touches two hourly buckets at the most, and each rounds up by less than a nano-dollar.
ROUNDING_NANO = 2


def ask_price(instance: Instance, *, now: datetime) -> UnitPrice:
    """Note on an instance what its seconds cost now, and return the price to hold its next ones at.

    That is the dearer one where an hour in which they may count has another price: usage is rated at what its
    organization pays in that hour. What nothing is sold at any more is held at what was noted last. The caller saves
    the row.
    """
    hours = [hour_of(now), hour_of(now + HOLD_LIFE)]
    found = run_prices(instance, hours)
    if current := found.get(hours[0]):
        instance.price_id, instance.price_nano, instance.unit_size = (
            current.price_id,
            current.price_nano,
            current.unit_size,
        )
    noted = UnitPrice(instance.sku, instance.price_id, instance.price_nano, instance.unit_size)
    return max(found.values(), key=lambda price: price.price_nano, default=noted)


def cost_of(seconds: int, *, price_nano: int, unit_size: int) -> int:
    """Return the nano-dollars to hold for so many seconds, rounded up."""
    return -(-seconds * price_nano // unit_size) + ROUNDING_NANO if seconds else 0


def fund(instance: Instance, *, now: datetime) -> None:
    """Hold the next lease for a locked instance, as much of it as the cap allows; the caller saves the row.

    Raises BudgetExceeded when the cap has no room worth holding; what was held before stays held.
    """
    missing = LEASE_SECONDS - instance.unspent_seconds
    if missing <= 0:
        return
    price = ask_price(instance, now=now)
    try:
        _hold(instance, missing, price, now)
    except BudgetExceeded as refusal:
        affordable = max(refusal.room_nano - ROUNDING_NANO, 0) * price.unit_size // max(price.price_nano, 1)
        if affordable < SMALLEST_EXTENSION_SECONDS:
            raise
        _hold(instance, min(affordable, missing), price, now)


def fund_anew(instance: Instance, *, now: datetime) -> None:
    """Hold a whole first lease for an instance that holds nothing; the caller saves the row.

    Raises BudgetExceeded when the cap has not room for all of it.
    """
    instance.reservation_id = _reserve(instance, LEASE_SECONDS, ask_price(instance, now=now), now)
    instance.unspent_seconds = LEASE_SECONDS


def keep_hold(instance: Instance, *, now: datetime) -> None:
    """Keep the hold of a locked instance that answers again, or count no second as paid for when it has ended.

    Nobody renews a hold while the machine is unhealthy, so that it may have gone back to the customer.
    """
    if instance.reservation_id is None:
        return
    try:
        extend(reservation_id=instance.reservation_id, additional_nano=0, now=now, expires_at=now + HOLD_LIFE)
    except ReservationEnded:
        instance.unspent_seconds = 0
    except BudgetExceeded:
        # A cap of a new period, or a new one, has not the room: what is held stays held for as long as it did.
        return


def release_funds(instance: Instance, *, now: datetime) -> None:
    """Give the customer back what is held for a locked instance; the caller saves the row."""
    if instance.reservation_id is not None:
        release(reservation_id=instance.reservation_id, now=now)
    instance.reservation_id = None
    instance.unspent_seconds = 0


def _hold(instance: Instance, seconds: int, price: UnitPrice, now: datetime) -> None:
    if instance.reservation_id is not None:
        amount = cost_of(seconds, price_nano=price.price_nano, unit_size=price.unit_size)
        try:
            extend(
                reservation_id=instance.reservation_id,
                additional_nano=amount,
                now=now,
                expires_at=now + HOLD_LIFE,
            )
        except ReservationEnded:
            # It went back to the customer while nobody could renew it.
            instance.unspent_seconds = 0
        else:
            instance.unspent_seconds += seconds
            return
    instance.reservation_id = _reserve(instance, seconds, price, now)
    instance.unspent_seconds = seconds


def _reserve(instance: Instance, seconds: int, price: UnitPrice, now: datetime) -> int:
    reservation = reserve(
        payer=Payer(instance.organization_id, instance.project_id, instance.launched_with_id),
        purpose=Reservation.Purpose.INSTANCE_LEASE,
        holder=instance.public_id,
        amount_nano=cost_of(seconds, price_nano=price.price_nano, unit_size=price.unit_size) or 1,
        now=now,
        expires_at=now + HOLD_LIFE,
    )
    return reservation.pk
