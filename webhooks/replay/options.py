"""
The options of `s3 replay`, each declared once: for the command line, for validation, for resuming.

On the command line every option is a text, a list of texts or a flag; `Options` validates them. The
checkpoint keeps the texts, so a resumed run validates the same ones.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from typer.models import OptionInfo

from runtime.durations import moment, per_second, seconds, span
from webhooks.replay import UsageError
from webhooks.replay.selection import Mode, Selection
from webhooks.replay.sending import Signing
from webhooks.replay.sends import Order


OUTBOX: Final = "outbox"
ROWS: Final = "rows"

_NOT_KEPT: Final = ("secret", "headers", "resume", "yes")
"""No file keeps secrets; the other two say how a run begins."""

Typed = Mapping[str, Any]
"""Options as they were typed, by the names of `Options`; what was not typed is absent."""


def header(text: str) -> tuple[str, str]:
    """Read `Name: value`."""
    name, colon, value = text.partition(":")
    if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
        msg = "a header is NAME:VALUE"
        raise ValueError(msg)
    return name, value.strip()


def _typed(read: Callable[[str], Any]) -> BeforeValidator:
    return BeforeValidator(lambda value: read(value) if isinstance(value, str) else value)


def _option(name: str, panel: str, text: str | None = None, metavar: str | None = None) -> Any:
    return typer.Option(name, help=text, metavar=metavar, rich_help_panel=panel)


_SOURCE: Final = "Source and target"
_SELECTION: Final = "Selection: each filter that is given must match"
_PACE: Final = "Pace"
_SIGNING: Final = "Identity and signature"
_FAULTS: Final = "Faults, to test a receiver"
_OUTPUT: Final = "Output"

Probability = Annotated[float, Field(ge=0, le=1)]
Texts = tuple[str, ...]


class Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Annotated[
        str,
        _option(
            "--from",
            _SOURCE,
            "The users' deliveries, Supabase's form of segmentation_results, or a recording.",
            "outbox|rows|FILE",
        ),
    ]
    target: Annotated[
        str | None, _option("--target", _SOURCE, "Default: where each message was sent.", "URL")
    ] = None
    target_allow: Annotated[
        Texts,
        _option(
            "--target-allow",
            _SOURCE,
            "A target that is not this machine; without --target any host of a message."
            " Repeatable.",
            "HOST",
        ),
    ] = ()
    yes: Annotated[bool, _option("--yes", _SOURCE, "Send; without it the plan is shown.")] = False
    resume: Annotated[
        str | None, _option("--resume", _SOURCE, "Send what is left of a run.", "RUN")
    ] = None

    mode: Annotated[
        Mode | None,
        _option(
            "--mode",
            _SELECTION,
            "recover: the last attempt failed; missing: never tried; all. Default: recover for the"
            " outbox, else all.",
            "recover|missing|all",
        ),
    ] = None
    since: Annotated[
        datetime | None,
        _typed(moment),
        _option("--since", _SELECTION, "2026-11-24T09:00, or 2h ago as 2h.", "WHEN"),
    ] = None
    until: Annotated[
        datetime | None, _typed(moment), _option("--until", _SELECTION, metavar="WHEN")
    ] = None
    ids: Annotated[Texts, _option("--id", _SELECTION, "A message; repeatable.", "ID")] = ()
    tasks: Annotated[Texts, _option("--task", _SELECTION, "A task; repeatable.", "ID")] = ()
    types: Annotated[
        Texts, _option("--type", _SELECTION, "task.done, task.*, INSERT; repeatable.", "TYPE")
    ] = ()
    code: Annotated[
        str | None,
        Field(pattern=r"^(?:[1-5][0-9xX]{2}|none)$"),
        _option("--code", _SELECTION, "Of the last answer: 503, 5xx, none.", "CODE"),
    ] = None
    include_disabled: Annotated[
        bool,
        _option(
            "--include-disabled",
            _SELECTION,
            "Also messages of endpoints that are switched off or answered 410.",
        ),
    ] = False
    limit: Annotated[
        int | None, Field(ge=1), _option("--limit", _SELECTION, "The oldest N.", "N")
    ] = None

    rate: Annotated[
        float, _typed(per_second), _option("--rate", _PACE, "Default: 20/s.", "N/s")
    ] = 20.0
    concurrency: Annotated[
        int, Field(ge=1), _option("--concurrency", _PACE, "Default: 8.", "N")
    ] = 8
    order: Annotated[
        Order,
        _option("--order", _PACE, "key (default): messages of one task stay in order.", "key|none"),
    ] = Order.KEY
    max_sends: Annotated[
        int, Field(ge=1), _option("--max", _PACE, "Most sends of this run; default: 10000.", "N")
    ] = 10_000
    max_failures: Annotated[
        int,
        Field(ge=0),
        _option(
            "--max-failures",
            _PACE,
            "Failures in a row after which a host is given up; 0: never. Default: 20.",
            "N",
        ),
    ] = 20
    # To aiohttp a timeout of 0 means none.
    timeout: Annotated[
        float, Field(gt=0), _typed(seconds), _option("--timeout", _PACE, "Default: 15s.", "SPAN")
    ] = 15.0

    secret: Annotated[
        str | None,
        _option("--secret", _SIGNING, "Sign everything with it; better: REPLAY_SECRET.", "whsec_…"),
    ] = None
    sign: Annotated[
        Signing,
        _option("--sign", _SIGNING, "fresh (default), or what is to be refused.", "fresh|none|bad"),
    ] = Signing.FRESH
    preserve: Annotated[
        bool, _option("--preserve", _SIGNING, "Send recorded bytes and headers.")
    ] = False
    new_id: Annotated[
        bool, _option("--new-id", _SIGNING, "Defeats the receiver's deduplication.")
    ] = False
    headers: Annotated[
        tuple[Annotated[tuple[str, str], _typed(header)], ...],
        _option("--header", _SIGNING, "A header to add; repeatable.", "NAME:VALUE"),
    ] = ()

    dup: Annotated[Probability, _option("--dup", _FAULTS, "Send twice.", "P")] = 0.0
    drop: Annotated[Probability, _option("--drop", _FAULTS, "Do not send.", "P")] = 0.0
    truncate: Annotated[
        Probability, _option("--truncate", _FAULTS, "Send half of the body.", "P")
    ] = 0.0
    shuffle: Annotated[bool, _option("--shuffle", _FAULTS, "Send in random order.")] = False
    delay: Annotated[
        tuple[float, float],
        _typed(span),
        _option("--delay", _FAULTS, "Wait before each send.", "10ms..2s"),
    ] = (0.0, 0.0)

    diff: Annotated[bool, _option("--diff", _OUTPUT, "Compare with the recorded attempts.")] = False
    as_json: Annotated[bool, _option("--json", _OUTPUT, "Print one JSON document.")] = False
    record: Annotated[
        Path | None, _option("--record", _OUTPUT, "Add the attempts to FILE.", "FILE")
    ] = None
    redact: Annotated[
        Texts,
        _option(
            "--redact",
            _OUTPUT,
            "A header or query parameter that is not recorded, like those that look secret.",
            "NAME",
        ),
    ] = ()

    @property
    def from_database(self) -> bool:
        return self.source in {OUTBOX, ROWS}

    @property
    def selection(self) -> Selection:
        """The filters; the mode has a default for each source."""
        return Selection(
            mode=self.mode or (Mode.RECOVER if self.source == OUTBOX else Mode.ALL),
            since=self.since,
            until=self.until,
            ids=self.ids,
            tasks=self.tasks,
            types=self.types,
            code=self.code,
            limit=self.limit,
        )


def read(typed: Typed) -> Options:
    """Validate what was typed. Raises: UsageError, which names the option."""
    if not typed.get("source"):
        msg = "Say where the messages come from: --from outbox, --from rows or --from FILE."
        raise UsageError(msg)
    try:
        return Options.model_validate(typed)
    except ValidationError as error:
        fault = error.errors()[0]
        # Inside Annotated, typer.Option takes the name where its default is elsewhere.
        name = _declared(str(fault["loc"][0])).default
        reason = fault.get("ctx", {}).get("error") or fault["msg"]
        msg = f"{name}: {reason}"
        raise UsageError(msg) from None


def kept(typed: Typed) -> dict[str, Any]:
    """What the checkpoint keeps; files by their absolute paths, so a run resumes anywhere."""
    found = {name: value for name, value in typed.items() if name not in _NOT_KEPT}
    if found["source"] not in {OUTBOX, ROWS}:
        found["source"] = str(Path(found["source"]).absolute())
    if "record" in found:
        found["record"] = str(Path(found["record"]).absolute())
    return found


def resumed(before: Typed, typed: Typed) -> dict[str, Any]:
    """A run's options, with those that were typed for its rest; lists are joined."""
    lists = {
        name: [*before.get(name, ()), *value]
        for name, value in typed.items()
        if isinstance(value, list)
    }
    return {**before, **typed, **lists}


def signature() -> inspect.Signature:
    """The options as typer declares them: each is a text, a list of texts or a flag."""
    return inspect.Signature(
        [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=False if _kind(name) is bool else None,
                annotation=Annotated[_kind(name), _declared(name)],
            )
            for name in Options.model_fields
        ]
    )


def _kind(name: str) -> Any:
    field = Options.model_fields[name]
    if field.annotation is bool:
        return bool
    return list[str] | None if field.default == () else str | None


def _declared(name: str) -> OptionInfo:
    metadata = Options.model_fields[name].metadata
    return next(each for each in metadata if isinstance(each, OptionInfo))
