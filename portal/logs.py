"""Structured logs: one event name with fields per line, JSON or text for people, and no secrets for anybody."""

from typing import Any

import structlog

from portal.lib.masking import masked

_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]

# Servers that configure their own loggers before ours: what they say of a failure is masked and shaped like the rest.
_OURS: dict[str, Any] = {"handlers": [], "propagate": True}


def _mask(logger: Any, method: str, line: str) -> str:
    """Mask a line once it is whole, tracebacks and other people's messages included."""
    return masked(line)


def logging_config(*, as_json: bool) -> dict[str, Any]:
    """Return the standard library's logging configuration, so that libraries' lines look like ours."""
    renderer = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=False)
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "portal": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": _SHARED,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.format_exc_info,
                    renderer,
                    _mask,
                ],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "portal"}},
        "root": {"handlers": ["stderr"], "level": "INFO"},
        # The request line of portal.lib.middleware says the same with the request's id.
        "loggers": {
            "django.server": {"level": "WARNING"},
            # Its refusals name the whole address, with the token in it if there is one.
            "django.request": {"level": "ERROR"},
            "uvicorn": _OURS,
            "uvicorn.access": {"level": "WARNING", **_OURS},
            "_granian": _OURS,
            "granian.access": {"level": "WARNING", **_OURS},
            "httpx": {"level": "WARNING"},
            "httpx2": {"level": "WARNING"},
            "asyncssh": {"level": "WARNING"},
        },
    }


def configure_structlog() -> None:
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
