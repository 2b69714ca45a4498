"""One request from its hold to its receipt: forward, count, settle. The heart of the gateway."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import msgspec
import structlog

from inference.gateway.answers import (
    Event,
    EventReader,
    Fields,
    Tally,
    Unreadable,
    counts_of,
    priced_usage,
    read_answer,
)
from inference.gateway.asgi import ClientGone, Receive
from inference.gateway.budget import Hold
from inference.gateway.errors import ApiError, unavailable
from inference.gateway.keys import Caller
from inference.gateway.limits import Admission
from inference.gateway.metering import Meter
from inference.gateway.offers import Cost, HourlyPrices, Offer, Upstream
from inference.gateway.patrol import AccessEnded, Watch, unless_interrupted
from inference.gateway.requests import ModelRequest
from inference.gateway.upstream import Order, Refusal, Stream, UpstreamCut, Upstreams
from inference.models import Receipt
from inference.rating import NO_TOKENS, TokenCounts, usd_string
from inference.services.claims import IdempotentRequest
from inference.services.receipts import Settlement

log = structlog.get_logger(__name__)

Status = Receipt.Status

FREE = frozenset({Status.EMPTY, Status.FAILED})
# What an end is called that delivered nothing.
_WITHOUT_TOKENS = {Status.COMPLETED: Status.EMPTY, Status.CUT: Status.FAILED, Status.CANCELLED: Status.FAILED}


@dataclass(frozen=True, slots=True)
class Call:
    """A request that may run: who asks for what, at which prices."""

    request_id: str
    requested_at: datetime
    caller: Caller
    request: ModelRequest
    offer: Offer
    # Those of the offer's that may serve this caller.
    upstreams: tuple[Upstream, ...]
    prices: HourlyPrices
    admission: Admission
    idempotent: IdempotentRequest | None

    @property
    def worst_case_nano(self) -> int:
        return self.prices.worst_case_nano(
            prompt_tokens=self.request.prompt_bound(self.offer),
            output_tokens=self.request.output_limit(self.offer) * self.request.answer_count,
        )


@dataclass(frozen=True, slots=True)
class Summary:
    """How a request ended."""

    status: Status
    cost: Cost
    finish_reason: str
    price_version: dict[str, str]


class Outlet(Protocol):
    """Where a stream goes: the dialect of programs, or that of our pages."""

    has_begun: bool  # whether the headers are sent

    async def send(self, events: list[Event]) -> None:
        """Send what came in one piece; the first call sends the headers before."""
        ...

    async def end(self, summary: Summary, usage: Event | None, error: ApiError | None) -> None:
        """Send what comes last: the usage chunk, an error after the headers, the end mark."""
        ...


@dataclass(frozen=True, slots=True)
class WholeAnswer:
    body: bytes
    cost_usd: str


class Exchange:
    """Runs one call on its hold. However it ends, the hold ends too, and a receipt says what it came to."""

    def __init__(self, call: Call, hold: Hold, watch: Watch, *, upstreams: Upstreams, meter: Meter) -> None:
        self._call = call
        self._watch = watch
        self._hold = hold
        self._upstreams = upstreams
        self._meter = meter
        self._upstream: Upstream | None = None
        self._first_token_at: datetime | None = None
        self.is_settled = False

    async def answer(self, receive: Receive) -> WholeAnswer:
        """Return a whole answer. Raises ApiError, Refusal, or ClientGone; then nothing is charged."""
        call = self._call
        try:
            async with unless_interrupted(receive, self._watch):
                whole = await self._upstreams.fetch(self._order())
            self._upstream = whole.upstream
            fields, answer = read_answer(whole.body)
        except ClientGone:
            self._settle(Status.CANCELLED)
            raise
        except AccessEnded as ended:
            self._settle(Status.FAILED)
            raise ended.refusal from ended
        except Unreadable as error:
            self._settle(Status.FAILED)
            raise unavailable("The model answered nonsense. Nothing was charged.", code="model_unavailable") from error
        except Refusal:
            self._hold.give_back()
            raise
        except BaseException:
            self._settle(Status.FAILED)
            raise
        finish_reason = next((choice.finish_reason for choice in answer.choices if choice.finish_reason), None) or ""
        counts = counts_of(answer.usage)
        if counts is None:
            log.error("inference.usage_missing", deployment=self._upstream.public_id, request_id=call.request_id)
        status = Status.EMPTY if answer.is_empty else Status.COMPLETED
        summary = self._settle(status, counts or NO_TOKENS, finish_reason)
        return WholeAnswer(self._encode(fields, summary), usd_string(summary.cost.usd))

    def _encode(self, fields: Fields, summary: Summary) -> bytes:
        fields = priced_usage(fields, summary.cost.usd, summary.price_version)
        fields["model"] = msgspec.Raw(msgspec.json.encode(self._call.offer.name))
        return msgspec.json.encode(fields)

    async def stream(self, receive: Receive, outlet: Outlet) -> None:
        """Send a stream on as it comes. Raises ApiError or Refusal before the first byte, and nothing after it."""
        tally = Tally()
        usage: Event | None = None
        error: ApiError | None = None
        try:
            async with unless_interrupted(receive, self._watch), self._opened() as stream:
                try:
                    usage = await self._pass_on(stream, outlet, tally)
                    if not tally.is_complete:
                        error = _cut()
                except UpstreamCut:
                    error = _cut()
        except AccessEnded as ended:
            if not outlet.has_begun:
                self._settle(Status.FAILED)
                raise ended.refusal from ended
            error = ended.told
        except Refusal:
            self._hold.give_back()
            raise
        except BaseException as reason:
            # Cancelled or failed: what was delivered until now is what it came to.
            status = Status.CANCELLED if isinstance(reason, ClientGone) else Status.CUT
            self._settle(status, tally.tokens, tally.finish_reason)
            raise
        status = Status.COMPLETED if error is None else Status.CUT
        await outlet.end(self._settle(status, tally.tokens, tally.finish_reason), usage, error)

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Stream]:
        """Open the stream, and end its connection unless it can be used again."""
        stream = await self._upstreams.open(self._order())
        self._upstream = stream.upstream
        try:
            yield stream
        finally:
            stream.close()

    async def _pass_on(self, stream: Stream, outlet: Outlet, tally: Tally) -> Event | None:
        """Send events on until the end mark; return the usage chunk, which is kept back to be priced."""
        reader = EventReader()
        usage: Event | None = None
        hides_counts = stream.upstream.has_continuous_usage and not self._call.request.wants_counts
        while data := await stream.read():
            events = reader.feed(data)
            if self._first_token_at is None and any(event.has_content for event in events):
                self._first_token_at = datetime.now(UTC)
            shown = [event for event in events if not (event.is_usage_alone or event.is_done or _is_error(event))]
            if shown:
                await outlet.send([event.without_usage() for event in shown] if hides_counts else shown)
            # Counted only now that it was delivered.
            for event in events:
                tally.count(event)
            usage = next((event for event in events if event.is_usage_alone), usage)
            if tally.is_done:
                await stream.drain()
                return usage
            if tally.has_error:
                raise UpstreamCut
        return usage

    def _order(self) -> Order:
        call = self._call
        return Order(call.upstreams, call.request.path, self._body, call.caller.organization_id)

    def _body(self, upstream: Upstream) -> bytes:
        return self._call.request.body_for(upstream, self._call.offer)

    def _settle(self, status: Status, counts: TokenCounts = NO_TOKENS, finish_reason: str = "") -> Summary:
        """End the hold and write the receipt; from here on nothing can change what the request cost."""
        call = self._call
        if not counts:
            status = _WITHOUT_TOKENS.get(status, status)
        # Measured on one clock that may be set back: a receipt never ends before it began.
        finished_at = max(datetime.now(UTC), call.requested_at)
        # Usage counts in the hour in which the request ends, so that is whose price the receipt and x-cost say.
        prices = call.prices.at(finished_at)
        cost = prices.cost(NO_TOKENS if status in FREE else counts)
        self._hold.spend(cost.bound_nano)
        call.admission.spend_tokens(counts.input + counts.cached_input + counts.output)
        self._meter.settle(
            self._settlement(status, cost, finish_reason, finished_at), self._hold.lease, cost.bound_nano
        )
        self.is_settled = True
        return Summary(status, cost, finish_reason, prices.version())

    def _settlement(self, status: Status, cost: Cost, finish_reason: str, finished_at: datetime) -> Settlement:
        call, upstream = self._call, self._upstream
        # A failed request keeps no digest, so that its Idempotency-Key can be used again.
        kept = call.idempotent if status != Status.FAILED else None
        return Settlement(
            request_id=call.request_id,
            organization_id=call.caller.organization_id,
            project_id=call.caller.project_id,
            api_key_id=call.caller.api_key_id,
            user_id=call.caller.user_id,
            endpoint=call.request.endpoint.value,
            served_model_id=call.offer.served_model_id,
            deployment_id=upstream.id if upstream else None,
            region_name=upstream.region_name if upstream else "",
            resource_id=upstream.public_id if upstream else "",
            status=status.value,
            finish_reason=finish_reason[:40],
            is_stream=call.request.is_stream,
            requested_at=call.requested_at,
            finished_at=finished_at,
            first_token_ms=_milliseconds(call.requested_at, self._first_token_at),
            counts=cost.tokens,
            input=cost.input,
            cached_input=cost.cached_input,
            output=cost.output,
            cost_usd=cost.usd,
            is_claimed=call.idempotent is not None,
            idempotency_digest=kept.idempotency_digest if kept else None,
            body_digest=kept.body_digest if kept else None,
        )


def _is_error(event: Event) -> bool:
    return event.chunk is not None and event.chunk.error is not None


def _cut() -> ApiError:
    return ApiError(
        502, "The model broke off. Only what was delivered is charged.", code="upstream_cut", kind="server_error"
    )


def _milliseconds(start: datetime, end: datetime | None) -> int | None:
    return None if end is None else max(0, round((end - start).total_seconds() * 1000))
