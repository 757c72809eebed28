"""
Structured logs: one line per transition, as JSON or for people, and never a secret.

`bound` puts ids (request_id, task_id) on the lines of one task or request. They are kept in
contextvars, so they follow awaits and stay out of other tasks.
"""

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, Final, Literal

import structlog


LogFormat = Literal["auto", "json", "text"]

bound = structlog.contextvars.bound_contextvars
"""Put ids on every line logged inside: `with bound(task_id=...)`."""

_SECRET_NAME: Final = re.compile(
    r"authorization|apikey|api_key|password|secret|cookie|(access|refresh|bearer)_?token|^jwt$",
    re.IGNORECASE,
)
_SECRET_VALUE: Final = re.compile(
    r"eyJ[\w-]{8,}\.[\w-]+\.[\w-]*"  # a JWT
    r"|(?<=X-Amz-Signature=)[0-9a-fA-F]+"  # what makes a signed URL valid
    r"|(?<=X-Amz-Security-Token=)[^&\s]+"
    r"|sb_secret_\w+"
    r"|(?<=Bearer )\S+"
)
_HIDDEN: Final = "***"

_TALKATIVE: Final = ("httpx", "httpcore", "botocore", "boto3", "urllib3", "websockets", "realtime")
"""Libraries whose INFO lines repeat every request, URLs included."""


def configure(log_format: LogFormat = "auto", *, level: int = logging.INFO) -> None:
    """Send structlog and the standard library's logging through one formatter to stderr."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendering(log_format),
            ],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger that takes an event and its fields: `log.info("task_claimed", task_id=...)`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def redact(_logger: Any, _method: str, event: dict[str, Any]) -> Mapping[str, Any]:
    """Hide values with a secret's name, and whatever looks like a secret in any text."""
    return {name: _hide(name, value) for name, value in event.items()}


def _hide(name: str, value: Any) -> Any:
    if _SECRET_NAME.search(name):
        return _HIDDEN
    if isinstance(value, str):
        return _SECRET_VALUE.sub(_HIDDEN, value)
    if isinstance(value, Mapping):
        return {key: _hide(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_hide("", inner) for inner in value]
    return value


def _rendering(log_format: LogFormat) -> list[Any]:
    text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    if text:
        # Tracebacks become text before redaction, so that they too are searched for secrets.
        return [
            structlog.processors.format_exc_info,
            redact,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ]
    return [structlog.processors.format_exc_info, redact, structlog.processors.JSONRenderer()]
