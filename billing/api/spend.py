"""/api/v1/spend: what days cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.http import HttpResponse
from rest_framework import serializers
from rest_framework.request import Request

from accounts.access import KeyAPIView
from accounts.models import Organization, Scope
from billing import selectors
from billing.api.reading import CURRENCY, SpanInput, valid
from billing.selectors import Grouping, SpendLine
from portal.lib.api import JsonResponse, query_of
from portal.lib.money import decimal_string
from portal.lib.openapi import described
from portal.lib.periods import Period, day_of


class SpendInput(SpanInput):
    group_by = serializers.ChoiceField(choices=Grouping.choices, required=False)


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
        lines = selectors.spend_lines(self.request.organization, span)
        report = Spend(
            start=span.start,
            end=span.end,
            currency=CURRENCY,
            total=decimal_string(sum(line.amount_nano for line in lines)),
            updated_at=max((line.updated_at for line in lines), default=None),
            data=[_spend_row(line) for line in lines],
            groups=_groups(self.request.organization, span, given.get("group_by"), lines),
        )
        return JsonResponse(report)


def _groups(
    organization: Organization, span: Period, group_by: str | None, lines: Sequence[SpendLine]
) -> list[GroupAmount]:
    if group_by is None:
        return []
    amounts = selectors.amounts_by_day(organization, span, Grouping(group_by), lines)
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
