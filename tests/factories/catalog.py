"""Valid regions, shapes, models and prices with the fewest fields, and the whole list as we ship it."""

from datetime import UTC, datetime

from accounts.models import User
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
from catalog.services.catalog_files import read_catalog_files
from catalog.services.loading import METER_OF_INSTANCES, METER_OF_TOKENS, LoadedCatalog, load_catalog
from catalog.services.prices import next_hour, publish_price
from portal.lib.tiers import NO_TIERS, Tiers

LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)
NOON = datetime(2026, 11, 1, 12, 30, tzinfo=UTC)


def make_region(name: str = "us-west-1", description: str = "Oregon, USA") -> Region:
    return Region.objects.get_or_create(name=name, defaults={"description": description})[0]


def make_image(name: str = "ubuntu-24-04", kinds: tuple[str, ...] = ("gpu", "tpu", "cpu")) -> Image:
    return Image.objects.create(
        name=name, family="ubuntu", version="24.04", description="Ubuntu 24.04 LTS", kinds=list(kinds)
    )


def make_instance_type(
    name: str = "gpu_1x_h100_sxm5", *, count: int = 1, price_nano: int | None = 3_600_000_000
) -> InstanceType:
    """A shape of `count` accelerators, none for a cpu_… name, at `price_nano` per hour in every lease class.

    The default price is a tenth of a cent per second. None: not priced.
    """
    kind = InstanceType.Kind(name.partition("_")[0])
    accelerators = 0 if kind == InstanceType.Kind.CPU else count
    shape = InstanceType.objects.create(
        name=name,
        kind=kind,
        description="A shape",
        accelerator="H100 SXM5" if accelerators else "",
        accelerator_count=accelerators,
        accelerator_memory_gib=80 if accelerators else 0,
        vcpus=26,
        memory_gib=224,
        storage_gib=2800,
    )
    if price_nano is not None:
        for lease_class in LeaseClass:
            make_price(shape.sku(lease_class), price_nano, 3_600)
    return shape


def make_served_model(
    name: str = "llama-3.1-8b-instruct",
    *,
    kind: ServedModel.Kind = ServedModel.Kind.CHAT,
    price_nano: int | None = 1_000_000_000,
) -> ServedModel:
    """A model at `price_nano` per million tokens of every kind that it is sold by. None: not priced."""
    is_chat = kind == ServedModel.Kind.CHAT
    model = ServedModel.objects.create(
        name=name,
        title=name.replace("-", " ").title(),
        publisher="Meta",
        kind=kind,
        description="A model",
        license_name="Apache 2.0",
        context_length=131_072,
        max_output_tokens=16_384 if is_chat else 0,
        default_output_tokens=2_048 if is_chat else 0,
    )
    if price_nano is not None:
        for token_kind in ServedModel.TokenKind if is_chat else (ServedModel.TokenKind.INPUT,):
            make_price(model.sku(token_kind), price_nano, 1_000_000)
    return model


def make_sku(code: str) -> Sku:
    """The SKU with that code; its first word says whether it meters seconds or tokens."""
    is_instance = code.startswith("instance.")
    meter_code = METER_OF_INSTANCES if is_instance else METER_OF_TOKENS[ServedModel.TokenKind(code.rpartition(".")[2])]
    meter, _ = Meter.objects.get_or_create(
        code=meter_code, defaults={"unit": "second" if is_instance else "token", "description": meter_code}
    )
    product = Product.INSTANCES if is_instance else Product.MODELS
    return Sku.objects.get_or_create(code=code, defaults={"meter": meter, "product": product, "name": code})[0]


def make_price(
    sku: str, price_nano: int, unit_size: int, *, active_from: datetime = LONG_AGO, tiers: Tiers = NO_TIERS
) -> Price:
    """A version of the price of a SKU code, which is made when there is none; the version before ends there.

    price_nano: nano-dollars per `unit_size` units.
    """
    return publish_price(
        sku=make_sku(sku),
        price_nano=price_nano,
        unit_size=unit_size,
        active_from=active_from,
        now=active_from,
        tiers=tiers,
    )


def load_price_list(now: datetime = NOON) -> LoadedCatalog:
    """Everything that we ship in catalog/data."""
    return load_catalog(files=read_catalog_files(), now=now)


def make_proposal(sku: str, by: User, *, now: datetime = NOON) -> PriceProposal:
    """A proposal that whoever made it has taken back."""
    return PriceProposal.objects.create(
        sku=make_sku(sku),
        price_nano=1,
        active_from=next_hour(now),
        reason="Cheaper power",
        status=PriceProposal.Status.DECLINED,
        proposed_by=by,
        proposed_at=now,
        decided_by=by,
        decided_at=now,
    )
