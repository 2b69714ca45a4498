"""Annotations of the `stripe` package as shapes that values are held to, made to defaults by, and converted after."""

import ast
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from billing.demo_stripe.spec.source import ClassSource, ModuleSource, find_class

_PLAIN = {
    "str": "text",
    "int": "integer",
    "bool": "flag",
    "float": "number",
    "Decimal": "decimal",
}


@dataclass(frozen=True, slots=True)
class Plain:
    """kind: text, integer, flag, number (with a fraction), decimal (such a number as text), anything."""

    kind: str


@dataclass(frozen=True, slots=True)
class OneOf:
    """A closed list of values. Stripe's library leaves them open for values to come; the double has none of those."""

    values: tuple[str | int | bool, ...]


@dataclass(frozen=True, slots=True)
class Many:
    of: "Shape"


@dataclass(frozen=True, slots=True)
class Table:
    """Keys of the caller's choice."""

    of: "Shape"


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a longer list, or of what a search found."""

    of: "Shape"
    name: str = "list"


@dataclass(frozen=True, slots=True)
class Thing:
    """An object with the fields of a class."""

    source: ClassSource


@dataclass(frozen=True, slots=True)
class Choice:
    """Any of the options, or nothing where it is nullable."""

    options: tuple["Shape", ...]
    nullable: bool = False


type Shape = Plain | OneOf | Many | Table | Page | Thing | Choice

_NOTHING = Choice((), nullable=True)
# What an annotation's name adds to the choice that stands in its brackets.
_CHOICES: dict[str, tuple[Shape, ...]] = {"Union": (), "Optional": (_NOTHING,), "ExpandableField": (Plain("text"),)}
_AROUND: dict[str, Callable[[Shape], Shape]] = {
    **dict.fromkeys(("List", "list", "Sequence"), Many),
    **dict.fromkeys(("Dict", "dict", "Mapping", "UntypedStripeObject"), Table),
    "ListObject": Page,
    "SearchResultObject": lambda of: Page(of, "search_result"),
}


@dataclass(frozen=True, slots=True)
class Field:
    shape: Shape
    required: bool


@cache
def fields_of(source: ClassSource) -> dict[str, Field]:
    """Return the fields of a class by name, its deletion mark left out.

    A parameter is required unless it is NotRequired; a field of an object unless it is Optional, which stands for
    null and for absent alike.
    """
    found = {}
    for name, annotation in source.annotations.items():
        head, inner = _head(annotation)
        if head == "ClassVar" or name == "deleted":
            continue
        if head == "NotRequired" and inner:
            found[name] = Field(shape_of(inner[0], source), required=False)
        else:
            shape = shape_of(annotation, source)
            found[name] = Field(shape, required=not (isinstance(shape, Choice) and shape.nullable))
    return found


def shape_of(annotation: ast.expr, scope: ClassSource | ModuleSource) -> Shape:
    """Return the shape that an annotation means in the class or module it stands in."""
    if isinstance(annotation, ast.Constant):
        if isinstance(annotation.value, str):
            return shape_of(ast.parse(annotation.value.strip(), mode="eval").body, scope)
        return _NOTHING
    head, inner = _head(annotation)
    if head == "Literal":
        return OneOf(tuple(ast.literal_eval(each) for each in inner))
    parts = [shape_of(each, scope) for each in inner]
    if head in _CHOICES:
        return _choice([*_CHOICES[head], *parts])
    if head in _AROUND:
        return _AROUND[head](parts[-1] if parts else Plain("anything"))
    source = find_class(head.rpartition(".")[2], scope)
    return Thing(source) if source else Plain(_PLAIN.get(head, "anything"))


def _head(annotation: ast.expr) -> tuple[str, list[ast.expr]]:
    """Return the name before the brackets and what stands inside them; `A|B` reads as Union[A, B]."""
    match annotation:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return "Union", [left, right]
        case ast.Subscript(value=value, slice=ast.Tuple(elts=elements)):
            return ast.unparse(value), list(elements)
        case ast.Subscript(value=value, slice=inside):
            return ast.unparse(value), [inside]
        case _:
            return ast.unparse(annotation), []


def _choice(parts: list[Shape]) -> Shape:
    options: list[Shape] = []
    nullable = False
    for part in parts:
        options += part.options if isinstance(part, Choice) else [part]
        nullable = nullable or (isinstance(part, Choice) and part.nullable)
    # `Literal["a"] | str` is a list left open; the empty text alone only says that a field may be cleared.
    if any(isinstance(option, OneOf) and option.values != ("",) for option in options):
        options = [option for option in options if option != Plain("text")]
    if len(options) == 1 and not nullable:
        return options[0]
    return Choice(tuple(options), nullable)
