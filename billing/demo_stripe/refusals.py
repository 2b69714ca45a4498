"""Answers that are no: Stripe's shape of an error, with the codes that Stripe uses and sentences of our own."""

from typing import Any

# An object as it goes over the wire. What it may hold says the spec, which is checked, and not a type of ours.
type Body = dict[str, Any]


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        more: Body | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        told = {"code": code, "message": message, "param": param, "type": kind, **(more or {})}
        self.body: Body = {"error": {name: value for name, value in told.items() if value is not None}}


def missing_object(kind: str, name: str, param: str = "id", *, status: int = 404) -> Refused:
    """Return the refusal for a name that leads to nothing; in a parameter rather than the address it is a 400."""
    return Refused(f"No such {kind}: '{name}'", status=status, code="resource_missing", param=param)


def missing_parameter(param: str) -> Refused:
    return Refused(f"Missing required param: {param}.", code="parameter_missing", param=param)


def declined(message: str, code: str, decline_code: str | None = None, more: Body | None = None) -> Refused:
    """Return the refusal of a card, with whatever Stripe tells beside it."""
    return Refused(
        message, status=402, kind="card_error", code=code, more={"decline_code": decline_code, **(more or {})}
    )
