"""Output: tables for people, one JSON document for programs."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from s3_sam3.contracts import bodies, limits
from s3_sam3.contracts.errors import ErrorCode
from s3_sam3.contracts.manifest import Manifest
from s3_sam3.contracts.tasks import TaskStatus


out = Console()
"""Answers."""

err = Console(stderr=True)
"""Progress, notes and errors; never part of an answer."""

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
"""The option of every command that prints an answer."""

DEMO_NOTE = "[dim]Found by a demo model, which knows coloured shapes only.[/]"

COLOURS = {
    TaskStatus.PENDING: "yellow",
    TaskStatus.PROCESSING: "cyan",
    TaskStatus.DONE: "green",
    TaskStatus.FAILED: "red",
    TaskStatus.CANCELLED: "magenta",
}


def as_json(answer: BaseModel | dict[str, Any]) -> None:
    """Print one JSON document; rich would wrap it to the terminal's width."""
    document = answer.model_dump(mode="json") if isinstance(answer, BaseModel) else answer
    print(json.dumps(document, indent=2, ensure_ascii=False))


def status(value: TaskStatus) -> str:
    return f"[{COLOURS[value]}]{value}[/]"


def waits(task: bodies.Task) -> str:
    """Say what a pending task waits for ("waits: 3 in front, about 12 s"), or its status."""
    if task.status is not TaskStatus.PENDING:
        return task.status
    if task.blocked_by is not None:
        if task.blocked_by.code is ErrorCode.NO_CAPABLE_WORKER:
            return "waits: no machine online can do this"
        return f"waits: {task.blocked_by.message}"
    known = []
    if task.queue_position is not None:
        known.append(_in_front(task.queue_position))
    if task.eta_seconds is not None:
        known.append(f"about {_largest_unit(task.eta_seconds)}")
    return f"waits: {', '.join(known)}" if known else "waits"


def status_line(task: bodies.Task) -> str:
    """One line: status, progress or what it waits for, its error, its price."""
    parts = [status(task.status)]
    if task.status is TaskStatus.PENDING:
        parts.append(waits(task))
    else:
        parts.append(f"{task.progress:.0%}")
    if task.error is not None:
        parts.append(f"{task.error.message} ({task.error.code})")
    if task.credits_charged is not None:
        parts.append(f"[dim]{task.credits_charged} of {task.credits} credits charged[/]")
    return " ".join(parts)


def instances(manifest: Manifest) -> Table:
    """A table of instances: prompt, score, box in pixels, area in pixels."""
    table = Table(title=counted(manifest.instance_count, "instance"), title_justify="left")
    for column in ("#", "prompt", "score", "box xyxy (px)", "area (px)"):
        table.add_column(column, justify="left" if column == "prompt" else "right")
    for prompt in manifest.prompts:
        for found in prompt.instances:
            table.add_row(
                str(found.label),
                prompt.text or prompt.id,
                f"{found.score:.2f}",
                " ".join(f"{edge:.0f}" for edge in found.box),
                f"{found.area:,}",
            )
        if not prompt.instances:
            table.add_row("-", prompt.text or prompt.id, "", "[dim]nothing found[/]", "")
    return table


def results(items: Iterable[bodies.Result]) -> Table:
    table = Table()
    for column in ("id", "status", "prompts", "found", "credits", "age"):
        table.add_column(column, no_wrap=column == "id")
    for item in items:
        table.add_row(
            str(item.task_id),
            status(item.status),
            ", ".join(prompt.text or prompt.id or "boxes" for prompt in item.prompts),
            "" if item.instance_count is None else str(item.instance_count),
            str(item.credits if item.credits_charged is None else item.credits_charged),
            age(item.created_at),
        )
    return table


def counted(number: int, noun: str) -> str:
    """Say "1 picture", "2 pictures"; for nouns that take an s."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def age(moment: datetime) -> str:
    """The time since *moment*, in the largest unit that fits."""
    return _largest_unit((datetime.now(UTC) - moment).total_seconds())


def _in_front(position: int) -> str:
    if position >= limits.MAX_QUEUE_POSITION:
        return f"{limits.MAX_QUEUE_POSITION:,} or more in front"
    return f"{position:,} in front" if position else "next"


def _largest_unit(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
