"""Answers of the double, held to what Stripe's library says of them: every departure is a defect of the double."""

from collections.abc import Iterator

from billing.demo_stripe.spec.shapes import Choice, Many, OneOf, Page, Plain, Shape, Table, Thing, fields_of

_TYPES: dict[str, type | tuple[type, ...]] = {"text": str, "integer": int, "flag": bool, "decimal": str}


def violations(shape: Shape, value: object, place: str) -> Iterator[str]:  # noqa: C901  # one case per shape
    """Yield, in words, where a value departs from its shape."""
    match shape:
        case Choice():
            yield from _in_choice(shape, value, place)
        case OneOf(values=values):
            if value not in values:
                yield f"{place}: {value!r} is none of the {len(values)} values"
        case Plain(kind=kind):
            yield from _in_plain(kind, value, place)
        case Many(of=inner):
            yield from _in_list(inner, value, place)
        case Table(of=inner):
            if not isinstance(value, dict):
                yield f"{place}: not an object"
            else:
                for name, each in value.items():
                    yield from violations(inner, each, f"{place}.{name}")
        case Page():
            yield from _in_page(shape, value, place)
        case Thing():
            yield from _in_thing(shape, value, place)


def _in_choice(choice: Choice, value: object, place: str) -> Iterator[str]:
    if value is None:
        if not choice.nullable:
            yield f"{place}: null is not allowed"
        return
    found = [list(violations(option, value, place)) for option in choice.options]
    if not all(found):
        return
    # The option that is least wrong tells most; `deleted` is told by the mark that only a deleted object has.
    yield from min(found, key=len)


def _in_plain(kind: str, value: object, place: str) -> Iterator[str]:
    if kind == "anything":
        return
    if kind == "number":
        fits = not isinstance(value, bool | str | list | dict) and value is not None
    else:
        fits = isinstance(value, _TYPES[kind]) and (kind == "flag" or not isinstance(value, bool))
    if not fits:
        yield f"{place}: {value!r} is no {kind}"


def _in_list(inner: Shape, value: object, place: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{place}: not a list"
        return
    for number, each in enumerate(value):
        yield from violations(inner, each, f"{place}[{number}]")


def _in_page(page: Page, value: object, place: str) -> Iterator[str]:
    if not isinstance(value, dict) or value.get("object") != page.name:
        yield f"{place}: not a {page.name} object"
        return
    for name, kind in (("has_more", bool), ("url", str)):
        if not isinstance(value.get(name), kind):
            yield f"{place}.{name}: missing"
    yield from _in_list(page.of, value.get("data"), f"{place}.data")


def _in_thing(thing: Thing, value: object, place: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{place}: not an object"
        return
    if value.get("deleted") is True:
        if set(value) != {"id", "object", "deleted"}:
            yield f"{place}: a deleted object has an id, its kind and the mark alone"
        return
    fields = fields_of(thing.source)
    for name, each in value.items():
        if name not in fields:
            yield f"{place}.{name}: no such field"
        else:
            yield from violations(fields[name].shape, each, f"{place}.{name}")
    for name, field in fields.items():
        if field.required and name not in value:
            yield f"{place}.{name}: missing"
