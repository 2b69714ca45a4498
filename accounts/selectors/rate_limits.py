"""What rates hold for whom."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import OuterRef, Q
from django.db.models.functions import JSONObject
from django.utils.translation import gettext as _

from accounts.models import ApiKey, Organization, Project
from accounts.models.rate_limit import RATES_OF_KEY, RATES_OF_ORGANIZATION, RATES_OF_PROJECT, RateLimit, Rates


@dataclass(frozen=True, slots=True)
class RatesInForce:
    """All that hold for one caller at once."""

    key: Rates
    project: Rates
    organization: Rates


_FIELDS = ("project_id", "api_key_id", "requests_per_minute", "tokens_per_minute", "concurrent_requests")


def limits_over_key() -> ArraySubquery:
    """Return an expression over API keys, for `rates_of_limits`: every limit over what one does."""
    over = Q(project=None, api_key=None) | Q(project=OuterRef("project")) | Q(api_key=OuterRef("pk"))
    limits = RateLimit.objects.filter(over, organization=OuterRef("organization"))
    return ArraySubquery(limits.values(limit=JSONObject(**{field: field for field in _FIELDS})))


def rates_of_limits(limits: Iterable[Mapping[str, int | None]]) -> RatesInForce:
    """Return the rates over a key that `limits_over_key` found limits for."""
    return _in_force(RateLimit(**limit) for limit in limits)


def rates_in_console(*, organization_id: int, project_id: int) -> RatesInForce:
    """Return the rates over a person in the console, where a project pays."""
    over = Q(project=None, api_key=None) | Q(project=project_id)
    return _in_force(RateLimit.objects.filter(over, organization=organization_id))


def _in_force(limits: Iterable[RateLimit]) -> RatesInForce:
    by_scope = {limit.scope: limit.rates for limit in limits}
    scopes, nothing = RateLimit.Scope, Rates()
    return RatesInForce(
        key=by_scope.get(scopes.KEY, nothing).or_else(RATES_OF_KEY),
        project=by_scope.get(scopes.PROJECT, nothing).or_else(RATES_OF_PROJECT),
        organization=by_scope.get(scopes.ORGANIZATION, nothing).or_else(RATES_OF_ORGANIZATION),
    )


def own_rates(organization_id: int, project: Project | None, api_key: ApiKey | None) -> Rates:
    """Return what was set over exactly this, and nothing where nothing was."""
    limit = RateLimit.objects.filter(organization=organization_id, project=project, api_key=api_key).first()
    return limit.rates if limit is not None else Rates()


@dataclass(frozen=True, slots=True)
class RateRow:
    """Rates as pages print them."""

    over: str
    over_kind: str  # project or key
    over_id: str
    requests: str
    tokens: str
    at_once: str


@dataclass(frozen=True, slots=True)
class RatePage:
    rows: list[RateRow]
    next_after: str  # the public id to continue after, empty on the last page


PAGE_SIZE = 50


def rate_page(organization: Organization, after: str) -> RatePage | None:
    """Return 50 limits over projects and keys, oldest first, after the public id `after`; None without such a one."""
    limits = RateLimit.objects.owned_by(organization).of_customers().filter(api_key__revoked_at=None)
    if after:
        last = None if "\0" in after else limits.filter(public_id=after).values_list("pk", flat=True).first()
        if last is None:
            return None
        limits = limits.filter(pk__gt=last)
    found = list(limits.select_related("project", "api_key").order_by("pk")[: PAGE_SIZE + 1])
    rows = [_row(limit) for limit in found[:PAGE_SIZE]]
    return RatePage(rows, found[PAGE_SIZE - 1].public_id if len(found) > PAGE_SIZE else "")


def organization_rates(organization: Organization) -> RateRow:
    """Return what holds over the organization as a whole."""
    rates = own_rates(organization.pk, None, None).or_else(RATES_OF_ORGANIZATION)
    return _printed(rates, rate_words(None, None), "organization", organization.public_id)


def rates_of_each_key() -> RateRow:
    """Return what holds for a key that nobody limited."""
    return _printed(RATES_OF_KEY, "", "key", "")


def rates_of_key(api_key: ApiKey) -> Rates:
    """Return what holds over a key alone."""
    return own_rates(api_key.organization_id, None, api_key).or_else(RATES_OF_KEY)


def rate_words(project: Project | None, api_key: ApiKey | None) -> str:
    """Return what rates hold over, in words; over neither it is the whole organization."""
    if project is not None:
        return _("Project %(name)s") % {"name": project.name}
    if api_key is not None:
        return _("API key %(name)s") % {"name": api_key.name}
    return _("The whole organization")


def _row(limit: RateLimit) -> RateRow:
    over = limit.project or limit.api_key
    public_id = over.public_id if over else ""
    return _printed(limit.rates, rate_words(limit.project, limit.api_key), limit.scope.value, public_id)


def _printed(rates: Rates, over: str, kind: str, public_id: str) -> RateRow:
    shown = (rates.requests_per_minute, rates.tokens_per_minute, rates.concurrent_requests)
    requests, tokens, at_once = (_("No limit") if rate is None else f"{rate:,}" for rate in shown)
    return RateRow(over, kind, public_id, requests, tokens, at_once)


def rate_rows_of_organizations() -> list[RateRow]:
    """Return the organizations that have rates of their own, by name; for staff."""
    limits = RateLimit.objects.over_organizations().select_related("organization").order_by("organization__name", "pk")
    return [
        _printed(
            limit.rates.or_else(RATES_OF_ORGANIZATION), limit.organization.name, "organization", limit.organization.slug
        )
        for limit in limits
    ]
