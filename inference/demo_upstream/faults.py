"""What may be made to go wrong, for tests: only a server started with --faults listens.

A request names its faults in the header `x-demo-fault` or after `!` in the model's name (`demo!status=500`),
because a gateway forwards the second and not the first. Several are joined by `,`:
`delay=MS` before every chunk, `status=CODE` instead of an answer, `cut=N` breaks the connection after N content
chunks, `empty` answers without text, `hang` never answers, `stall=N` says nothing more after N content chunks,
`silent` leaves the usage out, `cached=N` says that N tokens of the prompt were in a cache.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Faults:
    delay_ms: int = 0
    status: int = 0
    cut: int | None = None
    empty: bool = False
    hang: bool = False
    stall: int | None = None
    silent: bool = False
    cached: int = 0


NONE = Faults()


def parse_faults(text: str) -> Faults:
    """Return the faults that `text` names; what it does not know raises ValueError, so that no test deceives itself."""
    asked = dict(part.partition("=")[::2] for part in text.split(",") if part)
    faults = Faults(
        delay_ms=int(asked.pop("delay", "0")),
        status=int(asked.pop("status", "0")),
        cut=int(asked.pop("cut")) if "cut" in asked else None,
        empty=asked.pop("empty", None) is not None,
        hang=asked.pop("hang", None) is not None,
        stall=int(asked.pop("stall")) if "stall" in asked else None,
        silent=asked.pop("silent", None) is not None,
        cached=int(asked.pop("cached", "0")),
    )
    if asked:
        raise ValueError(f"unknown faults: {', '.join(asked)}")
    return faults
