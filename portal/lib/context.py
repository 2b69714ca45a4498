"""What this thread of work is about: the organization whose rows it may touch, the request it serves."""

from contextvars import ContextVar

_organization_id: ContextVar[int | None] = ContextVar("organization_id", default=None)


def current_organization_id() -> int | None:
    return _organization_id.get()


def remember_organization(organization_id: int | None) -> None:
    _organization_id.set(organization_id)
