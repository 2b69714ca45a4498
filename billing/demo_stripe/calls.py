"""One request to the API, read and checked, and what answers it."""

from collections.abc import Callable
from dataclasses import dataclass

from billing.demo_stripe.account import Account
from billing.demo_stripe.refusals import Body


@dataclass(frozen=True, slots=True)
class Call:
    """ids: what the address names, in its order. given: parameters of their types, without `expand`.

    is_current: it named this version of the API; one without a version gets an older account's defaults.
    """

    account: Account
    path: str
    ids: tuple[str, ...]
    given: Body
    is_current: bool = True


type Handler = Callable[[Call], Body]


@dataclass(frozen=True, slots=True)
class Route:
    """takes: the parameters that mean something here. What Stripe takes beyond them is refused, not overlooked."""

    handler: Handler
    takes: frozenset[str]


def route(handler: Handler, takes: str = "") -> Route:
    return Route(handler, frozenset(takes.split()))


type Routes = dict[tuple[str, str], Route]

# What happens by itself: a verb → what it does, given the account and the ids that it is about.
type LaterVerbs = dict[str, Callable[..., object]]
