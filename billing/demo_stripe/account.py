"""The state of one Stripe account: its objects, its events, its clock, and what has come out wrong in its answers."""

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

from billing.demo_stripe.cards import TestCard
from billing.demo_stripe.kinds import KINDS
from billing.demo_stripe.refusals import Body, Refused, missing_object
from billing.demo_stripe.spec.answers import violations
from billing.demo_stripe.spec.blanks import blank, without_other_variants
from billing.demo_stripe.spec.shapes import Choice, OneOf, Shape, Thing, fields_of, shape_of
from billing.demo_stripe.spec.source import api_version, class_named

DAY = 86_400
DECLINED = 402


@dataclass(frozen=True, slots=True)
class Later:
    """Something that happens by itself once the account's clock shows `due`: a verb, and the ids that it is about."""

    due: int
    verb: str
    names: tuple[str, ...]


@dataclass(slots=True)
class Secrets:
    """What Stripe knows of its objects and does not tell, by their ids."""

    cards: dict[str, TestCard] = field(default_factory=dict)
    # Payment methods that a customer has authenticated for charges without them.
    set_up: set[str] = field(default_factory=set)
    # Payment methods that were detached, or paid once without a customer.
    spent: set[str] = field(default_factory=set)
    # How authentication of an intent ended.
    authenticated: dict[str, bool] = field(default_factory=dict)
    # What an object was made with or leads back to, as far as it does not show it.
    made_with: dict[str, Body] = field(default_factory=dict)
    signing: dict[str, str] = field(default_factory=dict)
    # The balance transactions of each payout.
    payouts: dict[str, set[str]] = field(default_factory=dict)


class Account:
    """address: where the hosted pages are. Whoever calls a method holds `lock`."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.lock = threading.RLock()
        self.on_event: Callable[[Body], None] = lambda event: None
        # What the verbs of `later` do, given the account and the ids.
        self.verbs: dict[str, Callable[..., object]] = {}
        self.drift: list[str] = []
        self.reset()

    def reset(self) -> None:
        """Forget everything but the address, the verbs and who is told of events."""
        self.objects: dict[str, Body] = {}
        self.secrets = Secrets()
        self.offset_seconds = 0
        self.later: list[Later] = []
        self.request: Body = {"id": None, "idempotency_key": None}
        self._unsent: list[Body] | None = None
        self.drift.clear()

    # Time

    def now(self) -> int:
        """Return the account's time in seconds since 1970, which `advance` moves on."""
        return int(time.time()) + self.offset_seconds

    def happen_later(self, seconds: int, verb: str, *names: str) -> None:
        self.later.append(Later(self.now() + seconds, verb, names))

    def advance(self, seconds: int) -> None:
        """Move the clock on, stopping at everything that is due on the way."""
        target = self.now() + seconds
        while due := [each for each in self.later if each.due <= target]:
            soonest = min(due, key=lambda each: each.due)
            self.offset_seconds += max(0, soonest.due - self.now())
            self.later.remove(soonest)
            self.verbs[soonest.verb](self, *soonest.names)
        self.offset_seconds += max(0, target - self.now())

    # Objects

    def create(self, kind: str, **known: object) -> Body:
        """Keep a new object with these fields, the others as empty as their types allow. KeyError: no such field."""
        source = KINDS[kind].source
        fields = fields_of(source)
        made = blank(source) | {"object": kind}
        made |= {
            "id": f"{KINDS[kind].prefix}_{secrets.token_hex(12)}",
            **({"created": self.now()} if "created" in fields else {}),
            **({"metadata": {}} if "metadata" in fields else {}),
        }
        for name, value in known.items():
            _ = fields[name]
            made[name] = value
        made = without_other_variants(made, source)
        self.objects[made["id"]] = made
        return made

    def find(self, kind: str, name: str, param: str | None = None) -> Body:
        """Return an object. param: the parameter that named it; without one the address did. Raises Refused."""
        found = self.objects.get(name)
        if found is None or found["object"] != kind or (found.get("deleted") and param):
            raise missing_object(kind.rpartition(".")[2], name, param or "id", status=400 if param else 404)
        return found

    def find_live(self, kind: str, name: str) -> Body:
        """Return an object that the address names and that is not deleted. Raises Refused."""
        found = self.find(kind, name)
        if found.get("deleted"):
            raise missing_object(kind, name)
        return found

    def all_of(self, kind: str) -> Iterator[Body]:
        """Yield the objects of a kind, newest first."""
        for each in reversed(list(self.objects.values())):
            if each["object"] == kind and not each.get("deleted"):
                yield each

    def delete(self, deleted: Body) -> Body:
        """Leave the mark of a deletion in an object's place, and return the mark."""
        mark = {"id": deleted["id"], "object": deleted["object"], "deleted": True}
        self.objects[deleted["id"]] = mark
        return mark

    # Requests

    @contextmanager
    def one_request(self, request_id: str, key: str | None) -> Iterator[None]:
        """Send the events of a request when it is over, and leave nothing of one that was refused.

        A declined card is no refusal of that kind: what was tried stays.
        """
        objects, later = len(self.objects), len(self.later)
        self.request = {"id": request_id, "idempotency_key": key}
        self._unsent = []
        try:
            yield
        except Refused as refused:
            if refused.status != DECLINED:
                for name in list(self.objects)[objects:]:
                    del self.objects[name]
                del self.later[later:]
                self._unsent.clear()
            raise
        finally:
            unsent, self._unsent = self._unsent, None
            self.request = {"id": None, "idempotency_key": None}
            for event in unsent:
                self.on_event(event)

    # Events

    def emit(self, kind: str, about: Body, previous: Body | None = None) -> Body:
        """Record an event with the object as it is now, and tell who is told of events."""
        data: Body = {"object": copy_of(about)}
        if previous is not None:
            data["previous_attributes"] = copy_of(previous)
        event = self.create(
            "event", type=kind, api_version=api_version(), data=data, request=dict(self.request), pending_webhooks=0
        )
        self.hold_to(Thing(KINDS["event"].source), event, f"event {kind}")
        self.hold_to(Thing(KINDS[about["object"]].source), about, f"object of {kind}")
        if self._unsent is None:
            self.on_event(event)
        else:
            self._unsent.append(event)
        return event

    # Drift

    def hold_to(self, shape: Shape, value: object, place: str) -> None:
        """Record where a value departs from what Stripe's library says of it."""
        self.drift += violations(shape, value, place)

    def hold_code(self, code: str) -> None:
        """Record an error's code that Stripe has not. Its list stands at the errors of a setup intent."""
        if code not in known_codes():
            self.drift.append(f"error code {code!r} is not one of Stripe's")


@cache
def known_codes() -> frozenset[object]:
    source = class_named("stripe._setup_intent", "SetupIntent").nested["LastSetupError"]
    shape = shape_of(source.annotations["code"], source)
    options = shape.options if isinstance(shape, Choice) else (shape,)
    return frozenset(value for option in options if isinstance(option, OneOf) for value in option.values)


def copy_of(value: Body) -> Body:
    """Return a copy that no later change reaches."""
    copied: Body = json.loads(json.dumps(value))
    return copied
