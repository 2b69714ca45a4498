"""The portal with one tenant filter less: every place that narrows rows to an organization, taken away one at a time.

A place is found by reading the source: `owned_by(…)` and `of_organization(…)` become all rows, `organization=…` leaves
a filter, and SQL loses its comparison. What runs is changed in this process, by giving the function the code of the
changed source, so that a mutant costs what its requests cost.
"""

import ast
import copy
import gc
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

import pytest

from dev.paths import ROOT

APPS = ("accounts", "billing", "catalog", "compute", "inference", "portal")
NARROWING = {"owned_by", "of_organization"}
LOOKING_UP = {"filter", "get"}
KEYWORDS = {"organization", "organization_id"}
COMPARISON = re.compile(r"(?:\w+\.)?organization_id = %(?:\(\w+\))?s")
TOOL = sys.monitoring.COVERAGE_ID


@dataclass(frozen=True)
class Mutant:
    """One filter that is gone. number: its place among those of the function; line: where it stands today."""

    file: str
    function: str
    number: int
    line: int
    removed: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}: without {self.removed}"

    @property
    def name(self) -> str:
        """What it is called whatever is written above it."""
        return f"{self.file}:{self.function}:{self.number}"


class _Taking(ast.NodeTransformer):
    """Takes away filter number `target` of a function; None only lists them."""

    def __init__(self, target: int | None) -> None:
        self.target = target
        self.found: list[tuple[int, str]] = []

    def _is_it(self, node: ast.AST, removed: str) -> bool:
        self.found.append((getattr(node, "lineno", 0), removed))
        return self.target == len(self.found) - 1

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        match node.func:
            case ast.Attribute(attr=name) if name in NARROWING:
                if self._is_it(node, f"{name}({ast.unparse(node.args[0])})"):
                    return ast.Call(ast.Attribute(node.func.value, "all", ast.Load()), [], [])
            case ast.Attribute(attr=name) if name in LOOKING_UP:
                for keyword in [each for each in node.keywords if each.arg in KEYWORDS]:
                    if self._is_it(node, ast.unparse(keyword)):
                        node.keywords.remove(keyword)
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, str):
            for comparison in COMPARISON.finditer(node.value):
                if self._is_it(node, comparison[0]):
                    start, end = comparison.span()
                    return ast.Constant(f"{node.value[:start]}({comparison[0]} OR TRUE){node.value[end:]}")
        return node


def _places(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    """Yield a module's constants, outermost functions and methods; what is defined inside these belongs to them."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef):
                    yield f"{node.name}.{inner.name}", inner


def mutants() -> list[Mutant]:
    """Return every mutant there is, in the order of the files."""
    found = []
    for app in APPS:
        for path in sorted((ROOT / app).rglob("*.py")):
            if {"migrations", "models", "management"} & set(path.parts):
                continue
            file = str(path.relative_to(ROOT))
            for function, node in _places(ast.parse(path.read_text())):
                taking = _Taking(None)
                taking.visit(copy.deepcopy(node))
                found += [Mutant(file, function, number, *where) for number, where in enumerate(taking.found)]
    return found


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _changed(mutant: Mutant) -> tuple[ast.Module, ast.stmt]:
    """Return the module's source and the statement in it from which the filter was taken away."""
    tree = ast.parse((ROOT / mutant.file).read_text())
    node = next(node for name, node in _places(tree) if name == mutant.function)
    _Taking(mutant.number).visit(node)
    return ast.fix_missing_locations(tree), node


class Surgery:
    """Knows the functions of this process by their place in the source."""

    def __init__(self) -> None:
        self._functions: dict[str, dict[str, list[FunctionType]]] = {}
        for each in gc.get_objects():
            if isinstance(each, FunctionType) and each.__code__.co_filename.startswith(str(ROOT)):
                of_file = self._functions.setdefault(each.__code__.co_filename, {})
                of_file.setdefault(each.__code__.co_qualname, []).append(each)

    def functions_of(self, mutant: Mutant) -> list[FunctionType]:
        """Return what runs that filter: the function, or those that read the constant."""
        of_file = self._functions.get(str(ROOT / mutant.file), {})
        readers = [each for found in of_file.values() for each in found if mutant.function in each.__code__.co_names]
        return of_file.get(mutant.function) or readers

    @contextmanager
    def done(self, mutant: Mutant) -> Iterator[None]:
        """Run without that filter inside."""
        functions = self.functions_of(mutant)
        assert functions, f"{mutant} was not found in this process"
        tree, node = _changed(mutant)
        if isinstance(node, ast.Assign):
            space = functions[0].__globals__
            constant = compile(ast.Expression(node.value), mutant.file, "eval")
            with pytest.MonkeyPatch.context() as patch:
                patch.setitem(space, mutant.function, eval(constant, space))  # noqa: S307  # our own source
                yield
            return
        codes = _codes(compile(tree, str(ROOT / mutant.file), "exec"))
        code = next(code for code in codes if code.co_qualname == mutant.function)
        before = [function.__code__ for function in functions]
        try:
            for function in functions:
                function.__code__ = code
            yield
        finally:
            for function, own in zip(functions, before, strict=True):
                function.__code__ = own


@contextmanager
def entered(functions: Iterable[FunctionType]) -> Iterator[set[CodeType]]:
    """Yield the set that fills with the code of those functions that are entered inside."""
    codes = {each.__code__ for each in functions}
    seen: set[CodeType] = set()

    def note(code: CodeType, _: int) -> Any:
        seen.add(code)

    sys.monitoring.use_tool_id(TOOL, "tenant mutants")
    try:
        sys.monitoring.register_callback(TOOL, sys.monitoring.events.PY_START, note)
        for code in codes:
            sys.monitoring.set_local_events(TOOL, code, sys.monitoring.events.PY_START)
        yield seen
    finally:
        for code in codes:
            sys.monitoring.set_local_events(TOOL, code, 0)
        sys.monitoring.register_callback(TOOL, sys.monitoring.events.PY_START, None)
        sys.monitoring.free_tool_id(TOOL)
