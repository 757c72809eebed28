"""How the pipeline logs: one line per transition, as JSON, or as text on a terminal."""

import logging
import sys
from typing import Literal

import structlog


def configure(form: Literal["auto", "json", "text"]) -> None:
    """Write to standard output; `auto` means text on a terminal and JSON elsewhere."""
    as_text = form == "text" or (form == "auto" and sys.stdout.isatty())
    renderer = structlog.dev.ConsoleRenderer() if as_text else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
