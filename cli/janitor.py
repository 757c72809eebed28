"""`s3 janitor`: cleanup beside the API, and what an operator asks of it."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any, NoReturn

import typer
from rich.table import Table

from adapters.objects import ObjectError
from adapters.rest import RestError
from cli.processes import Program
from janitor.database import Mismatch
from janitor.service import JanitorSettings, Schedule, check_keys, connected, serve
from janitor.sweep import SweepPlan, SweepReport
from janitor.sweep import sweep as sweep_bucket
from runtime import durations, logs, settings
from s3_sam3.cli import Exit, show


STOP_SECONDS = 10.0
"""Over the janitor's own grace of 5 s."""

app = typer.Typer(
    help="Delete what nobody needs, and check the credit ledger; needs the service key and the"
    " bucket's.",
    no_args_is_help=True,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def program(env: Mapping[str, str]) -> Program:
    """The janitor as a program of `s3 up`, without a machine's password."""
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
    _finish(serve(_settings()))


@app.command()
def sweep(
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it nothing is.")] = False,
    older_than: Annotated[
        str | None,
        typer.Option(
            metavar="SPAN",
            help="0s, 30m, 48h, 7d. Default: 48h for results, 7d for uploads.",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Most objects to delete.")] = None,
    as_json: AsJson = False,
) -> None:
    """
    List the bucket's objects that no row needs; with --yes delete them.

    Exit codes: 0 done, 1 a done row's manifest is missing, 4 unreachable, 78 configuration.
    """
    plan = SweepPlan(delete=yes)
    if older_than is not None:
        age = _age(older_than)
        plan = replace(plan, results_age=age, uploads_age=age)
    if limit is not None:
        plan = replace(plan, limit=limit)
    _finish(_sweep(plan, show_report=_as_json if as_json else _as_table))


@app.command()
def ledger(as_json: AsJson = False) -> None:
    """
    Print where balance, ledger and tasks disagree.

    Exit codes: 0 nowhere, 1 somewhere, 4 unreachable, 78 configuration.
    """
    _finish(_ledger(as_json=as_json))


async def _sweep(plan: SweepPlan, *, show_report: Callable[[SweepReport], None]) -> Exit:
    async with connected(_settings(), Schedule()) as stores:
        await check_keys(stores)
        report = await sweep_bucket(plan, stores.database, stores.bucket)
    show_report(report)
    return Exit.REFUSED if report.missing_manifests else Exit.OK


async def _ledger(*, as_json: bool) -> Exit:
    async with connected(_settings(), Schedule()) as stores:
        found = await stores.database.mismatches()
    if as_json:
        show.as_json({"mismatches": [each.model_dump(mode="json") for each in found]})
    else:
        _print_mismatches(found)
    return Exit.REFUSED if found else Exit.OK


def _settings() -> JanitorSettings:
    config = settings.load_or_exit(JanitorSettings)
    logs.configure(config.s3_log_format)
    return config


def _finish(work: Coroutine[Any, Any, Exit | None]) -> NoReturn:
    """Run *work*; leave with its exit code, or with that of the error that ended it."""
    try:
        code = asyncio.run(work) or Exit.OK
    except settings.SettingsError as error:
        show.err.print(error, style="red", markup=False, highlight=False, soft_wrap=True)
        code = Exit.CONFIGURATION
    except (RestError, ObjectError) as error:
        text = f"No usable answer: {error}"
        show.err.print(text, style="red", markup=False, highlight=False, soft_wrap=True)
        code = Exit.UNREACHABLE
    raise SystemExit(code)


def _age(text: str) -> timedelta:
    try:
        return timedelta(seconds=durations.seconds(text))
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(str(error), param_hint="--older-than") from error


def _as_json(report: SweepReport) -> None:
    show.as_json(report.document())


def _as_table(report: SweepReport) -> None:
    table = Table(title="orphaned objects", title_justify="left")
    for column in ("where", "listed", "old enough", "orphans", "bytes", "oldest", "deleted"):
        table.add_column(column, justify="left" if column == "where" else "right")
    for area in report.areas:
        counts = (area.seen, area.old, area.orphans, area.orphan_bytes)
        oldest = show.age(area.oldest) if area.oldest else ""
        table.add_row(area.prefix, *(f"{n:,}" for n in counts), oldest, f"{area.deleted:,}")
    show.out.print(table)
    for area in report.areas:
        for key in area.samples:
            show.out.print(f"  {key}", soft_wrap=True, highlight=False)
    for key in report.missing_manifests:
        show.err.print(f"[red]A done row names it, and it is missing:[/] {key}", soft_wrap=True)
    if report.capped:
        show.err.print("[yellow]Stopped at the limit; run it again for the rest.[/]")
    if report.dry_run and report.orphans:
        show.err.print("Nothing was deleted; --yes deletes.")


def _print_mismatches(mismatches: list[Mismatch]) -> None:
    if not mismatches:
        show.out.print("Balances, ledger and tasks agree.")
        return
    table = Table(title="ledger mismatches", title_justify="left")
    for column in ("user", "task", "problem"):
        table.add_column(column, overflow="fold")
    for each in mismatches:
        table.add_row(str(each.user_id or ""), str(each.result_id or ""), each.problem)
    show.out.print(table)
