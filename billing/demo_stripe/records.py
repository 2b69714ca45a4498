"""Reading and changing kept objects in the ways that are the same for every kind: lists, filters, updates."""

from collections.abc import Callable, Iterable

from billing.demo_stripe.account import Account
from billing.demo_stripe.calls import Call, Route
from billing.demo_stripe.kinds import KINDS
from billing.demo_stripe.refusals import Body, Refused, missing_object
from billing.demo_stripe.spec.blanks import filled
from billing.demo_stripe.spec.shapes import fields_of

PAGING = "created ending_before limit starting_after"
DEFAULT_LIMIT = 10
LARGEST_LIMIT = 100

_BOUNDS: dict[str, Callable[[int, int], bool]] = {
    "gt": lambda at, bound: at > bound,
    "gte": lambda at, bound: at >= bound,
    "lt": lambda at, bound: at < bound,
    "lte": lambda at, bound: at <= bound,
}


def page_of(call: Call, found: Iterable[Body]) -> Body:
    """Return a page of objects, newest first, as the call's limit, cursors and `created` want it."""
    limit = call.given.get("limit", DEFAULT_LIMIT)
    if not 1 <= limit <= LARGEST_LIMIT:
        raise Refused(f"Invalid limit: takes 1 to {LARGEST_LIMIT}.", code="parameter_invalid_integer", param="limit")
    objects = [each for each in found if _is_created(each, call.given.get("created"))]
    after, before = call.given.get("starting_after"), call.given.get("ending_before")
    if after and before:
        raise Refused("Give starting_after or ending_before, not both.", code="parameters_exclusive")
    if after:
        objects = objects[_place_of(objects, after, "starting_after") + 1 :]
    has_more = len(objects) > limit
    shown = objects[:limit]
    if before:
        objects = objects[: _place_of(objects, before, "ending_before")]
        shown, has_more = objects[-limit:], len(objects) > limit
    return {"object": "list", "data": shown, "has_more": has_more, "url": call.path}


def listing(kind: str, filters: str = "") -> Route:
    """Return the route that lists a kind. filters: parameters that must equal the field of the same name."""

    def answer(call: Call) -> Body:
        wanted = {name: call.given[name] for name in filters.split() if name in call.given}
        return page_of(
            call,
            (each for each in call.account.all_of(kind) if all(each[name] == value for name, value in wanted.items())),
        )

    return Route(answer, frozenset(f"{PAGING} {filters}".split()))


def retrieving(kind: str) -> Route:
    def answer(call: Call) -> Body:
        return call.account.find(kind, call.ids[0])

    return Route(answer, frozenset())


def updating(kind: str, takes: str, events: str = "") -> Route:
    """Return the route that sets the fields it takes, and tells of it by events."""

    def answer(call: Call) -> Body:
        return change(call.account, call.account.find_live(kind, call.ids[0]), call.given, events)

    return Route(answer, frozenset(takes.split()))


def change(account: Account, kept: Body, given: Body, events: str = "") -> Body:
    """Set fields of an object to what was given, where an empty text clears, and emit the events if any changed."""
    fields = fields_of(KINDS[kept["object"]].source)
    previous: Body = {}
    for name, value in given.items():
        new = metadata_after(kept[name], value) if name == "metadata" else _merged(kept[name], value)
        new = new if name == "metadata" else filled(fields[name].shape, new)
        if new != kept[name]:
            previous[name] = kept[name]
            kept[name] = new
    for event in events.split() if previous else ():
        account.emit(event, kept, previous)
    return kept


def shaped(kind: str, given: Body, names: str) -> Body:
    """Return the given values among `names` as fields of a new object of the kind."""
    fields = fields_of(KINDS[kind].source)
    wanted = {name: given[name] for name in names.split() if name in given}
    return {
        name: metadata_after({}, value) if name == "metadata" else filled(fields[name].shape, value)
        for name, value in wanted.items()
    }


def metadata_after(kept: Body | None, given: object) -> Body:
    """Return metadata with what was given: an empty text takes a key away, or all of them."""
    if not isinstance(given, dict):
        return {}
    return {name: value for name, value in {**(kept or {}), **given}.items() if value != ""}


def find_kept(account: Account, kinds: Iterable[str], name: str, param: str) -> Body:
    """Return an object that a parameter names, which may be of several kinds. Raises Refused."""
    found = account.objects.get(name)
    if found is None or found["object"] not in kinds:
        raise missing_object(next(iter(kinds)), name, param, status=400)
    return found


def _merged(kept: object, given: object) -> object:
    if isinstance(kept, dict) and isinstance(given, dict):
        return {**kept, **{name: _merged(kept.get(name), value) for name, value in given.items()}}
    return given


def _is_created(each: Body, wanted: object) -> bool:
    if wanted is None:
        return True
    if isinstance(wanted, dict):
        return all(_BOUNDS[name](each["created"], bound) for name, bound in wanted.items())
    return bool(each["created"] == wanted)


def _place_of(objects: list[Body], name: str, param: str) -> int:
    for place, each in enumerate(objects):
        if each["id"] == name:
            return place
    raise missing_object("object", name, param, status=400)
