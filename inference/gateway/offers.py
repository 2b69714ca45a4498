"""What may be called and at what price: served models with their deployments and prices, in memory."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from billing.selectors import prices_of_contracts
from catalog.models import ServedModel
from catalog.selectors import UnitPrice, unit_prices
from inference.gateway.database import Database
from inference.gateway.errors import ApiError, unavailable
from inference.models import Deployment
from inference.rating import TokenCounts, exact_cost, upper_bound_nano
from inference.services.receipts import PricedTokens
from portal.lib.periods import hour_of

TokenKind = ServedModel.TokenKind
type Priced = dict[tuple[datetime, str], UnitPrice]  # by UTC hour and SKU


@dataclass(frozen=True, slots=True)
class Upstream:
    """A deployment as the hot path needs it."""

    id: int
    public_id: str
    base_url: str
    upstream_model: str
    region_name: str
    weight: int
    is_healthy: bool
    has_continuous_usage: bool
    # How many requests it takes at once, of all gateways together; None: as many as come.
    places: int | None = None


@dataclass(frozen=True, slots=True)
class Prices:
    """A model's prices in one hour."""

    input: UnitPrice
    cached_input: UnitPrice | None
    output: UnitPrice | None

    def version(self) -> dict[str, str]:
        """Return the price versions by token kind, as `usage.price_version` shows them."""
        parts = {"input": self.input, "cached_input": self.cached_input, "output": self.output}
        return {kind: price.price_id for kind, price in parts.items() if price is not None}

    def counted(self, tokens: TokenCounts) -> TokenCounts:
        """Return the tokens by the kinds that are sold: cached input without a price of its own is input."""
        if self.cached_input is not None:
            return tokens
        return TokenCounts(input=tokens.input + tokens.cached_input, output=tokens.output)

    def cost(self, tokens: TokenCounts) -> "Cost":
        tokens = self.counted(tokens)
        quantities = (
            (tokens.input, self.input),
            (tokens.cached_input, self.cached_input),
            (tokens.output, self.output),
        )
        parts = [(count, price) for count, price in quantities if count and price is not None]
        return Cost(
            tokens=tokens,
            usd=exact_cost(parts),
            bound_nano=upper_bound_nano(parts),
            input=_part(tokens.input, self.input),
            cached_input=_part(tokens.cached_input, self.cached_input),
            output=_part(tokens.output, self.output),
        )

    def worst_case_nano(self, *, prompt_tokens: int, output_tokens: int) -> int:
        """Return the most that a request can cost; a cached price above the input price would count too."""
        inputs = max(
            upper_bound_nano([(prompt_tokens, price)]) for price in (self.input, self.cached_input) if price is not None
        )
        # Cached and other input are rounded apart, hence one more.
        return 1 + inputs + (upper_bound_nano([(output_tokens, self.output)]) if self.output is not None else 0)


@dataclass(frozen=True, slots=True)
class HourlyPrices:
    """A model's prices in the hours in which a request may end: that is when its usage counts, and at which price."""

    by_hour: dict[datetime, Prices]

    def at(self, now: datetime) -> Prices:
        """Return the prices in force, or for a request that outlasts what is known, the last ones known."""
        return self.by_hour.get(hour_of(now)) or self.by_hour[max(self.by_hour)]

    def worst_case_nano(self, *, prompt_tokens: int, output_tokens: int) -> int:
        """Return the most that a request can cost, whenever it ends."""
        return max(
            prices.worst_case_nano(prompt_tokens=prompt_tokens, output_tokens=output_tokens)
            for prices in self.by_hour.values()
        )


@dataclass(frozen=True, slots=True)
class Cost:
    """Counted tokens with what they cost exactly, and what they can move the buckets by."""

    tokens: TokenCounts
    usd: Decimal
    bound_nano: int
    input: PricedTokens | None
    cached_input: PricedTokens | None
    output: PricedTokens | None


@dataclass(frozen=True, slots=True)
class Offer:
    """A model that customers may call now."""

    served_model_id: int
    name: str
    publisher: str
    is_embedding: bool
    context_length: int
    max_output_tokens: int
    default_output_tokens: int
    released_at: int  # Unix seconds, 0 when unknown
    # Who gets new requests, and every region in which somebody at times does.
    upstreams: tuple[Upstream, ...]
    regions: frozenset[str]
    list_prices: HourlyPrices
    # By organization id, for those that have a contract.
    agreed_prices: dict[int, HourlyPrices]

    def upstreams_in(self, region_name: str) -> tuple[Upstream, ...]:
        """Return who may serve a caller that is pinned to a region, or with "" to none. Raises ApiError 403 or 503."""
        if region_name and region_name not in self.regions:
            raise ApiError(
                403,
                f"This project keeps its requests in {region_name}, where {self.name} is not served.",
                code="region_not_served",
                kind="permission_error",
                param="model",
            )
        inside = tuple(each for each in self.upstreams if not region_name or each.region_name == region_name)
        if not inside:
            raise unavailable(
                "No machine serves this model to customers at the moment. Nothing was charged.",
                code="model_unavailable",
                retry_after_seconds=5,
            )
        return inside

    def prices_of(self, organization_id: int, now: datetime) -> HourlyPrices:
        """Return what an organization pays. Raises ApiError 503 without a price: unpriced usage is never free."""
        prices = self.agreed_prices.get(organization_id, self.list_prices)
        if hour_of(now) not in prices.by_hour:
            raise unavailable("This model has no price at the moment.", code="unpriced_model")
        return prices


class Shelf:
    """Every offer by name. `restock` replaces them all at once, so a request never sees half a change."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._offers: dict[str, Offer] = {}
        self._changed_at: datetime | None = None

    def find(self, name: str) -> Offer | None:
        return self._offers.get(name)

    def all(self) -> Iterable[Offer]:
        return self._offers.values()

    async def restock(self, now: datetime) -> None:
        """Load everything anew. Raises what Django raises when the database cannot be reached."""
        # Before the offers, so that what changes meanwhile is seen by the next look.
        self._changed_at = await self._database.run(_last_change)
        self._offers = await self._database.run(_load_offers, now)

    async def look(self, now: datetime) -> None:
        """Load everything anew if a deployment changed. Raises as `restock`."""
        if await self._database.run(_last_change) != self._changed_at:
            await self.restock(now)


def _last_change() -> datetime | None:
    return Deployment.objects.order_by("-changed_at").values_list("changed_at", flat=True).first()


def _load_offers(now: datetime) -> dict[str, Offer]:
    upstreams: dict[int, list[Upstream]] = {}
    regions: dict[int, set[str]] = {}
    for deployment in Deployment.objects.enabled().select_related("region", "served_model").order_by("pk"):
        serving = upstreams.setdefault(deployment.served_model_id, [])
        regions.setdefault(deployment.served_model_id, set()).add(deployment.region.name)
        if deployment.is_serving:
            serving.append(_upstream_of(deployment))
    models = list(ServedModel.objects.filter(pk__in=list(upstreams)).order_by("name"))
    skus = [model.sku(kind) for model in models for kind in TokenKind]
    hours = (hour_of(now), hour_of(now) + timedelta(hours=1))
    listed = {(hour, sku): price for hour in hours for sku, price in unit_prices(skus, hour).items()}
    agreed = prices_of_contracts((hour, sku) for hour in hours for sku in skus)
    return {
        model.name: _offer_of(model, upstreams[model.pk], frozenset(regions[model.pk]), listed, agreed)
        for model in models
    }


def _upstream_of(deployment: Deployment) -> Upstream:
    return Upstream(
        id=deployment.pk,
        public_id=deployment.public_id,
        base_url=deployment.base_url.rstrip("/"),
        upstream_model=deployment.upstream_model or deployment.served_model.name,
        region_name=deployment.region.name,
        # What is offered of it counts among the model's others too.
        weight=deployment.weight * deployment.offered_percent,
        is_healthy=deployment.is_healthy,
        has_continuous_usage=deployment.has_continuous_usage,
        places=places_of(deployment),
    )


def places_of(deployment: Deployment) -> int | None:
    """Return how many of our requests a deployment takes at once, or None for any number."""
    if deployment.concurrent_requests is None:
        return None
    return max(1, deployment.concurrent_requests * deployment.offered_percent // 100)


def _offer_of(
    model: ServedModel,
    upstreams: list[Upstream],
    regions: frozenset[str],
    listed: Priced,
    agreed: dict[int, Priced],
) -> Offer:
    released = model.released_on
    return Offer(
        served_model_id=model.pk,
        name=model.name,
        publisher=model.publisher,
        is_embedding=model.kind == ServedModel.Kind.EMBEDDING,
        context_length=model.context_length,
        max_output_tokens=model.max_output_tokens,
        default_output_tokens=model.default_output_tokens,
        released_at=int(datetime(released.year, released.month, released.day, tzinfo=UTC).timestamp())
        if released
        else 0,
        upstreams=tuple(upstreams),
        regions=regions,
        list_prices=_hourly(model, listed),
        agreed_prices={organization_id: _hourly(model, prices) for organization_id, prices in agreed.items()},
    )


def _hourly(model: ServedModel, priced: Priced) -> HourlyPrices:
    by_hour = {hour: _prices_of(model, hour, priced) for hour, _ in priced}
    return HourlyPrices({hour: prices for hour, prices in by_hour.items() if prices is not None})


def _prices_of(model: ServedModel, hour: datetime, priced: Priced) -> Prices | None:
    """Return the model's prices, or None while it is not sold: a chat model needs a price for its output too."""
    needed = priced.get((hour, model.sku(TokenKind.INPUT)))
    output = priced.get((hour, model.sku(TokenKind.OUTPUT)))
    if needed is None or (output is None and model.kind != ServedModel.Kind.EMBEDDING):
        return None
    return Prices(input=needed, cached_input=priced.get((hour, model.sku(TokenKind.CACHED_INPUT))), output=output)


def _part(tokens: int, price: UnitPrice | None) -> PricedTokens | None:
    return PricedTokens(price.sku, tokens, price.price_id) if price is not None else None
