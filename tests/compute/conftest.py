"""The engines that the suite runs machines on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from compute.backends import load_backend, local
from tests.doubles.engine import EngineDouble


@pytest.fixture
def engine(tmp_path: Path, settings) -> Iterator[local.LocalBackend]:
    """A local engine of the test's own, which pools use; whatever still runs in it at the end is ended."""
    settings.LOCAL_ENGINE_DIR = tmp_path / "instances"
    load_backend.cache_clear()
    yield local.make_backend()
    local.end_all(settings.LOCAL_ENGINE_DIR)
    load_backend.cache_clear()


@pytest.fixture
def double(settings) -> Iterator[EngineDouble]:
    """An engine in memory, which pools use in place of the local one; it can be told to fail."""
    settings.PROVISIONING_BACKENDS = {"local": "tests.doubles.engine.make_backend"}
    load_backend.cache_clear()
    backend = load_backend("tests.doubles.engine.make_backend")
    assert isinstance(backend, EngineDouble)
    yield backend
    load_backend.cache_clear()
