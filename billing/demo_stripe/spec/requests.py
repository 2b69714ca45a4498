"""Parameters of a request: held to what Stripe takes, and turned from the texts of a form into values."""

import json
import re

from billing.demo_stripe.refusals import Body, Refused, missing_parameter
from billing.demo_stripe.spec.endpoints import Endpoint
from billing.demo_stripe.spec.shapes import Choice, Field, Many, OneOf, Plain, Shape, Table, Thing, fields_of

_WORDS = {"integer": "an integer", "flag": "true or false", "number": "a number", "decimal": "a number"}
_WRITTEN = {
    "integer": re.compile(r"-?\d{1,18}"),
    "flag": re.compile("true|false"),
    "number": re.compile(r"-?\d{1,18}(\.\d+)?"),
    "decimal": re.compile(r"-?\d{1,18}(\.\d+)?"),
}
_CODES = {"integer": "parameter_invalid_integer"}


def read_parameters(endpoint: Endpoint, form: Body) -> Body:
    """Return the values of a form, each of the type that the endpoint takes.

    form: texts, lists and objects of texts, as `forms.read_form` makes them.
    Raises Refused for a parameter that is unknown, missing, of another type or outside its closed list.
    """
    takes = endpoint.takes
    if takes is None:
        if form:
            raise _unknown(next(iter(form)))
        return {}
    return _read_fields(fields_of(takes), form, "")


def _read_fields(fields: dict[str, Field], form: Body, place: str) -> Body:
    for name in form:
        if name not in fields:
            raise _unknown(_inside(place, name))
    for name, field in fields.items():
        if field.required and name not in form:
            raise missing_parameter(_inside(place, name))
    return {name: _read(fields[name].shape, given, _inside(place, name)) for name, given in form.items()}


def _read(shape: Shape, given: object, place: str) -> object:
    match shape:
        case Choice(options=options):
            return _read_choice(options, given, place)
        case OneOf(values=values):
            return _read_one_of(values, given, place)
        case Plain(kind=kind):
            return _read_plain(kind, given, place)
        case Many(of=inner):
            # An empty text is how a form says "an empty list".
            items = [] if given == "" else given
            if not isinstance(items, list):
                raise Refused(f"Invalid array: {place} takes a list.", param=place)
            return [_read(inner, each, f"{place}[{number}]") for number, each in enumerate(items)]
        case Table(of=inner):
            return {name: _read(inner, each, f"{place}[{name}]") for name, each in _object(given, place).items()}
        case Thing(source=source):
            return _read_fields(fields_of(source), _object(given, place), place)
        case _:
            raise Refused(f"{place} cannot be given.", param=place)


def _read_choice(options: tuple[Shape, ...], given: object, place: str) -> object:
    """Return the first reading that fits, or complain as the option that fits best by its form would."""
    complaint: Refused | None = None
    for option in sorted(options, key=lambda option: not _alike(option, given)):
        try:
            return _read(option, given, place)
        except Refused as refused:
            complaint = complaint or refused
    raise complaint or Refused(f"{place} cannot be given.", param=place)


def _alike(option: Shape, given: object) -> bool:
    if isinstance(given, dict):
        return isinstance(option, Thing | Table)
    if isinstance(given, list):
        return isinstance(option, Many)
    return isinstance(option, OneOf) and given in option.values if given == "" else isinstance(option, Plain | OneOf)


def _read_one_of(values: tuple[str | int | bool, ...], given: object, place: str) -> object:
    for value in values:
        if given == (str(value).lower() if isinstance(value, bool) else str(value)):
            return value
    allowed = ", ".join(str(value) for value in values if value != "")
    raise Refused(f"Invalid {place}: must be one of {allowed}", param=place)


def _read_plain(kind: str, given: object, place: str) -> object:
    if kind == "anything":
        return given
    if not isinstance(given, str):
        raise Refused(f"Invalid {place}: takes a single value.", param=place)
    if kind == "text":
        return given
    if not _WRITTEN[kind].fullmatch(given):
        raise Refused(
            f"Invalid {kind}: {place} takes {_WORDS[kind]}, not '{given}'", code=_CODES.get(kind), param=place
        )
    return given if kind == "decimal" else json.loads(given)


def _object(given: object, place: str) -> Body:
    if not isinstance(given, dict):
        raise Refused(f"Invalid object: {place} takes fields of its own.", param=place)
    return given


def _unknown(place: str) -> Refused:
    return Refused(f"Received unknown parameter: {place}", code="parameter_unknown", param=place)


def _inside(place: str, name: str) -> str:
    return f"{place}[{name}]" if place else name
