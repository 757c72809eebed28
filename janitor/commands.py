"""Commands that do one thing, print one JSON document on stdout and end."""

import json
import sys
from dataclasses import replace
from datetime import timedelta
from enum import IntEnum

from janitor import build
from janitor.settings import JanitorSettings
from janitor.sweep import sweep


class Ended(IntEnum):
    """Exit codes; wrong settings are 78, as everywhere."""

    RIGHT = 0
    WRONG = 1
    """Something must be repaired: a mismatch in the ledger, a missing manifest."""
    UNREACHABLE = 4
    """The database or the object store did not answer."""


async def sweep_once(
    config: JanitorSettings, *, delete: bool, older_than: timedelta | None, limit: int | None
) -> Ended:
    """Plan a sweep, or with *delete* do it. Raises: RestError, ObjectError, SettingsError."""
    plan = replace(build.plan_of(config), delete=delete)
    if older_than is not None:
        plan = replace(plan, results_age=older_than, uploads_age=older_than)
    if limit is not None:
        plan = replace(plan, limit=limit)
    async with build.opened(config) as doors:
        await build.check_keys(doors)
        report = await sweep(plan, doors.database, doors.bucket)
    _print(report.document())
    return Ended.WRONG if report.missing_manifests else Ended.RIGHT


async def ledger_once(config: JanitorSettings) -> Ended:
    """Ask for the ledger's mismatches. Raises: RestError, SettingsError."""
    async with build.opened(config) as doors:
        found = await doors.database.mismatches()
    _print({"mismatches": [each.model_dump(mode="json") for each in found]})
    return Ended.WRONG if found else Ended.RIGHT


def _print(document: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
