import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from catalog.models import InstanceType, LeaseClass, Price, Region, ServedModel, Sku
from catalog.selectors import unit_prices
from catalog.services.catalog_files import SHIPPED_FOLDER, BadCatalogFiles, read_catalog_files
from catalog.services.loading import load_catalog
from portal.lib.tenancy import connected_as

NOW = datetime(2026, 11, 22, 9, 41, tzinfo=UTC)
TEN = datetime(2026, 11, 22, 10, tzinfo=UTC)
H100 = "instance.gpu_1x_h100_sxm5.on_demand"

pytestmark = pytest.mark.django_db


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped files that a test may change."""
    return Path(shutil.copytree(SHIPPED_FOLDER, tmp_path / "data"))


def change(folder: Path, file: str, old: str, new: str) -> None:
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))


def table_contents() -> list[object]:
    return [list(model.objects.order_by("pk").values()) for model in (Region, InstanceType, ServedModel, Sku, Price)]


def test_every_listed_shape_and_model_has_its_prices():
    loaded = load_catalog(files=read_catalog_files(), now=NOW)

    codes = set(Sku.objects.values_list("code", flat=True))
    assert set(unit_prices(codes, datetime(2025, 6, 1, tzinfo=UTC))) == codes
    assert loaded.new_price_count == loaded.sku_count == len(codes)
    assert {shape.sku(lease) for shape in InstanceType.objects.all() for lease in LeaseClass} <= codes


def test_loading_again_changes_nothing():
    load_catalog(files=read_catalog_files(), now=NOW)
    before = table_contents()

    again = load_catalog(files=read_catalog_files(), now=NOW)

    assert (again.new_price_count, again.changed_price_count, again.unlisted_count) == (0, 0, 0)
    assert table_contents() == before


def test_a_changed_price_begins_at_the_next_full_hour_and_the_old_version_stays(folder):
    load_catalog(files=read_catalog_files(folder), now=NOW)
    before = unit_prices([H100], NOW)[H100]
    change(folder, "instance_types.toml", 'on_demand = "2.88"', 'on_demand = "2.70"')

    loaded = load_catalog(files=read_catalog_files(folder), now=NOW)

    assert (loaded.new_price_count, loaded.changed_price_count) == (0, 1)
    assert unit_prices([H100], NOW)[H100] == before
    assert unit_prices([H100], TEN)[H100].price_nano == 2_700_000_000
    assert Price.objects.get(public_id=before.price_id).active_to == TEN


def test_a_shape_that_left_the_files_is_unlisted_and_keeps_its_price(folder):
    load_catalog(files=read_catalog_files(folder), now=NOW)
    first, _, rest = (folder / "instance_types.toml").read_text().partition("[[instance_types]]")
    (folder / "instance_types.toml").write_text(first + "[[instance_types]]" + rest.partition("[[instance_types]]")[2])

    loaded = load_catalog(files=read_catalog_files(folder), now=NOW)

    assert loaded.unlisted_count == 1
    assert not InstanceType.objects.get(name="gpu_1x_h100_sxm5").is_listed
    assert H100 in unit_prices([H100], TEN)


@pytest.mark.parametrize(
    ("file", "old", "new", "sentence"),
    [
        ("instance_types.toml", '"2.88" }', "2.88 }", "gpu_1x_h100_sxm5: Expected `str`, got `float`"),
        ("instance_types.toml", 'surplus = "1.80"', 'surplus = "2.95"', "must cost less"),
        ("instance_types.toml", "vcpus = 26", "", "missing required field `vcpus`"),
        ("instance_types.toml", '"gpu_1x_l40s"', '"gpu_2x_l40s"', "the name says 2 accelerators"),
        ("instance_types.toml", '"gpu_1x_l40s"', '"l40s"', "must look like gpu_8x_h100_sxm5"),
        ("instance_types.toml", '"gpu_4x_l40s"', '"gpu_4x_h100_sxm5"', "gpu_4x_h100_sxm5 is there more than once"),
        ("served_models.toml", 'cached_input = "0.08"', 'cached_input = "0.99"', "may not cost more than input"),
        ("served_models.toml", "context_length = 8192", "context_size = 8192", "unknown field `context_size`"),
        ("served_models.toml", "max_output_tokens = 8192", "max_output_tokens = 1000", "must rise in this order"),
        ("regions.toml", "[[regions]]", "[[places]]", "[[regions]] tables and nothing else"),
        ("meters.toml", 'code = "instance.seconds"', 'code = "instance.second"', "instance.seconds is missing"),
        ("images.toml", 'family = "jax-gpu"', "family = jax-gpu", "is not TOML"),
    ],
)
def test_a_wrong_file_is_refused_with_a_sentence_and_changes_nothing(folder, file, old, new, sentence):
    load_catalog(files=read_catalog_files(folder), now=NOW)
    before = table_contents()
    change(folder, file, old, new)

    with pytest.raises(CommandError) as refusal:
        call_command("load_catalog", "--from", str(folder))

    assert sentence in str(refusal.value)
    assert table_contents() == before


def test_every_fault_is_named_at_once(folder):
    change(folder, "instance_types.toml", "vcpus = 26", "")
    (folder / "regions.toml").unlink()

    with pytest.raises(BadCatalogFiles) as refusal:
        read_catalog_files(folder)

    assert len(refusal.value.sentences) == 2


def test_the_command_loads_as_the_platform_role_and_says_what_it_did(capsys):
    call_command("load_catalog")

    assert "new" in capsys.readouterr().out
    assert Price.objects.exists()


def test_check_reads_the_files_and_leaves_the_database_alone(capsys):
    call_command("load_catalog", "--check")

    assert "Right" in capsys.readouterr().out
    assert not Region.objects.exists()


def test_the_gateway_role_reads_prices():
    load_catalog(files=read_catalog_files(), now=NOW)

    with connected_as("gateway"):
        assert H100 in unit_prices([H100], NOW)
