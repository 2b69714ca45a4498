"""The scheduled work runs as the platform role and may run twice."""

from datetime import UTC, datetime, time, timedelta

import pytest
import time_machine
from django.db import connection
from django.utils import timezone

from billing import tasks
from billing.models import Reservation, SpendCap, UsageEvent
from billing.services.partitions import make_partitions, watch_partitions
from billing.services.usage import record_usage
from portal.lib.tenancy import as_platform
from tests.factories.accounts import make_organization, make_project
from tests.factories.billing import NOW, make_record, make_reservation
from tests.factories.catalog import make_price

pytestmark = pytest.mark.django_db
FAR = NOW.replace(year=2031)


def partition_of_events():
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT tableoid::regclass::text FROM billing_usageevent")
        return [row[0] for row in cursor.fetchall()]


def test_expires_what_is_overdue_now():
    overdue = make_reservation(make_project(), now=NOW - timedelta(days=3000))

    tasks.expire_reservations()

    overdue.refresh_from_db()
    assert overdue.state == Reservation.State.EXPIRED


def test_opens_accounts_for_everybody_once():
    for _ in range(3):
        make_organization()

    tasks.open_accounts()
    tasks.open_accounts()

    assert SpendCap.objects.count() == 3


def test_makes_a_week_of_partitions_ahead():
    tasks.make_partitions()

    with connection.cursor() as cursor:
        for days in range(-1, 9):
            name = f"billing_usageevent_{timezone.now() + timedelta(days=days):%Y%m%d}"
            cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [name])
            assert cursor.fetchone() == (True,)


def test_a_job_that_makes_no_partitions_any_more_is_noticed_by_another(caplog):
    last = timezone.now().date() + timedelta(days=8)
    tasks.make_partitions()
    assert watch_partitions(now=timezone.now()) == []
    tasks.reconcile()
    assert "running_out" not in caplog.text

    # Four days from the last that was made: nobody has made one since.
    late = datetime.combine(last - timedelta(days=3), time(12), tzinfo=UTC)
    assert watch_partitions(now=late) == [last + timedelta(days=1)]
    with time_machine.travel(late, tick=False):
        tasks.reconcile()
    assert "billing.partitions.running_out" in caplog.text


def test_counts_events_of_days_without_a_partition_reports_them_and_moves_them_home(caplog):
    make_price("model.demo.input", 150_000_000, 1_000_000)
    record_usage([make_record(make_project(), occurred_at=FAR)], reservation_id=None, now=FAR)
    assert partition_of_events() == ["billing_usageevent_default"]

    tasks.make_partitions()
    assert "billing.partitions.stray_events" in caplog.text
    assert partition_of_events() == [f"billing_usageevent_{FAR:%Y%m%d}"]
    assert UsageEvent.objects.count() == 1
    caplog.clear()

    tasks.make_partitions()
    assert "billing.partitions.stray_events" not in caplog.text
    with as_platform():
        assert make_partitions(first=FAR.date(), day_count=2) == 1
        assert make_partitions(first=FAR.date(), day_count=2) == 0
