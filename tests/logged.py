"""What the process logs, as the portal writes it: structlog's own collecting sees nothing of loggers used before."""

import io
import json
import logging
import logging.config
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from portal.logs import logging_config


@contextmanager
def logged(*, as_json: bool = True) -> Iterator[io.StringIO]:
    """Collect the lines of this process meanwhile, for machines or for people."""
    config = logging_config(as_json=as_json)
    make: Any = logging.config.DictConfigurator(config)
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(make.configure_formatter(config["formatters"]["portal"]))
    logging.getLogger().addHandler(handler)
    try:
        yield handler.stream
    finally:
        logging.getLogger().removeHandler(handler)


def read(lines: io.StringIO, event: str = "") -> list[dict[str, Any]]:
    """Return the lines that were written for machines, or those of one event."""
    found = [json.loads(line) for line in lines.getvalue().splitlines()]
    return [line for line in found if event in ("", line["event"])]
