"""Reservations: the cap holds, a repeat changes nothing, and what is not renewed comes back."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction

from billing.models import CreditGrant, Reservation, SpendCap
from billing.selectors import budget_of
from billing.services.credits import grant_starter_credit
from billing.services.reservations import (
    BudgetExceeded,
    ReservationEnded,
    expire_reservations,
    extend,
    release,
)
from portal.lib.money import NANO_PER_USD
from tests.factories.accounts import make_organization, make_project
from tests.factories.billing import NOW, make_reservation

pytestmark = pytest.mark.django_db
LATER = NOW + timedelta(minutes=30)


def budget(project):
    found = budget_of(project.organization)
    return found.limit_nano, found.settled_nano, found.reserved_nano


def test_answers_with_the_starter_credit_before_the_account_is_open():
    organization = make_organization()

    assert budget_of(organization).remaining_nano == 5 * NANO_PER_USD
    assert not SpendCap.objects.exists()


def test_opens_the_account_with_the_first_reservation():
    project = make_project()

    reservation = make_reservation(project, 2 * NANO_PER_USD)

    assert budget(project) == (5 * NANO_PER_USD, 0, 2 * NANO_PER_USD)
    assert reservation.public_id.startswith("hold_")
    assert CreditGrant.objects.get().amount_nano == 5 * NANO_PER_USD


def test_grants_the_starter_credit_once():
    organization = make_organization()

    for _ in range(2):
        grant_starter_credit(organization=organization, now=NOW)

    assert CreditGrant.objects.count() == SpendCap.objects.count() == 1
    assert budget_of(organization).limit_nano == 5 * NANO_PER_USD


def test_opens_an_account_without_credit_when_there_is_none_to_give(settings):
    settings.STARTER_CREDIT_USD = Decimal(0)
    organization = make_organization()

    grant_starter_credit(organization=organization, now=NOW)

    assert budget_of(organization).limit_nano == 0
    assert not CreditGrant.objects.exists()


def test_returns_the_same_reservation_to_the_same_holder():
    project = make_project()

    first = make_reservation(project, NANO_PER_USD, holder="inst_1")
    second = make_reservation(project, 2 * NANO_PER_USD, holder="inst_1")

    assert first == second
    assert second.amount_nano == NANO_PER_USD
    assert budget(project)[2] == NANO_PER_USD


def test_returns_the_same_reservation_when_the_cap_is_full():
    project = make_project()

    first = make_reservation(project, 5 * NANO_PER_USD, holder="inst_1")

    assert make_reservation(project, 5 * NANO_PER_USD, holder="inst_1") == first


def test_reserves_anew_when_the_holders_reservation_is_overdue():
    project = make_project()
    first = make_reservation(project, 3 * NANO_PER_USD, holder="inst_1")

    second = make_reservation(project, 4 * NANO_PER_USD, holder="inst_1", now=LATER)

    first.refresh_from_db()
    assert first.state == Reservation.State.EXPIRED
    assert second.amount_nano == budget(project)[2] == 4 * NANO_PER_USD


def test_refuses_one_nano_dollar_too_much_and_changes_nothing():
    project = make_project()
    make_reservation(project, 5 * NANO_PER_USD - 1)

    with pytest.raises(BudgetExceeded) as refusal:
        make_reservation(project, 2)

    assert (refusal.value.status, refusal.value.code) == (402, "budget_exceeded")
    assert (refusal.value.scope, refusal.value.limit_nano, refusal.value.remaining_nano) == (
        "organization",
        5 * NANO_PER_USD,
        1,
    )
    assert refusal.value.resets_at is None
    assert "$5.00" in str(refusal.value)
    assert budget(project)[2] == 5 * NANO_PER_USD - 1
    assert Reservation.objects.count() == 1


@pytest.mark.parametrize("bad", [{"amount_nano": 0}, {"amount_nano": -1}, {"expires_at": NOW}])
def test_refuses_an_empty_reservation(bad):
    with pytest.raises(ValueError, match="positive amount"):
        make_reservation(make_project(), **bad)

    assert not SpendCap.objects.exists()


def test_extends_in_amount_and_time():
    project = make_project()
    reservation = make_reservation(project, NANO_PER_USD)

    extended = extend(reservation_id=reservation.pk, additional_nano=NANO_PER_USD, now=NOW, expires_at=LATER)

    assert (extended.amount_nano, extended.expires_at) == (2 * NANO_PER_USD, LATER)
    assert budget(project)[2] == 2 * NANO_PER_USD


def test_never_moves_an_expiry_back():
    reservation = make_reservation(make_project(), expires_at=LATER)

    extended = extend(reservation_id=reservation.pk, additional_nano=0, now=NOW, expires_at=NOW + timedelta(minutes=1))

    assert extended.expires_at == LATER


def test_refuses_an_extension_beyond_the_cap_and_changes_nothing():
    project = make_project()
    reservation = make_reservation(project, 4 * NANO_PER_USD)

    with pytest.raises(BudgetExceeded):
        extend(reservation_id=reservation.pk, additional_nano=NANO_PER_USD + 1, now=NOW, expires_at=LATER)

    reservation.refresh_from_db()
    assert reservation.amount_nano == budget(project)[2] == 4 * NANO_PER_USD
    assert reservation.expires_at < LATER


def test_refuses_to_extend_what_has_ended_and_changes_nothing():
    project = make_project()
    reservation = make_reservation(project)
    release(reservation_id=reservation.pk, now=NOW)

    with pytest.raises(ReservationEnded):
        extend(reservation_id=reservation.pk, additional_nano=1, now=NOW, expires_at=LATER)

    assert budget(project)[2] == 0


def test_releases_once():
    project = make_project()
    reservation = make_reservation(project, NANO_PER_USD)

    assert release(reservation_id=reservation.pk, now=NOW) == NANO_PER_USD
    assert release(reservation_id=reservation.pk, now=NOW) == 0
    assert budget(project)[2] == 0


def test_gives_back_what_expired_and_nothing_else():
    project, other = make_project(), make_project()
    overdue = make_reservation(project, NANO_PER_USD)
    kept = make_reservation(project, 2 * NANO_PER_USD, expires_at=LATER + timedelta(seconds=1))
    make_reservation(other, 3 * NANO_PER_USD)

    assert expire_reservations(now=LATER) == 2
    assert expire_reservations(now=LATER) == 0

    overdue.refresh_from_db()
    kept.refresh_from_db()
    assert (overdue.state, overdue.amount_nano, overdue.ended_at) == ("expired", 0, LATER)
    assert kept.state == "held"
    assert budget(project)[2] == 2 * NANO_PER_USD
    assert budget(other)[2] == 0


def test_the_database_refuses_what_the_code_would_not_do():
    project = make_project()
    make_reservation(project, 5 * NANO_PER_USD)

    for wrong in ({"reserved_nano": 5 * NANO_PER_USD + 1}, {"settled_nano": 1}, {"reserved_nano": -1}):
        with pytest.raises(IntegrityError, match="spend_cap_"), transaction.atomic():
            SpendCap.objects.update(**wrong)
