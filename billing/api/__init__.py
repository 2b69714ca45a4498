"""The REST API of money: what a key is and may spend, usage events, spend by day, caps (contracts 1, 2 and 8)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import F
from django.http import HttpResponse
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request

from accounts.access import KeyAPIView, is_former_secret
from accounts.models import Organization, Scope
from accounts.models.api_key import REQUESTS_PER_MINUTE, TOKENS_PER_MINUTE
from accounts.selectors import key_view
from billing import selectors
from billing.models import Invoice, SpendCap
from billing.selectors import Grouping, SpendLine
from billing.selectors.invoice_export import usd
from portal.lib.api import DEFAULT_LIMIT, MAXIMUM_LIMIT, CursorList, JsonResponse, PageInput, cut, query_of
from portal.lib.money import decimal_string
from portal.lib.openapi import described
from portal.lib.periods import Period, day_of

CURRENCY = "USD"
LONGEST = timedelta(days=366)
USUAL = timedelta(days=30)


class SpanInput(serializers.Serializer[Any]):
    """A half-open span [start, end); the 30 days that end now when nothing is said."""

    start = serializers.DateTimeField(required=False)
    end = serializers.DateTimeField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        end = attrs.get("end", timezone.now()).astimezone(UTC)
        start = attrs.get("start", end - USUAL).astimezone(UTC)
        if start >= end:
            raise serializers.ValidationError({"start": "It must be before `end`."})
        if end - start > LONGEST:
            raise serializers.ValidationError({"start": f"A span has at most {LONGEST.days} days."})
        return attrs | {"span": Period(start, end)}


class UsageInput(SpanInput):
    limit = serializers.IntegerField(min_value=1, max_value=MAXIMUM_LIMIT, default=DEFAULT_LIMIT)
    after = serializers.CharField(required=False)

    def validate_after(self, cursor: str) -> selectors.Position:
        try:
            return selectors.position_in(cursor)
        except ValueError as error:
            raise serializers.ValidationError("This is no `next_cursor` of this list.") from error


class UsageList(KeyAPIView):
    """Every usage event of a span, oldest first."""

    scope = Scope.USAGE_READ

    @described(CursorList[selectors.EventRow], query=UsageInput)
    def get(self, request: Request) -> HttpResponse:
        given = _valid(UsageInput(data=query_of(request)))
        limit = given["limit"]
        rows = selectors.event_page(self.request.organization, given["span"], after=given.get("after"), limit=limit + 1)
        has_more = len(rows) > limit
        rows = rows[:limit]
        return JsonResponse(CursorList(rows, has_more, selectors.cursor_of(rows[-1]) if has_more else None))


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
        given = _valid(SpendInput(data=query_of(request)))
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


@dataclass(frozen=True, slots=True)
class InvoiceView:
    """An issued invoice. total: of the lines; it is paid by credit, by us (house) and by what is owed; due: owed + tax.

    status: open, paid, void or uncollectible. period_end: not included.
    """

    id: str
    number: str | None
    status: str
    revision: int
    period_start: datetime
    period_end: datetime
    currency: str
    total: str
    credit: str
    house: str
    owed: str
    tax: str
    due: str
    purchase_order: str
    issued_at: datetime | None
    due_at: datetime | None
    paid_at: datetime | None


class InvoiceList(KeyAPIView):
    """The invoices of the organization that are issued."""

    scope = Scope.BILLING_READ

    @described(CursorList[InvoiceView], query=PageInput)
    def get(self, request: Request) -> HttpResponse:
        issued = Invoice.objects.owned_by(self.request.organization).issued().annotate(created_at=F("drafted_at"))
        page = cut(issued, query_of(request))
        return JsonResponse(page.of([_invoice(invoice) for invoice in page.objects]))


def _invoice(invoice: Invoice) -> InvoiceView:
    return InvoiceView(
        id=invoice.public_id,
        number=invoice.number,
        status=invoice.status,
        revision=invoice.revision,
        period_start=invoice.period_start,
        period_end=invoice.period_end,
        currency=CURRENCY,
        total=usd(invoice.total_cents),
        credit=usd(invoice.credit_cents),
        house=usd(invoice.house_cents),
        owed=usd(invoice.owed_cents),
        tax=usd(invoice.tax_cents),
        due=usd(invoice.due_cents),
        purchase_order=invoice.terms["purchase_order"],
        issued_at=invoice.issued_at,
        due_at=invoice.due_at,
        paid_at=invoice.paid_at,
    )


@dataclass(frozen=True, slots=True)
class FormerSecret:
    """A secret from before a rotation that still works."""

    label: str
    retired_at: datetime
    valid_until: datetime


@dataclass(frozen=True, slots=True)
class KeyDescription:
    """What a key may know of itself: everything that it is limited by. docs/api.md says what each field means.

    The limit of money is that of the tightest cap over its work; `usage` is what this key has cost.
    """

    id: str
    name: str
    label: str
    kind: str
    state: str
    scopes: list[str]
    project: str
    service_account: str | None
    is_personal: bool
    allowed_models: list[str]
    allowed_addresses: list[str]
    requests_per_minute: int
    tokens_per_minute: int
    currency: str
    limit: str
    limit_remaining: str
    limit_reset: datetime | None
    usage: str
    usage_daily: str
    usage_monthly: str
    uses_former_secret: bool
    former_secrets: list[FormerSecret]
    last_used_at: datetime | None
    last_used_address: str | None
    last_used_agent: str | None
    expires_at: datetime | None
    created_at: datetime


class KeyDetail(KeyAPIView):
    """The key that asks describes itself."""

    scope = None

    @described(KeyDescription)
    def get(self, request: Request) -> HttpResponse:
        key, now = self.request.api_key, timezone.now()
        known = key_view(key, now)
        tightest = selectors.tightest_cap_of(key, now)
        spend = selectors.spend_of_key(key, now)
        description = KeyDescription(
            id=known.id,
            name=known.name,
            label=known.label,
            kind=known.kind,
            state=known.state,
            scopes=known.scopes,
            project=known.project,
            service_account=known.service_account,
            is_personal=key.is_personal,
            allowed_models=known.allowed_models,
            allowed_addresses=known.allowed_addresses,
            requests_per_minute=REQUESTS_PER_MINUTE,
            tokens_per_minute=TOKENS_PER_MINUTE,
            currency=CURRENCY,
            limit=decimal_string(tightest.limit_nano),
            limit_remaining=decimal_string(tightest.remaining_nano),
            limit_reset=tightest.resets_at,
            usage=decimal_string(spend.total_nano),
            usage_daily=decimal_string(spend.today_nano),
            usage_monthly=decimal_string(spend.month_nano),
            uses_former_secret=is_former_secret(self.request),
            former_secrets=[
                FormerSecret(f"{key.prefix}…{secret.last_four}", secret.retired_at, secret.valid_until)
                for secret in key.former_secrets_at(now)
            ],
            last_used_at=known.last_used_at,
            last_used_address=known.last_used_address,
            last_used_agent=known.last_used_agent,
            expires_at=known.expires_at,
            created_at=known.created_at,
        )
        return JsonResponse(description)


def _valid(given: serializers.Serializer[Any]) -> dict[str, Any]:
    given.is_valid(raise_exception=True)
    # What a serializer made of a query; its keys are the fields above.
    validated: dict[str, Any] = given.validated_data
    return validated


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
