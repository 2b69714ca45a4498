"""Every endpoint of Stripe's API that the package's services call, with what it takes and what it answers."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from billing.demo_stripe.spec.shapes import Shape, shape_of
from billing.demo_stripe.spec.source import ClassSource, ModuleSource, class_named, module_named, package_folder

_PARAMETERS = re.compile(r"\w+Params")


@dataclass(frozen=True, slots=True, eq=False)
class Endpoint:
    """method: in small letters. path: with the library's names in braces, such as /v1/customers/{customer}."""

    method: str
    path: str
    module: ModuleSource
    parameters: str | None
    returns: ast.expr | None

    @property
    def takes(self) -> ClassSource | None:
        """Return the class of its parameters, or None when it takes none."""
        if self.parameters is None:
            return None
        return class_named(*self.module.imports[self.parameters])

    @property
    def answers(self) -> Shape | None:
        return None if self.returns is None else shape_of(self.returns, self.module)


@dataclass(frozen=True, slots=True)
class Match:
    """An endpoint and what the address had in the place of each brace, in their order."""

    endpoint: Endpoint
    ids: tuple[str, ...]


@cache
def endpoints() -> dict[tuple[str, str], Endpoint]:
    """Return the endpoints by method and path."""
    folder = package_folder()
    found: dict[tuple[str, str], Endpoint] = {}
    for file in sorted(folder.rglob("_*_service.py")):
        name = ".".join(("stripe", *file.relative_to(folder).with_suffix("").parts))
        for endpoint in _endpoints_of(module_named(name)):
            found.setdefault((endpoint.method, endpoint.path), endpoint)
    return found


def find_endpoint(method: str, path: str) -> Match | None:
    """Return the endpoint that a request means; a path without braces wins over one with them."""
    segments = path.split("/")
    for endpoint, template in _by_length().get((method.lower(), len(segments)), ()):
        if all(mine in (theirs, "{}") and theirs for mine, theirs in zip(template[1:], segments[1:], strict=True)):
            ids = (theirs for mine, theirs in zip(template, segments, strict=True) if mine == "{}")
            return Match(endpoint, tuple(ids))
    return None


@cache
def _by_length() -> dict[tuple[str, int], list[tuple[Endpoint, list[str]]]]:
    grouped: dict[tuple[str, int], list[tuple[Endpoint, list[str]]]] = {}
    for endpoint in sorted(endpoints().values(), key=lambda each: (each.path.count("{"), each.path)):
        template = ["{}" if part.startswith("{") else part for part in endpoint.path.split("/")]
        grouped.setdefault((endpoint.method, len(template)), []).append((endpoint, template))
    return grouped


def _endpoints_of(module: ModuleSource) -> Iterator[Endpoint]:
    for source in module.classes.values():
        for method in source.node.body if source.node else ():
            # Each has a twin for asyncio that calls the same address.
            if not isinstance(method, ast.FunctionDef):
                continue
            for node in ast.walk(method):
                if called := _called(node):
                    yield Endpoint(*called, module, _parameters(method, module), method.returns)


def _called(node: ast.AST) -> tuple[str, str] | None:
    match node:
        case ast.Call(
            func=ast.Attribute(attr="_request"),
            args=[
                ast.Constant(value=str(method)),
                ast.Constant(value=str(path)) | ast.Call(func=ast.Attribute(value=ast.Constant(value=str(path)))),
                *_,
            ],
        ):
            return method, path
    return None


def _parameters(method: ast.FunctionDef, module: ModuleSource) -> str | None:
    for argument in method.args.args:
        if argument.arg == "params" and argument.annotation is not None:
            named = _PARAMETERS.search(ast.unparse(argument.annotation))
            return named.group() if named and named.group() in module.imports else None
    return None
