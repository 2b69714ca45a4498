"""/api/v1/spend: what days cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpResponse
from rest_framework import serializers
from rest_framework.request import Request

from accounts.access import KeyAPIView
from accounts.models import Organization, Scope
from billing import selectors
from billing.api.reading import CURRENCY, SpanInput, valid
from billing.selectors import Grouping, SpendLine
from billing.selectors.breakdown import amounts_of
from billing.selectors.center_spend import GROUPINGS, CenterSpend, center_spend
from portal.lib.api import JsonResponse, query_of
from portal.lib.money import decimal_string
from portal.lib.openapi import described
from portal.lib.periods import Period, day_of


class SpendInput(SpanInput):
    group_by = serializers.ChoiceField(choices=Grouping.choices, required=False)
    cost_center = serializers.CharField(
        required=False, allow_blank=True, max_length=80, help_text="Of this one only; empty: of what has none."
    )

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        if "cost_center" in given and given.get("group_by", GROUPINGS[0]) not in GROUPINGS:
            raise serializers.ValidationError({"group_by": "Of one cost center, group by product or project."})
        return super().validate(given)


@dataclass(frozen=True, slots=True)
class SpendRow:
    """A SKU on a day at one price version. unit_price: for `unit_size` units."""

    day: datetime
    sku: str
    name: str
    product: str
    quantity: int
    unit: str
    unit_price: str
    unit_size: int
    price_version: str
    amount: str


@dataclass(frozen=True, slots=True)
class GroupAmount:
    """id: public id of the project, key or member, or the resource's or product's own name; empty for nobody."""

    day: datetime
    id: str
    name: str
    amount: str


@dataclass(frozen=True, slots=True)
class Spend:
    """What the UTC days that begin in the span cost; `groups` breaks each day down when asked for."""

    start: datetime
    end: datetime
    currency: str
    total: str
    updated_at: datetime | None
    data: Sequence[SpendRow]
    groups: Sequence[GroupAmount]
    has_more: bool = False
    next_cursor: str | None = None


class SpendReport(KeyAPIView):
    """What the organization spent, by day and SKU."""

    scope = Scope.BILLING_READ

    @described(Spend, query=SpendInput)
    def get(self, request: Request) -> HttpResponse:
        given = valid(SpendInput(data=query_of(request)))
        span = Period(day_of(given["span"].start), given["span"].end)
        name = given.get("cost_center")
        center = None if name is None else center_spend(self.request.organization, name, span)
        lines = selectors.spend_lines(self.request.organization, span) if center is None else center.lines()
        report = Spend(
            start=span.start,
            end=span.end,
            currency=CURRENCY,
            total=decimal_string(sum(line.amount_nano for line in lines)),
            updated_at=max((line.updated_at for line in lines), default=None),
            data=[_spend_row(line) for line in lines],
            groups=_groups(self.request.organization, span, given.get("group_by"), lines, center),
        )
        return JsonResponse(report)


def _groups(
    organization: Organization,
    span: Period,
    group_by: str | None,
    lines: Sequence[SpendLine],
    center: CenterSpend | None,
) -> list[GroupAmount]:
    if group_by is None:
        return []
    if center is None:
        amounts = selectors.amounts_by_day(organization, span, Grouping(group_by), lines)
    else:
        amounts = amounts_of(center.groups(Grouping(group_by)))
    return [
        GroupAmount(day, named.public_id, named.name, decimal_string(amount_nano))
        for day, named, amount_nano in amounts
    ]


def _spend_row(line: SpendLine) -> SpendRow:
    return SpendRow(
        day=line.day,
        sku=line.sku,
        name=line.name,
        product=line.product,
        quantity=line.quantity,
        unit=line.unit,
        unit_price=decimal_string(line.price_nano),
        unit_size=line.unit_size,
        price_version=line.price_id,
        amount=decimal_string(line.amount_nano),
    )
