"""Make the tables say what the reviewed files say."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from django.db import connection, models, transaction

from catalog.models import (
    Image,
    InstanceType,
    LeaseClass,
    Meter,
    Price,
    PriceProposal,
    Product,
    Region,
    ServedModel,
    Sku,
)
from catalog.services.catalog_files import (
    BadCatalogFiles,
    CatalogFiles,
    ImageEntry,
    InstanceTypeEntry,
    ServedModelEntry,
)
from catalog.services.prices import NOTICE, next_hour, publish_price
from portal.lib.money import usd_to_nano
from portal.lib.periods import hour_of

# What the first list says holds since then, so that demonstration data from earlier months has a price.
FIRST_PRICES_FROM = datetime(2025, 1, 1, tzinfo=UTC)
TOKENS_PER_PRICE = 1_000_000
SECONDS_PER_PRICE = 3_600
METER_OF_TOKENS = {
    ServedModel.TokenKind.INPUT: "tokens.input",
    ServedModel.TokenKind.CACHED_INPUT: "tokens.cached_input",
    ServedModel.TokenKind.OUTPUT: "tokens.output",
}
METER_OF_INSTANCES = "instance.seconds"
# Any number that no other advisory lock of ours uses.
LOADING_LOCK = 7_401_001


@dataclass(frozen=True, slots=True)
class LoadedCatalog:
    """What a load found and did."""

    sku_count: int
    new_price_count: int  # SKUs that had no price before
    changed_price_count: int  # prices that change at the next full hour
    unlisted_count: int  # models, shapes and images that are no longer offered


@dataclass(frozen=True, slots=True)
class _ListedPrice:
    sku: str
    name: str
    meter: str
    product: Product
    price_nano: int
    unit_size: int


@transaction.atomic
def load_catalog(*, files: CatalogFiles, now: datetime) -> LoadedCatalog:
    """Make regions, meters, images, shapes, models and prices what the files say, in one transaction.

    Safe to repeat and to run twice at once: what is unchanged stays as it is. A lower price begins at the next
    full hour, a higher one 30 days later; where staff have published a price, the files say nothing any more. What
    left the files is no longer listed and keeps its price, since it may be running.
    Raises BadCatalogFiles for a meter that the files need and do not define.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOADING_LOCK])
    prices = list(_listed_prices(files))
    missing = sorted({price.meter for price in prices} - {meter.code for meter in files.meters})
    if missing:
        raise BadCatalogFiles([f"meters.toml: {meter} is missing and prices need it." for meter in missing])

    _upsert(Region, [Region(name=entry.name, description=entry.description) for entry in files.regions])
    _upsert(Meter, [Meter(code=m.code, unit=m.unit, description=m.description) for m in files.meters], key="code")
    _upsert(Image, [_image(entry) for entry in files.images])
    _upsert(InstanceType, [_instance_type(entry) for entry in files.instance_types])
    _upsert(ServedModel, [_served_model(entry) for entry in files.served_models])
    new, changed = _load_prices(prices, now)
    return LoadedCatalog(
        sku_count=len(prices),
        new_price_count=new,
        changed_price_count=changed,
        unlisted_count=_unlist(Image, [entry.name for entry in files.images])
        + _unlist(InstanceType, [entry.name for entry in files.instance_types])
        + _unlist(ServedModel, [entry.name for entry in files.served_models]),
    )


def _image(entry: ImageEntry) -> Image:
    return Image(
        name=entry.name,
        family=entry.family,
        version=entry.version,
        description=entry.description,
        kinds=entry.kinds,
    )


def _instance_type(entry: InstanceTypeEntry) -> InstanceType:
    return InstanceType(
        name=entry.name,
        kind=entry.kind,
        description=entry.description,
        accelerator=entry.accelerator,
        accelerator_count=entry.accelerator_count,
        accelerator_memory_gib=entry.accelerator_memory_gib,
        interconnect=entry.interconnect,
        vcpus=entry.vcpus,
        memory_gib=entry.memory_gib,
        storage_gib=entry.storage_gib,
    )


def _served_model(entry: ServedModelEntry) -> ServedModel:
    return ServedModel(
        name=entry.name,
        title=entry.title,
        publisher=entry.publisher,
        kind=entry.kind,
        description=entry.description,
        license_name=entry.license_name,
        context_length=entry.context_length,
        max_output_tokens=entry.max_output_tokens,
        default_output_tokens=entry.default_output_tokens,
        quantization=entry.quantization,
        released_on=entry.released_on,
    )


def _upsert[M: models.Model](model: type[M], rows: Sequence[M], *, key: str = "name") -> None:
    fields = [field.name for field in model._meta.concrete_fields if field.name not in {"id", key}]
    model._default_manager.bulk_create(rows, update_conflicts=True, unique_fields=[key], update_fields=fields)


def _unlist(model: type[Image] | type[InstanceType] | type[ServedModel], names: Sequence[str]) -> int:
    return model._default_manager.filter(is_listed=True).exclude(name__in=names).update(is_listed=False)


def _listed_prices(files: CatalogFiles) -> Iterator[_ListedPrice]:
    for shape in files.instance_types:
        row = _instance_type(shape)
        for lease_class in LeaseClass:
            yield _ListedPrice(
                sku=row.sku(lease_class),
                name=f"{shape.name}, {lease_class.label.lower()}",
                meter=METER_OF_INSTANCES,
                product=Product.INSTANCES,
                price_nano=_nano(getattr(shape.price_per_hour, lease_class.value)),
                unit_size=SECONDS_PER_PRICE,
            )
    for model in files.served_models:
        for kind in ServedModel.TokenKind:
            price = getattr(model.price_per_million, kind.value)
            if price is not None:
                yield _ListedPrice(
                    sku=_served_model(model).sku(kind),
                    name=f"{model.title}, {kind.label.lower()}",
                    meter=METER_OF_TOKENS[kind],
                    product=Product.MODELS,
                    price_nano=_nano(price),
                    unit_size=TOKENS_PER_PRICE,
                )


def _nano(usd: str) -> int:
    return usd_to_nano(Decimal(usd))


def _load_prices(listed: Sequence[_ListedPrice], now: datetime) -> tuple[int, int]:
    """Publish the prices that are new or changed; returns how many of each."""
    meters = {meter.code: meter for meter in Meter.objects.all()}
    rows = [Sku(code=p.sku, meter=meters[p.meter], product=p.product, name=p.name) for p in listed]
    _upsert(Sku, rows, key="code")
    skus = Sku.objects.in_bulk([price.sku for price in listed], field_name="code")
    # The last version of each SKU is the one the list means, be it in force or announced.
    last = {price.sku_id: price for price in Price.objects.order_by("sku", "version")}
    is_first_load = not last
    of_staff = set(PriceProposal.objects.published().values_list("sku__code", flat=True))
    new = changed = 0
    for price in listed:
        if price.sku in of_staff:
            continue
        sku = skus[price.sku]
        before = last.get(sku.pk)
        if before is None:
            active_from = FIRST_PRICES_FROM if is_first_load else hour_of(now)
            new += 1
        elif (before.price_nano, before.unit_size, before.active_to) != (price.price_nano, price.unit_size, None):
            is_higher = price.price_nano > before.price_nano
            active_from = next_hour(now + NOTICE) if is_higher else next_hour(now)
            changed += 1
        else:
            continue
        publish_price(sku=sku, price_nano=price.price_nano, unit_size=price.unit_size, active_from=active_from, now=now)
    return new, changed
