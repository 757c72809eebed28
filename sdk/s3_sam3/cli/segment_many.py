"""`s3 segment` with several pictures: a progress bar, then a table."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from s3_sam3.cli import Exit, config, exit_code, show
from s3_sam3.cli.batch import Batch, Request, Row
from s3_sam3.cli.batch_folder import BatchFolder
from s3_sam3.contracts import object_keys


MOST_COLUMNS = 6
"""Up to so many prompts have a column each; more are counted together."""


def segment_many(
    pictures: Sequence[Path], request: Request, out: Path | None, *, jobs: int, as_json: bool
) -> None:
    """Segment them all. Ends the program with 1 if a picture has no result."""
    if out is None:
        msg = "several pictures need --out DIR; what is done is kept there, and not sent again."
        raise typer.BadParameter(msg)
    batch = Batch(folder=BatchFolder(out), request=request)
    try:
        asyncio.run(_run(batch, pictures, jobs))
    except KeyboardInterrupt:
        _explain_how_to_resume(batch, len(pictures))
        raise
    rows = sorted(batch.rows, key=lambda row: pictures.index(row.picture))
    if as_json:
        show.as_json({"folder": str(out), "pictures": [_document(row) for row in rows]})
    else:
        show.out.print(
            summary(rows, [prompt.text or prompt.id or "" for prompt in request.prompts])
        )
        show.out.print(
            f"{out / 'PICTURE'}: {object_keys.MANIFEST}, {object_keys.MASK}, {object_keys.OVERLAY}",
            soft_wrap=True,
        )
    if any(row.record is not None and row.record.demo for row in rows):
        show.err.print(show.DEMO_NOTE)
    if batch.stopped is not None:
        show.err.print(f"[red]{batch.stopped}[/]", highlight=False)
        raise typer.Exit(exit_code(batch.stopped))
    if not all(row.done for row in rows):
        show.err.print("The same command tries the failed pictures again, and only those.")
        raise typer.Exit(Exit.REFUSED)


async def _run(batch: Batch, pictures: Sequence[Path], jobs: int) -> None:
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=show.err,
        transient=True,
    ) as progress:
        bar = progress.add_task("pictures", total=len(pictures))
        failed: list[Row] = []

        def ended(row: Row) -> None:
            if not row.done:
                failed.append(row)
                progress.console.print(f"[red]{row.picture}[/]: {row.error}", highlight=False)
            note = f"pictures, {len(failed)} failed" if failed else "pictures"
            progress.update(bar, advance=1, description=note)

        async with config.client() as s3:
            await batch.run(s3, pictures, jobs=jobs, on_row=ended)


def summary(rows: Sequence[Row], prompts: Sequence[str]) -> Table:
    """For each picture how it ended, what was found, seconds, credits; and the sums."""
    apart = len(prompts) <= MOST_COLUMNS
    table = Table(title=_title(rows), title_justify="left", show_footer=True)
    table.add_column("picture", "in all", overflow="fold")
    table.add_column("status")
    for prompt in prompts if apart else ["instances"]:
        count = sum(_found(row, [prompt] if apart else prompts) for row in rows)
        table.add_column(prompt, str(count), justify="right")
    table.add_column("seconds", justify="right")
    table.add_column("credits", str(_credits(rows)), justify="right")
    for row in rows:
        record = (
            None if row.before else row.record
        )  # an earlier call's seconds and credits are not counted again
        table.add_row(
            str(row.picture),
            _status(row),
            *(
                str(_found(row, asked)) if row.done else ""
                for asked in ([[prompt] for prompt in prompts] if apart else [prompts])
            ),
            "" if record is None or record.seconds is None else f"{record.seconds:.1f}",
            "" if record is None or record.credits is None else str(record.credits),
        )
    return table


def _title(rows: Sequence[Row]) -> str:
    done = sum(row.done for row in rows)
    before = sum(row.before for row in rows)
    title = f"{done} of {len(rows)} pictures done"
    return f"{title}, {before} of them before" if before else title


def _status(row: Row) -> str:
    if row.done:
        return "[dim]done before[/]" if row.before else "[green]done[/]"
    return f"[red]{row.error}[/]"


def _found(row: Row, prompts: Sequence[str]) -> int:
    counts = {} if row.record is None else row.record.instances
    return sum(counts.get(prompt, 0) for prompt in prompts)


def _credits(rows: Sequence[Row]) -> int:
    """What this call cost; pictures with the same bytes share a task."""
    charged = {
        row.record.task_id: row.record.credits or 0
        for row in rows
        if row.record is not None and not row.before
    }
    return sum(charged.values())


def _document(row: Row) -> dict[str, Any]:
    record = row.record
    kept = row.folder if row.done else None
    names = (object_keys.MANIFEST, object_keys.MASK, object_keys.OVERLAY)
    return {
        "picture": str(row.picture),
        "done": row.done,
        "done_before": row.before,
        "error": row.error,
        "task_id": str(record.task_id) if record and record.task_id else None,
        "instances": record.instances if record else {},
        "seconds": record.seconds if record else None,
        "credits": record.credits if record else None,
        "files": {name: str(kept / name) for name in names} if kept else {},
    }


def _explain_how_to_resume(batch: Batch, count: int) -> None:
    done = sum(row.done for row in batch.rows)
    show.err.print(
        f"Stopped: {done} of {count} pictures are done. Submitted tasks go on at the service;"
        " the same command fetches them, and submits only the rest.",
        highlight=False,
    )
