"""What the overview of an organization shows: money, machines and tokens across apps, in few queries.

Only roll-ups and living instances are read, so that it costs the same however much was used.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Exists, OuterRef, Sum
from django.utils.translation import gettext as _

from accounts.models import ApiKey, Membership, Organization, Permission
from billing.models import SpendByDay, UsageByHour
from billing.selectors import Budget, budget_meter, budget_of
from billing.selectors.spend_page import BudgetMeter
from catalog.models import Product
from compute.models import Instance, SshKey
from compute.reconcile import State
from portal.lib.charts import StackedBars, stacked_bars
from portal.lib.money import divide_half_even
from portal.lib.periods import Period, day_of, hour_of, month_of

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
CHART_DAYS = 30
SHOWN_INSTANCES = 5
SECONDS_PER_HOUR = 3_600
# States in which seconds are counted.
BURNING = (State.ACTIVE.value,)


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """A living instance as the overview lists it."""

    name: str
    public_id: str
    shape: str
    region: str
    state: str
    state_label: str
    hourly_nano: int


@dataclass(frozen=True, slots=True)
class Step:
    """One of the first steps; `url_name` is the page where it is done."""

    title: str
    url_name: str
    icon: str
    is_done: bool


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything that the page prints; amounts in nano-dollars."""

    burn_nano: int
    instances_nano: int  # per hour, now
    models_nano: int  # in the hour that ended last
    month_nano: int
    budget: Budget
    meter: BudgetMeter
    runway: str  # in words; empty while nothing burns
    tokens_today: str
    instance_count: int
    instances: tuple[InstanceRow, ...]
    chart: StackedBars | None
    steps: tuple[Step, ...]

    @property
    def open_step_count(self) -> int:
        return sum(not step.is_done for step in self.steps)


type Spend = Sequence[tuple[datetime, str, int, int]]  # day, SKU, nano-dollars, quantity


def overview_of(membership: Membership, now: datetime) -> Overview:
    """Return the overview of the member's organization; amounts are left at zero for who may not see spend."""
    organization = membership.organization
    spend = _spend(organization, now) if membership.may(Permission.VIEW_SPEND) else []
    fleet = _fleet(organization)
    instances_nano = sum(
        count * _hourly(price_nano, unit_size) for state, price_nano, unit_size, count in fleet if state in BURNING
    )
    models_nano = _models_last_hour(organization, now)
    budget = budget_of(organization)
    month, today = month_of(now), day_of(now)
    return Overview(
        burn_nano=instances_nano + models_nano,
        instances_nano=instances_nano,
        models_nano=models_nano,
        month_nano=sum(amount for day, _sku, amount, _quantity in spend if month.contains(day)),
        budget=budget,
        meter=budget_meter(budget),
        runway=_runway(budget.remaining_nano, instances_nano + models_nano),
        tokens_today=f"{sum(n for day, sku, _amount, n in spend if day == today and _is_model(sku)):,}",
        instance_count=sum(count for *_, count in fleet),
        instances=_newest_instances(organization) if fleet else (),
        chart=_chart(spend, now) if spend else None,
        steps=_steps(organization, has_called=any(_is_model(sku) for _day, sku, _amount, _quantity in spend)),
    )


def _spend(organization: Organization, now: datetime) -> Spend:
    """Return the days of the chart and of the running month."""
    start = min(month_of(now).start, day_of(now) - (CHART_DAYS - 1) * DAY)
    days = SpendByDay.objects.owned_by(organization).within(Period(start, day_of(now) + DAY))
    return list(days.values_list("day", "sku").annotate(amount=Sum("amount_nano"), quantity=Sum("quantity")))


def _is_model(sku: str) -> bool:
    return sku.startswith("model.")


def _models_last_hour(organization: Organization, now: datetime) -> int:
    hour = hour_of(now)
    usage = UsageByHour.objects.owned_by(organization).within(Period(hour - HOUR, hour))
    return usage.filter(sku__startswith="model.").aggregate(amount=Sum("amount_nano"))["amount"] or 0


_PRODUCT_OF_PREFIX = {"model": Product.MODELS, "instance": Product.INSTANCES, "volume": Product.STORAGE}


def _chart(spend: Spend, now: datetime) -> StackedBars:
    by_day: defaultdict[datetime, dict[str, int]] = defaultdict(dict)
    for day, sku, amount, _quantity in spend:
        product = _PRODUCT_OF_PREFIX.get(sku.partition(".")[0])
        name = str(product.label) if product else sku
        by_day[day][name] = by_day[day].get(name, 0) + amount
    days = [day_of(now) - back * DAY for back in reversed(range(CHART_DAYS))]
    return stacked_bars(_("Spend by day in UTC"), [(f"{day:%b} {day.day}", by_day.get(day, {})) for day in days])


def _runway(remaining_nano: int, burn_nano: int) -> str:
    if burn_nano <= 0:
        return ""
    hours = remaining_nano // burn_nano
    if hours >= 48:  # noqa: PLR2004  # from two days on, hours say less than days
        return _("about %(count)s days at this rate") % {"count": f"{hours // 24:,}"}
    return _("about %(count)s hours at this rate") % {"count": hours}


def _fleet(organization: Organization) -> list[tuple[str, int, int, int]]:
    """Return (state, nano-dollars, for so many seconds, how many instances): few rows for however many instances."""
    kinds = Instance.objects.owned_by(organization).living().values_list("state", "price_nano", "unit_size")
    return list(kinds.annotate(count=Count("pk")))


def _hourly(price_nano: int, unit_size: int) -> int:
    return divide_half_even(price_nano * SECONDS_PER_HOUR, unit_size)


def _newest_instances(organization: Organization) -> tuple[InstanceRow, ...]:
    living = Instance.objects.owned_by(organization).living().select_related("region", "instance_type")
    return tuple(
        InstanceRow(
            name=instance.name,
            public_id=instance.public_id,
            shape=instance.instance_type.name,
            region=instance.region.name,
            state=instance.state,
            state_label=instance.get_state_display(),
            hourly_nano=_hourly(instance.price_nano, instance.unit_size),
        )
        for instance in living.newest_first()[:SHOWN_INSTANCES]
    )


def _steps(organization: Organization, *, has_called: bool) -> tuple[Step, ...]:
    """Return the first steps and which of them are done, asked in one query."""
    mine = {"organization": OuterRef("pk")}
    done = (
        Organization.objects.filter(pk=organization.pk)
        .values_list(
            Exists(ApiKey.objects.filter(**mine)),
            Exists(SshKey.objects.filter(**mine)),
            Exists(Instance.objects.filter(**mine)),
        )
        .get()
    )
    has_key, has_ssh_key, has_launched = done
    return (
        Step(_("Make an API key"), "accounts:key-list", "key-round", has_key),
        Step(_("Call a model"), "quickstart", "message-square", has_called),
        Step(_("Add an SSH key"), "compute:ssh-key-list", "square-terminal", has_ssh_key or has_launched),
        Step(_("Launch an instance"), "compute:instance-launch", "rocket", has_launched),
    )
