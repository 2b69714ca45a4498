"""Failures that tests ask for: the next calls are answered with an error, or not at all, before or after the work."""

from collections import deque
from dataclasses import dataclass

from billing.demo_stripe.refusals import Body, Refused


@dataclass(slots=True)
class Fault:
    """kind: "500", "429" or "drop", which closes the connection without an answer. path: what the address begins with.

    after: once the work is done, so that the client does not learn of it. milliseconds: kept waiting first.
    """

    kind: str
    count: int = 1
    path: str = "/v1/"
    method: str = "post"
    after: bool = False
    milliseconds: int = 0


class Faults:
    def __init__(self) -> None:
        self.coming: deque[Fault] = deque()

    def next_for(self, method: str, path: str) -> Fault | None:
        """Return the fault that this call meets, and count it."""
        for fault in self.coming:
            if fault.method == method and path.startswith(fault.path):
                fault.count -= 1
                if fault.count == 0:
                    self.coming.remove(fault)
                return fault
        return None


def answer_of(fault: Fault) -> tuple[int, Body]:
    """Return the status and body of a fault that answers."""
    if fault.kind == "429":
        refused = Refused("Too many requests: one was asked to be refused.", status=429, code="rate_limit")
    else:
        refused = Refused("The demonstration was asked to fail.", status=500, kind="api_error")
    return refused.status, refused.body
