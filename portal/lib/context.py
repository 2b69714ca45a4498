"""What this thread of work is about: the organization whose rows it may touch, who acts, the request it serves."""

from contextvars import ContextVar
from dataclasses import dataclass

_organization_id: ContextVar[int | None] = ContextVar("organization_id", default=None)


def current_organization_id() -> int | None:
    return _organization_id.get()


def remember_organization(organization_id: int | None) -> None:
    _organization_id.set(organization_id)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request came from; all empty for work that nobody asked for over the network."""

    request_id: str = ""
    address: str = ""
    browser: str = ""  # the User-Agent header


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a person, an API key or the portal itself, by public id, and through which door.

    impersonator: public id of the staff member who acts as somebody else, empty otherwise.
    """

    kind: str
    public_id: str
    via: str
    impersonator: str = ""


PORTAL = Actor(kind="portal", public_id="", via="system")

NOWHERE = Origin()
_origin: ContextVar[Origin] = ContextVar("origin", default=NOWHERE)
_actor: ContextVar[Actor] = ContextVar("actor", default=PORTAL)


def current_origin() -> Origin:
    return _origin.get()


def remember_origin(origin: Origin) -> None:
    _origin.set(origin)


def current_actor() -> Actor:
    """Return who acts; work that no door let in is the portal's own."""
    return _actor.get()


def remember_actor(actor: Actor) -> None:
    _actor.set(actor)


def forget() -> None:
    """Begin as nobody: between requests and tasks, which share threads."""
    _organization_id.set(None)
    _origin.set(NOWHERE)
    _actor.set(PORTAL)
