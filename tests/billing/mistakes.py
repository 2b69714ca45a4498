"""Put a mistake that somebody could have made into a module of the portal, for one test."""

import inspect
import sys
from collections.abc import Mapping
from types import FunctionType, ModuleType

import pytest


def make_mistake(module: ModuleType, right: str, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put functions and methods with the mistake in the place of the right ones, wherever they were imported to.

    right: what stands in the module, once; wrong: what would stand there.
    """
    make_mistakes(module, {right: wrong}, monkeypatch)


def make_mistakes(module: ModuleType, mistakes: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a mistake in several places of a module: what stands there -> what would stand there."""
    source = inspect.getsource(module)
    for right, wrong in mistakes.items():
        assert source.count(right) == 1, right
        source = source.replace(right, wrong)
    mutant = ModuleType(module.__name__)
    mutant.__dict__["__file__"] = module.__file__
    # Dataclasses look up the module that they are made in.
    exec(compile(source, f"mutant of {module.__name__}", "exec"), mutant.__dict__)  # noqa: S102
    mine = {name: value for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__}
    wrongs = {value: mutant.__dict__[name] for name, value in mine.items() if isinstance(value, FunctionType)}
    for name, value in mine.items():
        if isinstance(value, type):
            _change_methods(value, mutant.__dict__[name], monkeypatch)
        if not isinstance(value, FunctionType):
            # One class, so that who catches or compares it still does.
            mutant.__dict__[name] = value
    for name, value in vars(module).items():
        if isinstance(value, str) and name.startswith("_") and not name.startswith("__"):
            monkeypatch.setattr(module, name, mutant.__dict__[name])
    _replace(wrongs, monkeypatch)


def _change_methods(right: type, wrong: type, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, method in list(vars(wrong).items()):
        if isinstance(method, FunctionType | property) and not name.startswith("__"):
            monkeypatch.setattr(right, name, method)


def _replace(wrongs: dict[FunctionType, object], monkeypatch: pytest.MonkeyPatch) -> None:
    places = [place for name, place in list(sys.modules.items()) if name.startswith(("billing.", "tests.billing."))]
    for place in places:
        for name, value in list(vars(place).items()):
            if isinstance(value, FunctionType) and value in wrongs:
                monkeypatch.setattr(place, name, wrongs[value])
