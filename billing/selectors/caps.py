"""Caps as pages, programs and the gateway read them."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Exists, OuterRef
from django.utils.translation import gettext as _

from accounts.models import ApiKey, Organization, Project
from billing.models import CapWarning, SpendCap
from billing.selectors.budget import starter_credit_nano
from portal.lib.money import display_usd
from portal.lib.periods import calendar_period


def has_cap() -> Exists:
    """Return an expression over API keys: whether one has a cap of its own."""
    return Exists(SpendCap.objects.current().filter(api_key_id=OuterRef("pk")))


@dataclass(frozen=True, slots=True)
class CapLeft:
    """What a cap is, in nano-dollars, and when it begins anew."""

    limit_nano: int
    remaining_nano: int
    resets_at: datetime | None


def tightest_cap_of(api_key: ApiKey, now: datetime) -> CapLeft:
    """Return the cap over what a key does that has the least left: its own, its project's or the organization's."""
    caps = SpendCap.objects.current().filter(stops=True)
    over = caps.over(organization_id=api_key.organization_id, project_ids=[api_key.project_id], key_ids=[api_key.pk])
    lefts = [
        CapLeft(cap.limit_nano, cap.limit_nano, calendar_period(cap.period, now).end)
        if cap.has_ended(now)
        else CapLeft(cap.limit_nano, cap.remaining_nano, cap.period_end)
        for cap in over
    ]
    starter_nano = starter_credit_nano()
    return min(lefts, key=lambda left: left.remaining_nano, default=CapLeft(starter_nano, starter_nano, None))


def left_under_caps(*, organization_id: int, project_id: int, api_key_id: int | None) -> int:
    """Return limit less settled of the tightest cap that stops work of the project and key, in nano-dollars.

    Before the organization's account is open, that is the starter credit.
    """
    keys = [] if api_key_id is None else [api_key_id]
    over = SpendCap.objects.current().over(organization_id=organization_id, project_ids=[project_id], key_ids=keys)
    lefts = over.filter(stops=True).values_list("limit_nano", "settled_nano")
    return min((limit - settled for limit, settled in lefts), default=starter_credit_nano())


@dataclass(frozen=True, slots=True)
class CapRow:
    """A cap as pages print it; in the running period, also where nothing has been spent in it yet."""

    public_id: str
    over: str  # what it limits, in words
    over_kind: str  # organization, project or key
    over_id: str  # public id of the project or key
    period: str
    used_thousandths: int
    text: str
    settled: str
    held: str
    stops: bool
    resets_at: datetime | None


@dataclass(frozen=True, slots=True)
class CapPage:
    rows: list[CapRow]
    next_after: str  # the public id to continue after, empty on the last page


@dataclass(frozen=True, slots=True)
class WarningRow:
    """A warning as the page of caps lists it."""

    over: str
    period: str
    text: str
    warned_at: datetime


PAGE_SIZE = 50
SHOWN_WARNINGS = 20


def cap_page(organization: Organization, now: datetime, after: str) -> CapPage:
    """Return 50 caps beside the credit, oldest first, from the one after the public id `after` on."""
    caps = SpendCap.objects.owned_by(organization).limits().current()
    last = caps.filter(public_id=after).values_list("pk", flat=True).first() if after and "\0" not in after else None
    if last is not None:
        caps = caps.filter(pk__gt=last)
    found = list(caps.select_related("project", "api_key").order_by("pk")[: PAGE_SIZE + 1])
    rows = [cap_row(cap, now) for cap in found[:PAGE_SIZE]]
    return CapPage(rows, rows[-1].public_id if len(found) > PAGE_SIZE else "")


def cap_row(cap: SpendCap, now: datetime) -> CapRow:
    """Return a cap, which comes with its project and key, as pages print it."""
    has_ended = cap.has_ended(now)
    settled_nano = 0 if has_ended else cap.settled_nano
    used_nano = 0 if has_ended else cap.settled_nano + cap.reserved_nano
    resets_at = calendar_period(cap.period, now).end if has_ended else cap.period_end
    over = cap.project or cap.api_key
    return CapRow(
        public_id=cap.public_id,
        over=cap_words_of(cap.project, cap.api_key),
        over_kind=cap.scope,
        over_id=over.public_id if over else "",
        period=str(SpendCap.Period(cap.period).label),
        used_thousandths=min(used_nano * 1000 // cap.limit_nano, 1000) if cap.limit_nano else 1000,
        text=_("%(used)s of %(limit)s") % {"used": display_usd(used_nano), "limit": display_usd(cap.limit_nano)},
        settled=display_usd(settled_nano),
        held=display_usd(used_nano - settled_nano),
        stops=cap.stops,
        resets_at=resets_at,
    )


def cap_words_of(project: Project | None, api_key: ApiKey | None) -> str:
    """Return what a cap over these limits, in words; over neither it is the whole organization."""
    if project is not None:
        return _("Project %(name)s") % {"name": project.name}
    if api_key is not None:
        return _("API key %(name)s") % {"name": api_key.name}
    return _("The whole organization")


def newest_warnings(organization: Organization) -> list[WarningRow]:
    """Return the newest warnings, newest first."""
    warnings = CapWarning.objects.owned_by(organization).select_related("cap__project", "cap__api_key")
    return [
        WarningRow(
            over=cap_words_of(warning.cap.project, warning.cap.api_key),
            period=str(SpendCap.Period(warning.cap.period).label),
            text=_warning_words(warning),
            warned_at=warning.warned_at,
        )
        for warning in warnings.order_by("-warned_at", "-pk")[:SHOWN_WARNINGS]
    ]


def _warning_words(warning: CapWarning) -> str:
    amounts = {
        "settled": display_usd(warning.settled_nano),
        "limit": display_usd(warning.limit_nano),
        "percent": warning.percent,
    }
    if warning.percent == 0:
        return _("%(settled)s spent: at this pace the month passes %(limit)s") % amounts
    return _("%(percent)s %% of %(limit)s reached: %(settled)s spent") % amounts
