"""Hold budget before work, so that a spend cap is a cap. Rules and proofs: docs/algorithms/caps.md.

Locks are taken in one order everywhere: the cap, then its reservations, then buckets of usage.
"""

from datetime import datetime
from http import HTTPStatus
from typing import ClassVar

from django.db import connection, transaction
from django.db.models import F
from django.utils.translation import gettext as _

from billing.models import Reservation, SpendCap
from billing.services.credits import lock_cap
from portal.lib.errors import DomainError
from portal.lib.money import display_usd
from portal.lib.public_ids import new_hold_id


class BudgetExceeded(DomainError):
    """The cap has no room for the amount asked."""

    status: ClassVar[HTTPStatus] = HTTPStatus.PAYMENT_REQUIRED
    code: ClassVar[str] = "budget_exceeded"

    def __init__(self, cap: SpendCap, amount_nano: int) -> None:
        self.scope = cap.scope
        self.limit_nano = cap.limit_nano
        self.remaining_nano = cap.remaining_nano
        self.resets_at = cap.period_end
        super().__init__(
            _(
                "The budget of %(limit)s has %(remaining)s left, and this needs up to %(needed)s."
                " Add credit, or wait for running work to end."
            )
            % {
                "limit": display_usd(cap.limit_nano),
                "remaining": display_usd(cap.remaining_nano),
                "needed": display_usd(amount_nano),
            }
        )


class ReservationEnded(DomainError):
    """The reservation is closed or has expired, so nothing is held any more."""

    code: ClassVar[str] = "reservation_ended"


# One statement takes the room and writes the hold. The row lock makes a second writer wait and look again at
# the room that is left then, so READ COMMITTED is enough.
_RESERVE = """
    WITH taken AS (
        UPDATE billing_spendcap SET reserved_nano = reserved_nano + %(amount)s
        WHERE organization_id = %(organization)s AND scope = 'organization'
            AND settled_nano + reserved_nano + %(amount)s <= limit_nano
        RETURNING id
    ), held AS (
        INSERT INTO billing_reservation (public_id, organization_id, cap_id, project_id, purpose, holder,
                                         amount_nano, state, created_at, expires_at)
        SELECT %(public_id)s, %(organization)s, id, %(project)s, %(purpose)s, %(holder)s,
               %(amount)s, 'held', %(now)s, %(expires_at)s
        FROM taken
        ON CONFLICT (organization_id, purpose, holder) WHERE state = 'held' DO NOTHING
        RETURNING id
    )
    SELECT (SELECT id FROM taken), (SELECT id FROM held)
"""


@transaction.atomic
def reserve(
    *,
    organization_id: int,
    project_id: int,
    purpose: Reservation.Purpose,
    holder: str,
    amount_nano: int,
    now: datetime,
    expires_at: datetime,
) -> Reservation:
    """Hold `amount_nano` nano-dollars of the organization's budget until `expires_at`.

    Safe to repeat: while a holder holds a reservation for the purpose, that one is returned unchanged. The
    first reservation of an organization opens its account. Raises BudgetExceeded when the room left is less,
    ValueError unless the amount is positive and the expiry ahead.
    """
    if amount_nano <= 0 or expires_at <= now:
        raise ValueError("a reservation holds a positive amount until an instant ahead")
    values: dict[str, str | int | datetime] = {
        "public_id": new_hold_id(),
        "organization": organization_id,
        "project": project_id,
        "purpose": purpose.value,
        "holder": holder,
        "amount": amount_nano,
        "now": now,
        "expires_at": expires_at,
    }
    cap_id, reservation_id = _execute_reserve(values)
    if reservation_id is not None:
        return Reservation.objects.get(pk=reservation_id)
    if cap_id is not None:
        # The holder held one already: give back what the statement took just now.
        _give_back(cap_id, amount_nano)

    cap = lock_cap(organization_id=organization_id, now=now)
    if held := _held_by(cap, purpose, holder):
        if held.expires_at > now:
            return held
        # The sweep has not come by yet.
        _end(held, Reservation.State.EXPIRED, now)
    _, reservation_id = _execute_reserve(values)
    if reservation_id is None:
        cap.refresh_from_db()
        raise BudgetExceeded(cap, amount_nano)
    return Reservation.objects.get(pk=reservation_id)


@transaction.atomic
def extend(*, reservation_id: int, additional_nano: int, now: datetime, expires_at: datetime) -> Reservation:
    """Hold more and for longer; 0 nano-dollars more only moves the expiry, which never moves back.

    Raises BudgetExceeded when the room left is less than `additional_nano`, ReservationEnded when it is held
    no more; then nothing has changed.
    """
    if additional_nano < 0 or expires_at <= now:
        raise ValueError("an extension adds to the amount and ends ahead")
    reservation = Reservation.objects.get(pk=reservation_id)
    taken = SpendCap.objects.filter(
        pk=reservation.cap_id, limit_nano__gte=F("settled_nano") + F("reserved_nano") + additional_nano
    ).update(reserved_nano=F("reserved_nano") + additional_nano)
    if not taken:
        cap = SpendCap.objects.select_for_update().get(pk=reservation.cap_id)
        _lock_held(reservation_id)
        raise BudgetExceeded(cap, additional_nano)
    # Raising undoes what was taken above.
    reservation = _lock_held(reservation_id)
    reservation.amount_nano += additional_nano
    reservation.expires_at = max(reservation.expires_at, expires_at)
    reservation.save(update_fields=["amount_nano", "expires_at"])
    return reservation


@transaction.atomic
def release(*, reservation_id: int, now: datetime) -> int:
    """Give back what is still held and return it in nano-dollars: 0 when the reservation has ended before."""
    reservation = Reservation.objects.get(pk=reservation_id)
    SpendCap.objects.select_for_update().get(pk=reservation.cap_id)
    try:
        reservation = _lock_held(reservation_id)
    except ReservationEnded:
        return 0
    return _end(reservation, Reservation.State.CLOSED, now)


def expire_reservations(*, now: datetime) -> int:
    """Give back every reservation that nobody renewed in time, cap by cap, and return how many there were.

    For the platform role: it works across organizations, with one transaction per cap.
    """
    caps = Reservation.objects.overdue(now).order_by("cap_id").values_list("cap_id", flat=True).distinct()
    return sum(_expire_of_cap(cap_id, now) for cap_id in list(caps))


@transaction.atomic
def _expire_of_cap(cap_id: int, now: datetime) -> int:
    SpendCap.objects.select_for_update().get(pk=cap_id)
    overdue = list(Reservation.objects.overdue(now).filter(cap_id=cap_id).order_by("pk").select_for_update())
    for reservation in overdue:
        _end(reservation, Reservation.State.EXPIRED, now)
    return len(overdue)


def _execute_reserve(values: dict[str, str | int | datetime]) -> tuple[int | None, int | None]:
    with connection.cursor() as cursor:
        cursor.execute(_RESERVE, values)
        cap_id, reservation_id = cursor.fetchone()
    return cap_id, reservation_id


def _held_by(cap: SpendCap, purpose: Reservation.Purpose, holder: str) -> Reservation | None:
    held = Reservation.objects.held().filter(organization_id=cap.organization_id, purpose=purpose, holder=holder)
    return held.first()


def _lock_held(reservation_id: int) -> Reservation:
    reservation = Reservation.objects.select_for_update().get(pk=reservation_id)
    if reservation.state != Reservation.State.HELD:
        raise ReservationEnded(_("This reservation of budget has ended; reserve again."))
    return reservation


def _end(reservation: Reservation, state: Reservation.State, now: datetime) -> int:
    amount_nano = reservation.amount_nano
    reservation.amount_nano = 0
    reservation.state = state
    reservation.ended_at = now
    reservation.save(update_fields=["amount_nano", "state", "ended_at"])
    _give_back(reservation.cap_id, amount_nano)
    return amount_nano


def _give_back(cap_id: int, amount_nano: int) -> None:
    SpendCap.objects.filter(pk=cap_id).update(reserved_nano=F("reserved_nano") - amount_nano)
