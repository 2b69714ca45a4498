"""People hear in time of caps that fill, once for each threshold and period."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core import mail

from accounts.models import Role
from billing.models import CapWarning, SpendCap
from billing.services.cap_warnings import mail_warnings, warn_of_caps
from billing.services.caps import CapTarget, set_cap
from billing.services.usage import record_usage
from portal.lib.money import NANO_PER_USD
from tests.factories.accounts import make_membership, make_organization, make_project
from tests.factories.billing import make_cap, make_record
from tests.factories.catalog import make_price

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 10, 12, tzinfo=UTC)
DAY, MONTH = SpendCap.Period.DAY, SpendCap.Period.MONTH


@pytest.fixture
def project():
    make_price("model.demo.input", NANO_PER_USD, 1_000_000)
    organization = make_organization(name="Acme")
    for role in Role:
        make_membership(organization, role=role)
    return make_project(organization, "Vision")


def use(project, dollars, at=NOW):
    record_usage([make_record(project, int(dollars * 1_000_000), occurred_at=at)], reservation_id=None, now=at)


def percents(project):
    warnings = CapWarning.objects.owned_by(project.organization).order_by("pk")
    return list(warnings.values_list("cap__period", "percent"))


def test_warns_once_at_each_threshold_and_anew_in_the_next_period(project):
    make_cap(project, limit_nano=NANO_PER_USD, period=DAY, now=NOW)

    for dollars, expected in [(0.499999, []), (0.000001, [50]), (0.1, []), (0.3, [80]), (0.1, [100]), (0, [])]:
        before = percents(project)
        if dollars:
            use(project, dollars)
        warn_of_caps(now=NOW)
        assert percents(project)[len(before) :] == [("day", percent) for percent in expected]

    tomorrow = NOW + timedelta(days=1)
    use(project, 0.6, at=tomorrow)
    warn_of_caps(now=tomorrow)
    # Of the credit of $5 this is no half.
    assert percents(project)[3:] == [("day", 50)]


def test_who_passes_several_thresholds_at_once_is_warned_of_the_highest(project):
    make_cap(project, limit_nano=NANO_PER_USD, period=DAY, now=NOW)
    use(project, 0.9)

    assert warn_of_caps(now=NOW) == 1

    assert percents(project) == [("day", 80)]


def test_warns_of_the_credit_too(project):
    use(project, 2.5)

    assert warn_of_caps(now=NOW) == 1

    assert percents(project) == [("lifetime", 50)]


def test_warns_of_a_month_that_will_cost_more_once(project):
    make_cap(project, limit_nano=NANO_PER_USD, period=MONTH, now=NOW)
    # A third of the month is over: three times as much would be 90 cents, then 1.20.
    use(project, 0.3)
    assert warn_of_caps(now=NOW) == 0
    use(project, 0.1)

    assert [warn_of_caps(now=NOW) for _ in range(2)] == [1, 0]

    assert percents(project) == [("month", 0)]


def test_says_nothing_of_a_month_that_has_just_begun(project):
    first = datetime(2026, 11, 2, tzinfo=UTC)
    make_cap(project, limit_nano=NANO_PER_USD, period=MONTH, now=first)
    use(project, 0.4, at=first)

    assert warn_of_caps(now=first) == 0


def test_whoever_raises_a_limit_hears_when_the_new_one_comes_near(project):
    target = CapTarget(project.organization, project=project)
    make_cap(project, limit_nano=NANO_PER_USD, period=DAY, now=NOW)
    use(project, 0.9)
    warn_of_caps(now=NOW)
    set_cap(target=target, period=DAY, limit_nano=NANO_PER_USD * 3 // 2, stops=True, now=NOW)
    assert warn_of_caps(now=NOW) == 0

    use(project, 0.35)

    assert warn_of_caps(now=NOW) == 1
    assert percents(project) == [("day", 80), ("day", 80)]


def test_a_month_with_another_limit_is_forecast_anew(project):
    target = CapTarget(project.organization, project=project)
    make_cap(project, limit_nano=NANO_PER_USD, period=MONTH, now=NOW)
    use(project, 0.4)
    assert warn_of_caps(now=NOW) == 1
    set_cap(target=target, period=MONTH, limit_nano=2 * NANO_PER_USD, stops=True, now=NOW)
    assert warn_of_caps(now=NOW) == 0

    use(project, 0.3)

    assert warn_of_caps(now=NOW) == 1
    assert percents(project) == [("month", 0), ("month", 0)]


def test_mails_those_who_may_change_caps_once(project):
    make_cap(project, limit_nano=NANO_PER_USD, period=DAY, now=NOW)
    use(project, 1)
    warn_of_caps(now=NOW)

    assert [mail_warnings(now=NOW) for _ in range(2)] == [1, 0]

    may = project.organization.memberships.filter(role__in=[Role.OWNER, Role.ADMIN, Role.BILLING])
    assert sorted(message.to[0] for message in mail.outbox) == sorted(may.values_list("user__email", flat=True))
    message = mail.outbox[0]
    assert message.subject == "100 % of a spend cap is used: Project Vision"
    assert "Acme" in message.body
    assert "$1.00 of $1.00" in message.body
    assert "402" in message.body
    assert f"/o/{project.organization.slug}/caps/" in message.body
