"""The gateway's ASGI entry. `GatewayFront` takes `/v1/*` and the console's streams off the port before Django.

Read on from here: keys (who calls), dialects and requests (what they ask), limits and budget (whether they may),
exchange (forward, count, settle), patrol (who may no longer wait for it), metering (write it down). Why it is built
this way: docs/algorithms/gateway.md.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from time import perf_counter

import msgspec
import structlog
from django.conf import settings

from accounts.models.api_key import LONGEST_AGENT
from accounts.services.api_keys import KeyUse
from inference.gateway.asgi import (
    Application,
    ClientGone,
    Receive,
    Scope,
    Send,
    address_of,
    header,
    read_body,
    send_answer,
)
from inference.gateway.budget import Budget
from inference.gateway.console import PlaygroundDoor
from inference.gateway.counters import SharedCounters
from inference.gateway.database import UNREACHABLE, Database
from inference.gateway.dialects import Heading, Reply
from inference.gateway.dialects.addresses import DIALECTS, spoken_at
from inference.gateway.errors import ApiError, invalid, no_database, unknown_model
from inference.gateway.exchange import Call, Exchange
from inference.gateway.keys import Caller, KeyRing
from inference.gateway.limits import Limits
from inference.gateway.metering import Meter
from inference.gateway.offers import Offer, Shelf
from inference.gateway.outlets import PageOutlet
from inference.gateway.patrol import Patrol, Watch
from inference.gateway.places import Places
from inference.gateway.repeats import idempotent_request
from inference.gateway.requests import Endpoint, ModelRequest
from inference.gateway.upkeep import every
from inference.gateway.upstream import Refusal, Upstreams
from inference.models import Receipt
from inference.services.claims import IdempotentRequest, OtherBody, RequestIsRunning, claim_request, drop_claim
from portal.lib.masking import masked
from portal.lib.public_ids import accepted_request_id, new_public_id, new_req_id

log = structlog.get_logger(__name__)

# How often changed keys and deployments are looked for: revocation within a second (decisions: Inference).
LOOK_SECONDS = 0.5
TEND_SECONDS = 1.0
RESTOCK_SECONDS = 2.0
SESSION_SECONDS = 2.0  # how often whoever has an answer running in the console is asked again
NOTE_SECONDS = 20.0  # a key's last use is shown to the minute

_STREAM_PATH = re.compile(r"/o/(?P<organization>[-a-zA-Z0-9_]+)/stream/(?P<name>[a-z-]+)")


class GatewayFront:
    """Dispatches on the path: what is the gateway's never passes Django's middleware."""

    def __init__(self, behind: Application) -> None:
        self._behind = behind
        self._gateway: Gateway | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http" and scope["path"].startswith("/v1/"):
            await self._running().serve_program(scope, receive, send)
        elif scope["type"] == "http" and (match := _STREAM_PATH.fullmatch(scope["path"])):
            await self._running().serve_page(scope, receive, send, match["organization"], match["name"])
        else:
            await self._behind(scope, receive, send)

    def _running(self) -> "Gateway":
        if self._gateway is None:
            raise RuntimeError("the gateway needs a server that speaks ASGI's lifespan protocol")
        return self._gateway

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._gateway = Gateway()
                await self._gateway.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                if self._gateway is not None:
                    await self._gateway.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return


@dataclass(slots=True)
class _Asking:
    """A request on its way in, and what every answer to it carries."""

    # Ours alone: money hangs on it, so a client that repeats its own id in x-request-id still pays for each request.
    request_id: str
    requested_at: datetime
    headers: dict[str, str]


class Gateway:
    """Everything that lives as long as the process."""

    def __init__(self) -> None:
        self._database = Database()
        self._keys = KeyRing(self._database, brand=settings.KEY_BRAND, pepper=settings.API_KEY_PEPPER)
        self._proxy_count = settings.ALLAUTH_TRUSTED_PROXY_COUNT
        self._shelf = Shelf(self._database)
        self._limits = Limits(SharedCounters(settings.REDIS_URL, new_public_id("gw")))
        self._budget = Budget(self._database)
        self._meter = Meter(self._database, self._budget)
        self._upstreams = Upstreams(
            Places(self._limits), key=settings.MODEL_UPSTREAM_KEY, idle_seconds=settings.MODEL_UPSTREAM_TIMEOUT_SECONDS
        )
        self._playground = PlaygroundDoor(self._database)
        self._patrol = Patrol()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        with suppress(*UNREACHABLE):
            await self._restock()
        self._tasks = [
            asyncio.create_task(self._meter.run()),
            asyncio.create_task(every(LOOK_SECONDS, self._look_for_changes)),
            asyncio.create_task(every(RESTOCK_SECONDS, self._restock)),
            asyncio.create_task(every(TEND_SECONDS, self._budget.tend)),
            asyncio.create_task(every(TEND_SECONDS, self._limits.tend)),
            asyncio.create_task(every(SESSION_SECONDS, self._patrol.look_at_sessions)),
            asyncio.create_task(every(NOTE_SECONDS, self._note_uses)),
        ]

    async def stop(self) -> None:
        """Write what is unwritten, then give the leases back."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._meter.close()
        await self._budget.close()
        await self._limits.close()
        with suppress(*UNREACHABLE):
            await self._note_uses()
        await self._upstreams.close()
        await asyncio.get_running_loop().run_in_executor(None, self._database.close)

    async def _look_for_changes(self) -> None:
        now = datetime.now(UTC)
        await self._patrol.look_at_keys(await self._keys.forget_changed(now), now)
        await self._shelf.look(now)

    async def _note_uses(self) -> None:
        await self._keys.note_uses(datetime.now(UTC))

    async def _restock(self) -> None:
        await self._shelf.restock(datetime.now(UTC))

    # --- Programs ---------------------------------------------------------------------------------

    async def serve_program(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request with an API key under /v1/."""

        async def serve(asking: _Asking, send: Send) -> None:
            path, method = scope["path"], scope["method"]
            dialect = DIALECTS.get(path)
            allowed = "POST" if dialect else "GET" if path == "/v1/models" or path.startswith("/v1/models/") else None
            if allowed is None:
                raise ApiError(404, f"There is no {method} {path[:100]}. See the documentation.", code="unknown_url")
            if method != allowed:
                raise ApiError(
                    405, f"{path[:100]} takes {allowed}.", code="method_not_allowed", headers={"allow": allowed}
                )
            agent = masked(header(scope, b"user-agent")[:LONGEST_AGENT])
            use = KeyUse(address_of(scope, proxy_count=self._proxy_count), agent)
            authorization = spoken_at(path).authorization(scope)

            async def knock() -> Caller:
                return await self._keys.caller_of(authorization, use, datetime.now(UTC))

            caller = await knock()
            if dialect is None:
                await self._answer_models(path.removeprefix("/v1/models").strip("/"), caller, asking, send)
            else:
                body = await read_body(scope, receive)
                # A body may take its time, and the key may have ended meanwhile.
                caller = await knock()
                idempotent = idempotent_request(caller, header(scope, b"idempotency-key"), path, body)
                reply = dialect.read(body)
                async with self._called(reply.request, caller, asking, idempotent) as call:
                    await self._serve_model(call, reply, asking, receive, send, knock=knock)

        await self._guard(scope, send, serve)

    async def _answer_models(self, name: str, caller: Caller, asking: _Asking, send: Send) -> None:
        admission = await self._limits.admit(caller.subjects)
        admission.end()
        asking.headers |= admission.headers()
        if name:
            body = msgspec.json.encode(_shown(self._offer_for(name, caller)))
        else:
            offers = [offer for offer in self._shelf.all() if _may_call(caller, offer.name)]
            body = msgspec.json.encode({"object": "list", "data": [_shown(offer) for offer in offers]})
        await send_answer(send, 200, asking.headers, body)

    async def _serve_model(
        self,
        call: Call,
        reply: Reply,
        asking: _Asking,
        receive: Receive,
        send: Send,
        *,
        knock: Callable[[], Awaitable[Caller]],
    ) -> None:
        if call.idempotent is not None and (earlier := await self._claim(call.idempotent, call.request_id)):
            await reply.replay(earlier, asking.headers, send)
            return
        heading = Heading(call.request_id, call.requested_at, call.offer.name)
        exchange: Exchange | None = None
        try:
            with self._watched(call, knock) as watch:
                exchange = await self._exchange(call, watch)
                asking.headers["x-receipt-id"] = call.request_id
                if call.request.is_stream:
                    await exchange.stream(receive, reply.outlet(send, asking.headers, heading))
                else:
                    answer = await exchange.answer(receive)
                    remaining = self._budget.remaining(call.caller)
                    cost = {"x-cost": answer.cost_usd, "x-budget-remaining": remaining}
                    await send_answer(send, 200, asking.headers | cost, reply.whole(answer.body, heading))
        finally:
            if call.idempotent is not None and (exchange is None or not exchange.is_settled):
                # Without a database the claim ends by itself.
                with suppress(*UNREACHABLE):
                    await self._database.run(drop_claim, request_id=call.request_id)

    async def _claim(self, idempotent: IdempotentRequest, request_id: str) -> Receipt | None:
        try:
            return await self._database.run(
                claim_request, request=idempotent, request_id=request_id, now=datetime.now(UTC)
            )
        except RequestIsRunning as error:
            raise ApiError(409, str(error), code=error.code, headers={"retry-after": "1"}) from error
        except OtherBody as error:
            raise ApiError(422, str(error), code=error.code) from error
        except UNREACHABLE as error:
            raise no_database() from error

    # --- Pages ------------------------------------------------------------------------------------

    async def serve_page(self, scope: Scope, receive: Receive, send: Send, organization: str, name: str) -> None:
        """Answer a stream of the console: by session and CSRF token, for a member who may call models."""

        async def serve(asking: _Asking, send: Send) -> None:
            if name != "playground":
                raise ApiError(404, "There is no such stream.", code="unknown_url")
            if scope["method"] != "POST":
                raise ApiError(405, "This stream takes POST.", code="method_not_allowed", headers={"allow": "POST"})
            body = await read_body(scope, receive)
            caller, request = await self._playground.enter(scope, body, organization)
            knock = partial(self._playground.caller_of, scope, organization)
            async with self._called(request, caller, asking, None) as call:
                with self._watched(call, knock) as watch:
                    exchange = await self._exchange(call, watch)
                    await exchange.stream(receive, PageOutlet(send, asking.headers, request_id=asking.request_id))

        await self._guard(scope, send, serve)

    # --- Both -------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _called(
        self, request: ModelRequest, caller: Caller, asking: _Asking, idempotent: IdempotentRequest | None
    ) -> AsyncIterator[Call]:
        """Let a request run within its limits, until the block ends. Raises ApiError 400, 403, 404, 429 or 503."""
        offer = self._offer_for(request.model, caller)
        if offer.is_embedding != (request.endpoint is Endpoint.EMBEDDINGS):
            raise invalid(f"{offer.name} is not a model for this endpoint.", "model", "wrong_endpoint")
        request.output_limit(offer)
        upstreams = offer.upstreams_in(caller.region)
        prices = offer.prices_of(caller.organization_id, asking.requested_at)
        admission = await self._limits.admit(caller.subjects)
        asking.headers |= admission.headers()
        try:
            yield Call(
                request_id=asking.request_id,
                requested_at=asking.requested_at,
                caller=caller,
                request=request,
                offer=offer,
                upstreams=upstreams,
                prices=prices,
                admission=admission,
                idempotent=idempotent,
            )
        finally:
            admission.end()

    def _offer_for(self, name: str, caller: Caller) -> Offer:
        offer = self._shelf.find(name)
        if offer is None:
            raise unknown_model()
        _check_model(caller, name)
        return offer

    @contextmanager
    def _watched(self, call: Call, knock: Callable[[], Awaitable[Caller]]) -> Iterator[Watch]:
        """Watch over a call until it has been answered. knock: asks the door again who calls."""

        async def ask_again() -> None:
            _check_model(await knock(), call.request.model)

        caller = call.caller
        with self._patrol.over(Watch(ask_again, digest=caller.digest, expires_at=caller.expires_at)) as watch:
            yield watch

    async def _exchange(self, call: Call, watch: Watch) -> Exchange:
        hold = await self._budget.hold(call.caller, call.worst_case_nano)
        return Exchange(call, hold, watch, upstreams=self._upstreams, meter=self._meter)

    async def _guard(self, scope: Scope, send: Send, serve: Callable[[_Asking, Send], Awaitable[None]]) -> None:
        """Serve a request; answer refusals as the address speaks (contracts 3), and write one line to the log."""
        started = perf_counter()
        request_id = new_req_id()
        shown_id = accepted_request_id(header(scope, b"x-request-id")) or request_id
        dialect = spoken_at(scope["path"])
        asking = _Asking(request_id, datetime.now(UTC), dialect.headers(shown_id))
        status = 0

        async def send_and_see(message: Mapping[str, object]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(str(message["status"]))
            await send(message)

        try:
            await serve(asking, send_and_see)
        except ApiError as error:
            body = dialect.error(error, shown_id)
            await send_answer(send_and_see, error.status, asking.headers | error.headers, body)
        except Refusal as refusal:
            body = dialect.refusal(refusal.status, refusal.body, shown_id)
            await send_answer(send_and_see, refusal.status, asking.headers, body)
        except ClientGone:
            status = status or 499
        except Exception:
            log.exception("inference.request_failed", request_id=request_id)
            if status:
                raise
            failure = ApiError(500, "Something broke on our side.", code="internal_error", kind="server_error")
            await send_answer(send_and_see, failure.status, asking.headers, dialect.error(failure, shown_id))
        milliseconds = round((perf_counter() - started) * 1000, 1)
        log.info(
            "inference.request",
            request_id=shown_id,
            receipt_id=request_id,
            path=scope["path"],
            status=status,
            ms=milliseconds,
        )


def _may_call(caller: Caller, model: str) -> bool:
    return not caller.allowed_models or model in caller.allowed_models


def _check_model(caller: Caller, model: str) -> None:
    if not _may_call(caller, model):
        raise ApiError(
            403, "This key may not call this model.", code="model_not_allowed", kind="permission_error", param="model"
        )


def _shown(offer: Offer) -> dict[str, str | int]:
    return {
        "id": offer.name,
        "object": "model",
        "created": offer.released_at,
        "owned_by": offer.publisher,
        "context_length": offer.context_length,
        "max_output_tokens": offer.max_output_tokens,
    }
