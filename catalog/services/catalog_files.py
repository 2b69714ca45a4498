"""Read the reviewed price list: TOML files with one table of entries each, checked before anything is loaded."""

import re
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from portal.lib.errors import DomainError

SHIPPED_FOLDER = Path(__file__).resolve().parent.parent / "data"

type Slug = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9-]+$", max_length=40)]
type Text = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
type ShortText = Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
type Count = Annotated[int, msgspec.Meta(gt=0, le=2**31 - 1)]
type CountOrNone = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
# A string, because a TOML number with a point would be a float. At most nine decimals: nano-dollars.
type Usd = Annotated[str, msgspec.Meta(pattern=r"^\d{1,9}\.\d{2,9}$")]
type Kind = Literal["gpu", "tpu", "cpu"]


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One [[table]] of a file."""


class RegionEntry(_Entry, frozen=True):
    name: Slug
    description: Annotated[str, msgspec.Meta(min_length=1, max_length=120)]


class MeterEntry(_Entry, frozen=True):
    code: Annotated[str, msgspec.Meta(pattern=r"^[a-z_]+\.[a-z_]+$", max_length=60)]
    unit: Annotated[str, msgspec.Meta(min_length=1, max_length=20)]
    description: Text


class ImageEntry(_Entry, frozen=True):
    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9-]+$", max_length=60)]
    family: Slug
    version: Annotated[str, msgspec.Meta(min_length=1, max_length=20)]
    description: Text
    kinds: Annotated[list[Kind], msgspec.Meta(min_length=1)]


class PricePerHour(_Entry, frozen=True):
    """USD for one hour of one instance, by lease class."""

    surplus: Usd
    reserved: Usd
    on_demand: Usd


class InstanceTypeEntry(_Entry, frozen=True):
    name: Annotated[str, msgspec.Meta(max_length=60)]
    description: Text
    vcpus: Count
    memory_gib: Count
    storage_gib: Count
    price_per_hour: PricePerHour
    accelerator: Annotated[str, msgspec.Meta(max_length=80)] = ""
    accelerator_count: CountOrNone = 0
    accelerator_memory_gib: CountOrNone = 0
    interconnect: Annotated[str, msgspec.Meta(max_length=80)] = ""

    @property
    def kind(self) -> str:
        return self.name.partition("_")[0]


class PricePerMillion(_Entry, frozen=True):
    """USD for one million tokens, by kind of token; an embedding model has input tokens only."""

    input: Usd
    cached_input: Usd | None = None
    output: Usd | None = None


class ServedModelEntry(_Entry, frozen=True):
    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9.-]+$", max_length=120)]
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=120)]
    publisher: ShortText
    kind: Literal["chat", "embedding"]
    description: Annotated[str, msgspec.Meta(min_length=1)]
    license_name: ShortText
    context_length: Count
    price_per_million: PricePerMillion
    max_output_tokens: CountOrNone = 0
    default_output_tokens: CountOrNone = 0
    quantization: Annotated[str, msgspec.Meta(max_length=20)] = ""
    released_on: date | None = None


@dataclass(frozen=True, slots=True)
class CatalogFiles:
    """The whole price list as the files say it."""

    regions: Sequence[RegionEntry] = ()
    meters: Sequence[MeterEntry] = ()
    images: Sequence[ImageEntry] = ()
    instance_types: Sequence[InstanceTypeEntry] = ()
    served_models: Sequence[ServedModelEntry] = ()


@dataclass(slots=True)
class _Problems:
    """Every fault found so far, so that a reviewer sees all of them at once."""

    sentences: list[str] = field(default_factory=list)

    def unless(self, holds: bool, sentence: str) -> None:
        if not holds:
            self.sentences.append(sentence)


class BadCatalogFiles(DomainError):
    """The files are wrong; `sentences` says everything that is."""

    code = "bad_catalog_files"

    def __init__(self, sentences: Sequence[str]) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = tuple(sentences)


def read_catalog_files(folder: Path = SHIPPED_FOLDER) -> CatalogFiles:
    """Return what regions, meters, images, instance_types and served_models.toml of the folder say.

    Raises BadCatalogFiles with one sentence for each fault in them.
    """
    problems = _Problems()
    files = CatalogFiles(
        regions=_read(folder, "regions", RegionEntry, problems),
        meters=_read(folder, "meters", MeterEntry, problems),
        images=_read(folder, "images", ImageEntry, problems),
        instance_types=_read(folder, "instance_types", InstanceTypeEntry, problems),
        served_models=_read(folder, "served_models", ServedModelEntry, problems),
    )
    _check_all(files.instance_types, "instance_types.toml", _check_instance_type, problems)
    _check_all(files.served_models, "served_models.toml", _check_served_model, problems)
    for name, names in (
        ("regions", [region.name for region in files.regions]),
        ("meters", [meter.code for meter in files.meters]),
        ("images", [image.name for image in files.images]),
        ("instance_types", [shape.name for shape in files.instance_types]),
        ("served_models", [model.name for model in files.served_models]),
    ):
        for repeated in sorted({entry for entry in names if names.count(entry) > 1}):
            problems.sentences.append(f"{name}.toml: {repeated} is there more than once.")
    if problems.sentences:
        raise BadCatalogFiles(problems.sentences)
    return files


def _read[E: _Entry](folder: Path, name: str, kind: type[E], problems: _Problems) -> list[E]:
    """Return the valid entries of <name>.toml, which holds nothing but [[<name>]] tables."""
    file = f"{name}.toml"
    try:
        content = tomllib.loads((folder / file).read_text(encoding="utf-8"))
    except OSError as error:
        problems.sentences.append(f"{file}: cannot be read ({error.strerror}).")
        return []
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.sentences.append(f"{file}: is not TOML: {error}.")
        return []
    tables = content.get(name)
    if set(content) != {name} or not isinstance(tables, list) or not tables:
        problems.sentences.append(f"{file}: must hold one or more [[{name}]] tables and nothing else.")
        return []
    return [entry for table in tables if (entry := _convert(table, file, kind, problems)) is not None]


def _convert[E: _Entry](table: object, file: str, kind: type[E], problems: _Problems) -> E | None:
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        name = table.get("name") or table.get("code") if isinstance(table, dict) else None
        problems.sentences.append(f"{file}, {name or 'an entry without a name'}: {error}.")
        return None


def _check_all[E: InstanceTypeEntry | ServedModelEntry](
    entries: Iterable[E], file: str, check: Callable[[E, _Problems], None], problems: _Problems
) -> None:
    for entry in entries:
        own = _Problems()
        check(entry, own)
        problems.sentences += [f"{file}, {entry.name}: {sentence}" for sentence in own.sentences]


_INSTANCE_TYPE_NAME = re.compile(r"(gpu|tpu|cpu)_([1-9]\d*)x_[a-z0-9]+(_[a-z0-9]+)*")


def _check_instance_type(entry: InstanceTypeEntry, problems: _Problems) -> None:
    name = _INSTANCE_TYPE_NAME.fullmatch(entry.name)
    if name is None:
        problems.sentences.append("the name must look like gpu_8x_h100_sxm5.")
        return
    has_accelerators = bool(entry.accelerator and entry.accelerator_count and entry.accelerator_memory_gib)
    has_none = not (entry.accelerator or entry.accelerator_count or entry.accelerator_memory_gib)
    if entry.kind == "cpu":
        problems.unless(has_none, "a CPU shape has no accelerators.")
        problems.unless(int(name[2]) == entry.vcpus, f"the name says {name[2]} CPUs and `vcpus` {entry.vcpus}.")
    else:
        problems.unless(has_accelerators, "say accelerator, accelerator_count and accelerator_memory_gib.")
        problems.unless(
            int(name[2]) == entry.accelerator_count,
            f"the name says {name[2]} accelerators and `accelerator_count` {entry.accelerator_count}.",
        )
    prices = entry.price_per_hour
    surplus = Decimal(prices.surplus)
    problems.unless(
        surplus < Decimal(prices.on_demand) and surplus < Decimal(prices.reserved),
        "surplus may be reclaimed at short notice, so it must cost less than reserved and on demand.",
    )


def _check_served_model(entry: ServedModelEntry, problems: _Problems) -> None:
    prices = entry.price_per_million
    if entry.kind == "embedding":
        problems.unless(
            prices.cached_input is None and prices.output is None, "an embedding model is sold by input tokens only."
        )
        problems.unless(entry.max_output_tokens == 0, "an embedding model produces no tokens.")
        return
    if prices.cached_input is None or prices.output is None:
        problems.sentences.append("a chat model needs prices for input, cached_input and output.")
        return
    problems.unless(Decimal(prices.cached_input) <= Decimal(prices.input), "cached input may not cost more than input.")
    problems.unless(
        0 < entry.default_output_tokens <= entry.max_output_tokens <= entry.context_length,
        "default_output_tokens, max_output_tokens and context_length must rise in this order, from 1 on.",
    )
