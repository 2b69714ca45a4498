"""Objects as they are before anything is known of them: every field with the emptiest value that its type allows."""

from billing.demo_stripe.refusals import Body
from billing.demo_stripe.spec.shapes import Choice, Field, Many, OneOf, Page, Plain, Shape, Table, Thing, fields_of
from billing.demo_stripe.spec.source import ClassSource

_EMPTY: dict[str, object] = {"text": "", "integer": 0, "flag": False, "number": 0, "decimal": "0", "anything": None}


def blank(source: ClassSource) -> Body:
    """Return an object of the class with every field that Stripe sends unasked.

    Lists that may be left out are: Stripe sends them only where a request expands them, or not any more.
    """
    return {name: _empty(field.shape) for name, field in fields_of(source).items() if not _is_left_out(field)}


def without_other_variants(made: Body, source: ClassSource) -> Body:
    """Return an object without the fields of another value of its `type`, such as `sepa_debit` of a card."""
    kinds = fields_of(source).get("type")
    options = kinds.shape.options if kinds and isinstance(kinds.shape, Choice) else (kinds.shape,) if kinds else ()
    others = {value for option in options if isinstance(option, OneOf) for value in option.values} - {made.get("type")}
    return {name: value for name, value in made.items() if name not in others}


def filled(shape: Shape, value: object) -> object:
    """Return a value with the fields that were not given, inside objects that Stripe shows whole."""
    if isinstance(shape, Choice):
        shape = next((option for option in shape.options if isinstance(option, Thing)), shape)
    if isinstance(shape, Thing) and isinstance(value, dict):
        fields = fields_of(shape.source)
        inner = {name: filled(fields[name].shape, each) for name, each in value.items() if name in fields}
        return blank(shape.source) | inner
    return None if value == "" else value


def _is_left_out(field: Field) -> bool:
    shape = field.shape
    return isinstance(shape, Choice) and any(isinstance(option, Page) for option in shape.options)


def _empty(shape: Shape) -> object:  # noqa: C901, PLR0911  # one case per shape
    match shape:
        case Choice(nullable=True):
            return None
        case Choice(options=options):
            return _empty(next((option for option in options if isinstance(option, OneOf)), options[0]))
        case OneOf(values=values):
            return values[0]
        case Plain(kind=kind):
            return _EMPTY[kind]
        case Many():
            return []
        case Table():
            return {}
        case Page():
            return {"object": "list", "data": [], "has_more": False, "url": ""}
        case Thing(source=source):
            return blank(source)
