"""/api/v1/caps: spend caps."""

from dataclasses import dataclass
from datetime import datetime

from django.http import HttpResponse
from rest_framework.request import Request

from accounts.access import KeyAPIView
from accounts.models import Organization, Scope
from billing import selectors
from billing.api.reading import CURRENCY
from billing.models import SpendCap
from portal.lib.api import CursorList, JsonResponse, PageInput, cut, query_of
from portal.lib.money import decimal_string
from portal.lib.openapi import described


@dataclass(frozen=True, slots=True)
class CapView:
    """A spend cap; `remaining` is limit less settled less reserved. id: null until the first reservation.

    scope_id: the project or API key. period: day, week, month or lifetime. stops: whether it refuses or only warns.
    """

    id: str | None
    scope: str
    scope_id: str | None
    period: str
    stops: bool
    currency: str
    limit: str
    settled: str
    reserved: str
    remaining: str
    starts_at: datetime | None
    resets_at: datetime | None


class CapList(KeyAPIView):
    """The spend caps of the organization."""

    scope = Scope.BILLING_READ

    @described(CursorList[CapView], query=PageInput)
    def get(self, request: Request) -> HttpResponse:
        caps = SpendCap.objects.owned_by(self.request.organization).current().select_related("project", "api_key")
        page = cut(caps, query_of(request))
        if not page.objects and not caps.exists():
            return JsonResponse(CursorList([_unopened_cap(self.request.organization)], False, None))
        return JsonResponse(page.of([_cap(cap) for cap in page.objects]))


def _cap(cap: SpendCap) -> CapView:
    return CapView(
        id=cap.public_id,
        scope=cap.scope,
        scope_id=_scope_id(cap),
        period=cap.period,
        stops=cap.stops,
        currency=CURRENCY,
        limit=decimal_string(cap.limit_nano),
        settled=decimal_string(cap.settled_nano),
        reserved=decimal_string(cap.reserved_nano),
        remaining=decimal_string(cap.remaining_nano),
        starts_at=cap.period_start,
        resets_at=cap.period_end,
    )


def _scope_id(cap: SpendCap) -> str | None:
    narrowed = cap.project or cap.api_key
    return narrowed.public_id if narrowed else None


def _unopened_cap(organization: Organization) -> CapView:
    budget = selectors.budget_of(organization)
    return CapView(
        id=None,
        scope=SpendCap.Scope.ORGANIZATION,
        scope_id=None,
        period=SpendCap.Period.LIFETIME,
        stops=True,
        currency=CURRENCY,
        limit=decimal_string(budget.limit_nano),
        settled=decimal_string(budget.settled_nano),
        reserved=decimal_string(budget.reserved_nano),
        remaining=decimal_string(budget.remaining_nano),
        starts_at=None,
        resets_at=None,
    )
