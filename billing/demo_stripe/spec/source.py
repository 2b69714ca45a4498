"""The modules of the installed `stripe` package as syntax trees: classes, their fields, and what names mean there."""

import ast
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path


class SpecMissing(Exception):
    """The `stripe` package is not installed, or no longer has the form that is read here."""


@dataclass(frozen=True, slots=True, eq=False)
class ModuleSource:
    """One module. imports: a name here → (module, name there), those for type checkers included."""

    name: str
    classes: dict[str, "ClassSource"] = field(default_factory=dict)
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class ClassSource:
    """One class. annotations: its own fields in their order; nested: the classes defined inside it."""

    name: str
    module: ModuleSource
    outer: "ClassSource | None"
    bases: tuple[str, ...]
    annotations: dict[str, ast.expr] = field(default_factory=dict)
    nested: dict[str, "ClassSource"] = field(default_factory=dict)
    node: ast.ClassDef | None = None


@cache
def package_folder() -> Path:
    """Return where `stripe` is installed. Raises SpecMissing when it is not."""
    found = find_spec("stripe")
    if found is None or found.origin is None:
        raise SpecMissing("The package `stripe` is not installed; its source is what the double is checked against.")
    return Path(found.origin).parent


@cache
def module_named(name: str) -> ModuleSource:
    """Return a module of the package by its dotted name. Raises SpecMissing when there is none."""
    path = package_folder().joinpath(*name.split(".")[1:])
    file = path.joinpath("__init__.py") if path.is_dir() else path.with_suffix(".py")
    if not file.exists():
        raise SpecMissing(f"The package `stripe` has no module {name}.")
    module = ModuleSource(name)
    for node in _statements(ast.parse(file.read_text()).body):
        if isinstance(node, ast.ImportFrom) and node.module:
            module.imports.update({each.asname or each.name: (node.module, each.name) for each in node.names})
        elif isinstance(node, ast.ClassDef):
            module.classes[node.name] = _class(node, module, None)
    return module


def class_named(module: str, name: str) -> ClassSource:
    return module_named(module).classes[name]


@cache
def api_version() -> str:
    """Return the version of the API that the package was generated for, such as 2026-10-28.endive."""
    tree = ast.parse((package_folder().joinpath("_api_version.py")).read_text())
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id="CURRENT")], value=ast.Constant(value=str(version))):
                return version
    raise SpecMissing("The package `stripe` does not say which version of the API it is for.")


def find_class(name: str, scope: ClassSource | ModuleSource) -> ClassSource | None:
    """Return the class that `name` means in a scope, from the inside out; None for what is no class of theirs."""
    while isinstance(scope, ClassSource):
        if name in scope.nested:
            return scope.nested[name]
        scope = scope.outer or scope.module
    if name in scope.classes:
        return scope.classes[name]
    if name in scope.imports:
        module, original = scope.imports[name]
        if module.startswith("stripe") and original not in ("StripeObject", "ListObject", "UntypedStripeObject"):
            return module_named(module).classes.get(original)
    return None


def _statements(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return the statements of a module, with those under `if TYPE_CHECKING:` in their place."""
    return [inner for node in body for inner in (_statements(node.body) if isinstance(node, ast.If) else [node])]


def _class(node: ast.ClassDef, module: ModuleSource, outer: ClassSource | None) -> ClassSource:
    bases = tuple(ast.unparse(base) for base in node.bases)
    made = ClassSource(node.name, module, outer, bases, node=node)
    for each in node.body:
        match each:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                made.annotations[name] = annotation
            case ast.ClassDef():
                made.nested[each.name] = _class(each, module, made)
    return made
