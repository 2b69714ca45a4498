"""The operator's API of usage: systems outside the portal report it as CloudEvents 1.0, and ask what became of it.

What a report has to say and what it hears: docs/api.md. The law: docs/algorithms/metering.md.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from django.http import Http404, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from msgspec import Meta
from rest_framework import exceptions
from rest_framework.request import Request

from accounts.api.operator import OperatorAPIView
from accounts.models import OperatorScope
from billing import selectors
from billing.selectors import FateView
from billing.services.reported import UsageReport, correction_id_of, event_id_of
from billing.services.usage_reports import Answer, Answered, report_usage
from portal.lib.api import BodyTooLarge, JsonResponse
from portal.lib.openapi import described
from portal.lib.tenancy import as_platform

EVENT, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
# What one request may bring; its body is bounded by DATA_UPLOAD_MAX_MEMORY_SIZE.
MAXIMUM_EVENTS = 2_000
# A single event of more would be worth millions: a mistake of units.
MOST = 10**12
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC)
MALFORMED = "malformed"

_PLAIN = r"^[^\x00-\x1f\x7f]*$"
type Text = Annotated[str, Meta(min_length=1, max_length=160, pattern=_PLAIN)]
type Source = Annotated[str, Meta(min_length=1, max_length=500, pattern=_PLAIN)]
type PublicId = Annotated[str, Meta(min_length=1, max_length=32, pattern=_PLAIN)]
type OptionalId = Annotated[str, Meta(max_length=64, pattern=_PLAIN)]
type Quantity = Annotated[int, Meta(ge=-MOST, le=MOST)]
type Instant = Annotated[datetime, Meta(tz=True)]


@dataclass(frozen=True, slots=True)
class UsageData:
    """What was used, for whom. quantity: in the SKU's smallest unit. corrects: the `event_id` that this takes back."""

    organization: PublicId
    project: PublicId
    sku: Text
    quantity: Quantity
    resource: Text
    api_key: OptionalId = ""
    request_id: OptionalId = ""
    corrects: UUID | None = None


@dataclass(frozen=True, slots=True)
class UsageCloudEvent:
    """One measurement. time: a function of its cause, such as when the request ended, and never of the sending."""

    specversion: Literal["1.0"]
    id: Text
    source: Source
    type: Literal["usage.measured"]
    time: Instant
    data: UsageData


@dataclass(frozen=True, slots=True)
class EventAnswer:
    """What became of one event. index: its place in the request. event_id: under which it is known here.

    outcome: counted, late, duplicate, rejected, deferred, failed or malformed. fate: what the id is for ever: counted,
    late, rejected, or empty while it is none of them.
    """

    index: int
    event_id: str | None
    outcome: str
    fate: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class UsageReceived:
    """An answer for each event, in their order, and how many there are of each outcome."""

    outcomes: dict[str, int]
    data: Sequence[EventAnswer]


_one = msgspec.json.Decoder(UsageCloudEvent)
_many = msgspec.json.Decoder(list[msgspec.Raw])


class UsageReportList(OperatorAPIView):
    """Report usage: one CloudEvent, or a batch of at most 2,000; those of all organizations may come together."""

    scope = OperatorScope.USAGE_WRITE

    @described(
        UsageReceived, body={EVENT: UsageCloudEvent, BATCH: Annotated[list[UsageCloudEvent], Meta(min_length=1)]}
    )
    def post(self, request: Request) -> HttpResponse:
        reports, answers = _read(_events_in(request))
        with as_platform():
            told = report_usage([report for _index, report in reports], now=timezone.now())
        answers += [_answer(index, answer) for (index, _report), answer in zip(reports, told, strict=True)]
        answers.sort(key=lambda answer: answer.index)
        outcomes = Counter(answer.outcome for answer in answers)
        # Who looks at the status alone comes again; what was counted is not counted twice.
        failed = HTTPStatus.SERVICE_UNAVAILABLE if outcomes[Answered.FAILED] else HTTPStatus.OK
        return JsonResponse(UsageReceived(dict(outcomes), answers), status=failed)


class UsageFateDetail(OperatorAPIView):
    """What became of a reported event."""

    scope = OperatorScope.USAGE_WRITE

    @described(FateView)
    def get(self, request: Request, event_id: str) -> HttpResponse:
        try:
            wanted = UUID(event_id)
        except ValueError as error:
            raise Http404 from error
        with as_platform():
            fate = selectors.fate_of(wanted)
        if fate is None:
            raise Http404
        return JsonResponse(fate)


def _events_in(request: Request) -> list[msgspec.Raw]:
    kind = request.content_type.partition(";")[0].strip().lower()
    if kind not in (EVENT, BATCH):
        raise exceptions.UnsupportedMediaType(
            kind, detail=_("Send %(event)s or %(batch)s.") % {"event": EVENT, "batch": BATCH}
        )
    if kind == EVENT:
        return [msgspec.Raw(request.body)]
    try:
        events = _many.decode(request.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise exceptions.ParseError(_("The body is no JSON list of events.")) from error
    if not events:
        raise exceptions.ParseError(_("There is no event in the batch."))
    if len(events) > MAXIMUM_EVENTS:
        raise BodyTooLarge(_("A batch has at most %(most)s events: send several.") % {"most": MAXIMUM_EVENTS})
    return events


def _read(events: Sequence[msgspec.Raw]) -> tuple[list[tuple[int, UsageReport]], list[EventAnswer]]:
    """Return the reports that can be read, each with its place, and answers to the others."""
    reports, malformed = [], []
    for index, raw in enumerate(events):
        try:
            reports.append((index, _report(_one.decode(raw))))
        except (msgspec.DecodeError, ValueError, OverflowError, RecursionError) as error:
            malformed.append(EventAnswer(index, None, MALFORMED, "", MALFORMED, str(error)))
    return reports, malformed


def _report(event: UsageCloudEvent) -> UsageReport:
    occurred_at = event.time.astimezone(UTC)
    if not EARLIEST <= occurred_at < LATEST:
        raise ValueError(_("Its time is outside the years 2000 to 2999."))
    data = event.data
    known_as = event_id_of(event.source, event.id, data.sku)
    return UsageReport(
        event_id=correction_id_of(data.corrects) if data.corrects else known_as,
        occurred_at=occurred_at,
        organization=data.organization,
        project=data.project,
        sku=data.sku,
        quantity=data.quantity,
        resource_id=data.resource,
        api_key=data.api_key,
        request_id=data.request_id,
        corrects=data.corrects,
    )


def _answer(index: int, answer: Answer) -> EventAnswer:
    return EventAnswer(index, str(answer.event_id), answer.outcome.value, answer.fate, answer.reason, answer.detail)
