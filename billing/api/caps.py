"""/api/v1/caps: spend caps, and those of a key, which programs may set that manage keys."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request

from accounts.access import KeyAPIView
from accounts.models import ApiKey, Organization, Scope
from accounts.services.api_keys import CUSTOMER_SCOPES
from billing import selectors
from billing.api.reading import CURRENCY
from billing.models import SpendCap
from billing.services.caps import CapTarget, remove_cap, set_cap
from portal.lib.api import Body, CursorList, JsonResponse, PageInput, cut, query_of
from portal.lib.money import decimal_string, usd_to_nano
from portal.lib.openapi import described
from portal.lib.periods import calendar_period


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
        now = timezone.now()
        return JsonResponse(page.of([_cap(cap, now) for cap in page.objects]))


class NewCap(Body):
    """limit: dollars as a decimal string, to the cent. stops: refuse what does not fit, else only warn."""

    limit = serializers.RegexField(
        r"^[0-9]{1,8}(\.[0-9]{1,2})?$",
        error_messages={"invalid": "Give dollars as a decimal string with two decimals at the most, such as 25.00."},
    )
    stops = serializers.BooleanField(default=True)


class KeyCapDetail(KeyAPIView):
    """The cap of an API key for a period: day, week, month or lifetime."""

    scope = Scope.KEYS_WRITE
    # Without its cap a key may spend more.
    open_while_stopped = frozenset()

    @described(CapView)
    def get(self, request: Request, public_id: str, period: str) -> HttpResponse:
        key = get_object_or_404(self._keys(), public_id=public_id)
        return JsonResponse(_cap(_cap_of(key, period), timezone.now()))

    @described(CapView, body=NewCap, text="Set the cap, or change it; what the period has cost already counts.")
    def put(self, request: Request, public_id: str, period: str) -> HttpResponse:
        key, chosen = self._manageable(public_id), SpendCap.Period(period)
        given = NewCap(data=request.data)
        given.is_valid(raise_exception=True)
        values: dict[str, Any] = given.validated_data
        now = timezone.now()
        set_cap(
            target=CapTarget(self.request.organization, api_key=key),
            period=chosen,
            limit_nano=usd_to_nano(Decimal(values["limit"])),
            stops=values["stops"],
            now=now,
        )
        return JsonResponse(_cap(_cap_of(key, chosen), now))

    @described(CapView, text="Remove the cap; answers it once more.")
    def delete(self, request: Request, public_id: str, period: str) -> HttpResponse:
        cap, now = _cap_of(self._manageable(public_id), period), timezone.now()
        remove_cap(cap=cap, now=now)
        return JsonResponse(_cap(cap, now))

    def _keys(self) -> QuerySet[ApiKey]:
        return ApiKey.objects.owned_by(self.request.organization)

    def _manageable(self, public_id: str) -> ApiKey:
        key = get_object_or_404(self._keys().filter(revoked_at=None), public_id=public_id)
        if set(key.scopes) - set(CUSTOMER_SCOPES):
            raise PermissionDenied("Only a person changes a key that may do what no key may give.")
        return key


def _cap_of(key: ApiKey, period: str) -> SpendCap:
    caps = SpendCap.objects.filter(organization_id=key.organization_id, api_key=key, period=period)
    return get_object_or_404(caps.current().select_related("project", "api_key"))


def _cap(cap: SpendCap, now: datetime) -> CapView:
    """Return a cap in the period that runs now, also where nothing has been reserved or settled in it yet."""
    has_ended = cap.has_ended(now)
    span = calendar_period(cap.period, now) if has_ended else None
    return CapView(
        id=cap.public_id,
        scope=cap.scope,
        scope_id=_scope_id(cap),
        period=cap.period,
        stops=cap.stops,
        currency=CURRENCY,
        limit=decimal_string(cap.limit_nano),
        settled=decimal_string(0 if has_ended else cap.settled_nano),
        reserved=decimal_string(0 if has_ended else cap.reserved_nano),
        remaining=decimal_string(cap.limit_nano if has_ended else cap.remaining_nano),
        starts_at=span.start if span else cap.period_start,
        resets_at=span.end if span else cap.period_end,
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
