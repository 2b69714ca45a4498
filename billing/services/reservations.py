"""Hold budget before work, so that a spend cap is a cap. Rules and proofs: docs/algorithms/caps.md.

Locks are taken in one order everywhere: the organization's credit, its other caps, reservations, buckets of usage.
"""

from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus
from typing import ClassVar

from django.db import connection, transaction
from django.utils.translation import gettext as _

from billing.models import Reservation, SpendCap
from billing.services.credits import lock_cap
from billing.services.limits import Payer, add_reserved, limits_over
from portal.lib.errors import DomainError
from portal.lib.money import display_usd
from portal.lib.public_ids import new_hold_id


class BudgetExceeded(DomainError):
    """A cap has no room for the amount asked; it is the one with the least room.

    room_nano: the most that could have been held instead.
    """

    status: ClassVar[HTTPStatus] = HTTPStatus.PAYMENT_REQUIRED
    code: ClassVar[str] = "budget_exceeded"

    def __init__(self, cap: SpendCap, amount_nano: int, room_nano: int) -> None:
        self.cap_id = cap.pk
        self.scope = cap.scope
        self.period = cap.period
        self.limit_nano = cap.limit_nano
        self.remaining_nano = cap.remaining_nano
        self.room_nano = room_nano
        self.resets_at = cap.period_end
        words = {
            "cap": cap_words(cap),
            "limit": display_usd(cap.limit_nano),
            "remaining": display_usd(max(cap.remaining_nano, 0)),
            "needed": display_usd(amount_nano),
        }
        refusal = _("%(cap)s of %(limit)s has %(remaining)s left, and this needs up to %(needed)s.") % words
        super().__init__(f"{refusal} {_way_out(cap)}")


def cap_words(cap: SpendCap) -> str:
    """Return how sentences call a cap: The budget, or This project's monthly cap."""
    if cap.scope == SpendCap.Scope.ORGANIZATION and cap.period == SpendCap.Period.LIFETIME:
        return _("The budget")
    names = {
        (SpendCap.Scope.ORGANIZATION, SpendCap.Period.DAY): _("The organization's daily cap"),
        (SpendCap.Scope.ORGANIZATION, SpendCap.Period.WEEK): _("The organization's weekly cap"),
        (SpendCap.Scope.ORGANIZATION, SpendCap.Period.MONTH): _("The organization's monthly cap"),
        (SpendCap.Scope.PROJECT, SpendCap.Period.DAY): _("This project's daily cap"),
        (SpendCap.Scope.PROJECT, SpendCap.Period.WEEK): _("This project's weekly cap"),
        (SpendCap.Scope.PROJECT, SpendCap.Period.MONTH): _("This project's monthly cap"),
        (SpendCap.Scope.PROJECT, SpendCap.Period.LIFETIME): _("This project's cap"),
        (SpendCap.Scope.KEY, SpendCap.Period.DAY): _("This API key's daily cap"),
        (SpendCap.Scope.KEY, SpendCap.Period.WEEK): _("This API key's weekly cap"),
        (SpendCap.Scope.KEY, SpendCap.Period.MONTH): _("This API key's monthly cap"),
        (SpendCap.Scope.KEY, SpendCap.Period.LIFETIME): _("This API key's cap"),
    }
    return names[SpendCap.Scope(cap.scope), SpendCap.Period(cap.period)]


def _way_out(cap: SpendCap) -> str:
    if cap.period_end is not None:
        return _("Raise it under Spend caps, or wait until %(end)s (UTC).") % {
            "end": f"{cap.period_end:%Y-%m-%d %H:%M}"
        }
    if cap.scope == SpendCap.Scope.ORGANIZATION:
        return _("Add credit, or wait for running work to end.")
    return _("Raise it under Spend caps, or wait for running work to end.")


class Suspended(BudgetExceeded):
    """The organization's work is stopped for a debt; nothing is held for it, however much room there is."""

    def __init__(self, cap: SpendCap, amount_nano: int) -> None:
        super().__init__(cap, amount_nano, 0)
        self.args = (_("This organization is suspended for an unpaid bill. Pay it under Invoices or Credit to go on."),)


class ReservationEnded(DomainError):
    """The reservation is closed or has expired, so nothing is held any more."""

    code: ClassVar[str] = "reservation_ended"


# One statement takes the room in every cap over the work and writes the hold, or does neither. It runs under the lock
# of the credit, which another statement took before: one that waits for a lock itself may judge by rows as they were.
_RESERVE = """
    WITH mine AS MATERIALIZED (
        SELECT id, scope = 'organization' AND period = 'lifetime' AS is_credit,
               NOT is_suspended AND (NOT stops OR settled_nano + reserved_nano + %(amount)s <= limit_nano)
                   AND (period_end IS NULL OR period_end > %(now)s) AS has_room
        FROM billing_spendcap
        WHERE organization_id = %(organization)s AND is_current
            AND (scope = 'organization' OR project_id = %(project)s OR api_key_id = %(api_key)s)
    ), taken AS (
        UPDATE billing_spendcap AS cap SET reserved_nano = reserved_nano + %(amount)s
        FROM mine
        WHERE cap.id = mine.id AND NOT EXISTS (SELECT FROM mine WHERE NOT has_room)
        RETURNING cap.id, is_credit
    ), held AS (
        INSERT INTO billing_reservation (public_id, organization_id, cap_id, limit_ids, project_id, api_key_id,
                                         purpose, holder, amount_nano, state, created_at, expires_at)
        SELECT %(public_id)s, %(organization)s, id, ARRAY(SELECT id FROM taken WHERE NOT is_credit ORDER BY id),
               %(project)s, %(api_key)s, %(purpose)s, %(holder)s, %(amount)s, 'held', %(now)s, %(expires_at)s
        FROM taken WHERE is_credit
        ON CONFLICT (organization_id, purpose, holder) WHERE state = 'held' DO NOTHING
        RETURNING id
    )
    SELECT ARRAY(SELECT id FROM taken), (SELECT id FROM held)
"""

type Values = dict[str, str | int | datetime | None]


@transaction.atomic
def reserve(
    *,
    payer: Payer,
    purpose: Reservation.Purpose,
    holder: str,
    amount_nano: int,
    now: datetime,
    expires_at: datetime,
) -> Reservation:
    """Hold `amount_nano` nano-dollars in every cap over the payer's work, until `expires_at`.

    Safe to repeat: while a holder holds a reservation for the purpose, that one is returned unchanged. The
    first reservation of an organization opens its account. Raises BudgetExceeded when the room left in one of
    the caps is less, Suspended for a debt, ValueError unless the amount is positive and the expiry ahead.
    """
    if amount_nano <= 0 or expires_at <= now:
        raise ValueError("a reservation holds a positive amount until an instant ahead")
    values: Values = {
        "public_id": new_hold_id(),
        "organization": payer.organization_id,
        "project": payer.project_id,
        "api_key": payer.api_key_id,
        "purpose": purpose.value,
        "holder": holder,
        "amount": amount_nano,
        "now": now,
        "expires_at": expires_at,
    }
    credit = lock_cap(organization_id=payer.organization_id, now=now)
    taken, reservation_id = _execute_reserve(values)
    if reservation_id is not None:
        return Reservation.objects.get(pk=reservation_id)
    # The holder held one already: give back what the statement took just now.
    add_reserved(taken, -amount_nano)

    if held := _held_by(credit, purpose, holder):
        if held.expires_at > now:
            return held
        # The sweep has not come by yet.
        _end(held, Reservation.State.EXPIRED, now)
        credit.refresh_from_db()
    if credit.is_suspended:
        raise Suspended(credit, amount_nano)
    caps = [credit, *limits_over(payer, now)]
    _refuse_without_room([(cap, amount_nano) for cap in caps], amount_nano)
    taken, reservation_id = _execute_reserve(values)
    if reservation_id is None:
        raise RuntimeError("the caps have room and are locked, and yet took nothing")
    return Reservation.objects.get(pk=reservation_id)


@transaction.atomic
def extend(*, reservation_id: int, additional_nano: int, now: datetime, expires_at: datetime) -> Reservation:
    """Hold more and for longer; 0 nano-dollars more only moves the expiry, which never moves back.

    The whole hold moves into the caps that are over its work now: those of a new period, and new ones. Raises
    BudgetExceeded when one of them has not the room, ReservationEnded when it is held no more; then nothing has
    changed.
    """
    if additional_nano < 0 or expires_at <= now:
        raise ValueError("an extension adds to the amount and ends ahead")
    reservation = Reservation.objects.get(pk=reservation_id)
    credit = SpendCap.objects.select_for_update(no_key=True).get(pk=reservation.cap_id)
    reservation = _lock_held(reservation_id)
    if credit.is_suspended:
        raise Suspended(credit, additional_nano)
    limits = limits_over(Payer(reservation.organization_id, reservation.project_id, reservation.api_key_id), now)
    before, after = set(reservation.limit_ids), {cap.pk for cap in limits}
    whole_nano = reservation.amount_nano + additional_nano
    needs = [(cap, additional_nano if cap.pk in before else whole_nano) for cap in limits]
    _refuse_without_room([(credit, additional_nano), *needs], additional_nano)
    add_reserved([credit.pk, *before & after], additional_nano)
    add_reserved(after - before, whole_nano)
    add_reserved(before - after, -reservation.amount_nano)
    reservation.amount_nano = whole_nano
    reservation.limit_ids = sorted(after)
    reservation.expires_at = max(reservation.expires_at, expires_at)
    reservation.save(update_fields=["amount_nano", "limit_ids", "expires_at"])
    return reservation


@transaction.atomic
def release(*, reservation_id: int, now: datetime) -> int:
    """Give back what is still held and return it in nano-dollars: 0 when the reservation has ended before."""
    reservation = Reservation.objects.get(pk=reservation_id)
    SpendCap.objects.select_for_update(no_key=True).get(pk=reservation.cap_id)
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
    SpendCap.objects.select_for_update(no_key=True).get(pk=cap_id)
    overdue = list(Reservation.objects.overdue(now).filter(cap_id=cap_id).order_by("pk").select_for_update())
    for reservation in overdue:
        _end(reservation, Reservation.State.EXPIRED, now)
    return len(overdue)


def _execute_reserve(values: Values) -> tuple[list[int], int | None]:
    with connection.cursor() as cursor:
        cursor.execute(_RESERVE, values)
        taken, reservation_id = cursor.fetchone()
    return taken, reservation_id


def _refuse_without_room(needs: Sequence[tuple[SpendCap, int]], amount_nano: int) -> None:
    """Refuse where a cap that stops lacks the room. needs: caps with the nano-dollars that each would take."""
    if not amount_nano and all(needed == 0 for _cap, needed in needs):
        return
    rooms = [(cap.remaining_nano - needed + amount_nano, cap) for cap, needed in needs if cap.stops]
    room_nano, tightest = min(rooms, key=lambda room: room[0])
    if room_nano < amount_nano:
        raise BudgetExceeded(tightest, amount_nano, max(room_nano, 0))


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
    add_reserved([reservation.cap_id, *reservation.limit_ids], -amount_nano)
    return amount_nano
