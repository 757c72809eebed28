"""`s3 janitor`: the housekeeper, and what an operator asks of it."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.table import Table

from cli.processes import Program, Programs
from cli.worker import run_until, stop_asked
from s3_sam3.cli import Exit, show


STOP_SECONDS = 10.0
"""Over the janitor's own grace of 5 s."""

app = typer.Typer(
    help="Delete what nobody needs, and check the books; needs the service key and the bucket's.",
    no_args_is_help=True,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def program(env: Mapping[str, str]) -> Program:
    """The running janitor, with the service key and without a machine's password."""
    return Program(
        name="janitor",
        module="janitor",
        env={**env, "S3_MACHINE_PASSWORD": ""},
        restart=True,
        stop_seconds=STOP_SECONDS,
    )


@app.command()
def run() -> None:
    """Run the janitor until Ctrl-C; one is enough, several are harmless."""
    raise SystemExit(asyncio.run(_run()))


@app.command()
def sweep(
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it nothing is.")] = False,
    older_than: Annotated[
        str | None, typer.Option(help="Such as 0s, 30m, 48h, 7d, instead of the settings' ages.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Most objects to delete.")] = None,
    as_json: AsJson = False,
) -> None:
    """
    List the bucket's objects that no row needs; with --yes delete them.

    Exit codes: 0 done, 1 a done row's manifest is missing, 4 unreachable, 78 configuration.
    """
    arguments = ["sweep", *(["--yes"] if yes else [])]
    arguments += ["--older-than", older_than] if older_than else []
    arguments += ["--limit", str(limit)] if limit else []
    code, answer = _ask(arguments)
    if as_json:
        show.as_json(answer)
    else:
        _tell_sweep(answer)
    raise SystemExit(code)


@app.command()
def ledger(as_json: AsJson = False) -> None:
    """
    Print where balance, ledger and tasks disagree.

    Exit codes: 0 nowhere, 1 somewhere, 4 unreachable, 78 configuration.
    """
    code, answer = _ask(["ledger"])
    if as_json:
        show.as_json(answer)
    else:
        _tell_ledger(answer["mismatches"])
    raise SystemExit(code)


async def _run() -> int:
    stop = stop_asked()
    group = Programs(note=lambda text: show.err.print(f"[yellow]{text}[/]"))
    group.start(program({}))
    try:
        return await run_until(group, stop)
    finally:
        await group.stop()


def _ask(arguments: list[str]) -> tuple[int, dict[str, Any]]:
    """Run one of the janitor's own commands; leaves with its exit code when it has no answer."""
    ended = subprocess.run(  # noqa: S603 - our own module, no shell
        [sys.executable, "-m", "janitor", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if not ended.stdout:
        raise SystemExit(ended.returncode or Exit.REFUSED)
    answer: dict[str, Any] = json.loads(ended.stdout)
    return ended.returncode, answer


def _tell_sweep(report: dict[str, Any]) -> None:
    table = Table(title="orphaned objects", title_justify="left")
    for column in ("where", "listed", "old enough", "orphans", "bytes", "oldest", "deleted"):
        table.add_column(column, justify="left" if column == "where" else "right")
    for place in report["places"]:
        table.add_row(
            place["prefix"],
            *(f"{place[name]:,}" for name in ("seen", "old", "orphans", "orphan_bytes")),
            show.age(datetime.fromisoformat(place["oldest"])) if place["oldest"] else "",
            f"{place['deleted']:,}",
        )
    show.out.print(table)
    for place in report["places"]:
        for key in place["samples"]:
            show.out.print(f"  {key}", soft_wrap=True, highlight=False)
    for key in report["missing_manifests"]:
        show.err.print(f"[red]A done row names it, and it is not there:[/] {key}", soft_wrap=True)
    if report["capped"]:
        show.err.print("[yellow]Stopped at the limit; run it again for the rest.[/]")
    if report["dry_run"] and report["orphans"]:
        show.err.print("Nothing was deleted; --yes deletes.")


def _tell_ledger(mismatches: list[dict[str, Any]]) -> None:
    if not mismatches:
        show.out.print("Balances, ledger and tasks agree.")
        return
    table = Table(title="ledger mismatches", title_justify="left")
    for column in ("user", "task", "problem"):
        table.add_column(column, overflow="fold")
    for each in mismatches:
        table.add_row(each["user_id"] or "", each["result_id"] or "", each["problem"])
    show.out.print(table)
