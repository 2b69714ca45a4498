"""Gateways that report the same usage at the same time, for one organization and for two: each id is counted once."""

from collections import Counter
from dataclasses import replace

from billing.models import SpendCap, UsageByHour, UsageEvent, UsageFate
from billing.services.credits import lock_cap
from billing.services.usage_reports import Answer, report_usage
from portal.lib.tenancy import as_platform
from tests.factories.accounts import make_project
from tests.factories.billing import NOW, make_report
from tests.factories.catalog import make_price
from tests.own_database import SUPERUSER, OwnDatabase

GATEWAYS, EVENTS = 8, 40


def test_each_id_is_counted_once_whoever_reports_it_at_the_same_time(own_database: OwnDatabase):
    with own_database.in_use(SUPERUSER):
        make_price("model.demo.input", 150_000_000, 1_000_000)
        projects = [make_project() for _ in range(2)]
        for project in projects:
            lock_cap(organization_id=project.organization_id, now=NOW)
        reports = [make_report(projects[number % 2], 1_000_000) for number in range(EVENTS)]
        # The same ids, each claimed for the other organization.
        crossed = [
            replace(
                report,
                organization=projects[1 - number % 2].organization.public_id,
                project=projects[1 - number % 2].public_id,
            )
            for number, report in enumerate(reports)
        ]

    def deliver(number: int) -> list[Answer]:
        mine = crossed if number % 4 == 3 else reports
        with as_platform():
            return report_usage(mine[number:] + mine[:number], now=NOW)

    with own_database.in_use():
        answers = own_database.in_threads(GATEWAYS, deliver)

    assert not [answer for answer in answers if isinstance(answer, Exception)]
    heard = Counter(answer.outcome.value for each in answers if not isinstance(each, Exception) for answer in each)
    assert heard["counted"] == EVENTS
    assert set(heard) == {"counted", "duplicate", "rejected"}
    with own_database.in_use(SUPERUSER):
        assert UsageFate.objects.count() == UsageEvent.objects.count() == EVENTS
        assert UsageEvent.objects.values("event_id").distinct().count() == EVENTS
        amount = sum(UsageByHour.objects.values_list("amount_nano", flat=True))
        assert amount == EVENTS * 150_000_000
        caps = SpendCap.objects.values_list("settled_nano", flat=True)
        # What found no room in the starter credit was written off.
        assert 0 < sum(caps) <= amount
