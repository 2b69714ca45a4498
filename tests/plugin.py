"""Loaded before everything else (`-p tests.plugin`): services and their addresses, before settings are read."""

import os

# A worker inherits the controlling process's test settings, VAR_DIR among them; services and secrets are where
# that process found them.
if "PYTEST_XDIST_WORKER" in os.environ and os.environ.pop("VAR_DIR", "") and "OUTER_VAR_DIR" in os.environ:
    os.environ["VAR_DIR"] = os.environ["OUTER_VAR_DIR"]

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

import dev.testing
from dev.services import FAST, Postgres, Valkey
from tests import asvs

# Whole portals, which one worker starts after the other: two at once only slow each other down. xdist's own groups
# write into pytest's node ids, which pytest 9.2 no longer lets anybody do.
ONE_AT_A_TIME = ("tests/journeys/", "tests/test_up.py")
# Files whose scene takes longer to make than most of their tests: a second worker would make it again. At full counts
# the tests are what takes long.
ONE_SCENE = ("tests/test_named_objects.py", "tests/test_tenant_mutants.py", "tests/test_canaries.py")


def _attach() -> tuple[Postgres, Valkey]:
    """Return the services that the controlling process started, for an xdist worker."""
    postgres, valkey = (
        Postgres(dev.testing.FOLDER / "postgres", FAST),
        Valkey(dev.testing.FOLDER / "valkey"),
    )
    postgres.port = int((postgres.folder / "port").read_text())
    valkey.port = int((valkey.folder / "port").read_text())
    return postgres, valkey


def _provide_environment() -> tuple[Postgres, Valkey]:
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    services = _attach() if worker else dev.testing.start()
    number = int(worker.removeprefix("gw")) if worker else 14
    database = f"test_{worker or 'main'}"
    dev.testing.clone_template(services[0], database)
    if not worker and "VAR_DIR" in os.environ:
        os.environ["OUTER_VAR_DIR"] = os.environ["VAR_DIR"]
    os.environ.update(dev.testing.environment(*services, database, number))
    return services


SERVICES = _provide_environment()


def pytest_unconfigure(config: pytest.Config) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        postgres, valkey = SERVICES
        valkey.stop()
        postgres.stop()


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Let the report say which items of ASVS its test proves; a worker's reports reach the process that prints."""
    proves = [f"asvs {mark.args[0]}" for mark in item.iter_markers("asvs")]
    item.user_properties += [(each, "") for each in proves if (each, "") not in item.user_properties]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what of ASVS was proven by the tests that ran and passed."""
    passed = terminalreporter.stats.get("passed", [])
    proven = {name.removeprefix("asvs ") for each in passed for name, _ in each.user_properties if name[:5] == "asvs "}
    if proven:
        terminalreporter.section("ASVS 5.0")
        for line in asvs.summary(proven):
            terminalreporter.write_line(line)


class _Turns(LoadScopeScheduling):  # type: ignore[misc]  # xdist carries no types
    """Any worker takes the next test, but whole portals start on one, and the tests of one scene stay together."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(ONE_AT_A_TIME):
            return "portals"
        return nodeid.partition("::")[0] if nodeid.startswith(ONE_SCENE) and "PROVE" not in os.environ else nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return _Turns(config, log)
