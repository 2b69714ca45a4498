"""Bodies and queries as Stripe's clients write them: `a[b][0]=c` means {"a": {"b": ["c"]}}."""

import re
from urllib.parse import parse_qsl

from billing.demo_stripe.refusals import Body, Refused

_KEY = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_PART = re.compile(r"\[([^\[\]]*)\]")


def read_form(text: str) -> Body:
    """Return the form's fields, nested; every value is a text. Raises Refused for what is no such form."""
    made: Body = {}
    for key, value in parse_qsl(text, keep_blank_values=True):
        found = _KEY.fullmatch(key)
        if not found:
            raise Refused(f"Invalid request: the name {key} cannot be read.")
        _put(made, [found.group(1), *_PART.findall(found.group(2))], value)
    return {name: _with_lists(value) for name, value in made.items()}


def _put(made: Body, path: list[str], value: str) -> None:
    place = made
    for part, following in zip(path, [*path[1:], None], strict=True):
        # `[]` is the next of a list.
        name = part or str(len(place))
        if following is None:
            place[name] = value
            return
        inner = place.setdefault(name, {})
        if not isinstance(inner, dict):
            raise Refused(f"Invalid request: {path[0]} is given both a value and fields.", param=path[0])
        place = inner


def _with_lists(value: object) -> object:
    """Return a value with every object whose names are numbers turned into a list."""
    if not isinstance(value, dict):
        return value
    inner = {name: _with_lists(each) for name, each in value.items()}
    if inner and all(name.isdecimal() for name in inner):
        return [inner[name] for name in sorted(inner, key=int)]
    return inner
