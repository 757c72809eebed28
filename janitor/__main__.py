"""`python -m janitor`: run for ever; with `sweep` or `ledger`: do that once."""

import argparse
import asyncio
import re
import sys
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, Final

from adapters.objects import ObjectError
from adapters.rest import RestError
from janitor import commands
from janitor.serve import serve
from janitor.settings import JanitorSettings
from runtime import logs, settings


_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> timedelta:
    """Read `90s`, `30m`, `48h` or `7d`. Raises: ValueError."""
    found = re.fullmatch(r"(\d{1,9})([smhd])", text)
    if found is None:
        msg = "a duration is a number and s, m, h or d"
        raise ValueError(msg)
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def positive(text: str) -> int:
    """Read a whole number from 1 on. Raises: ValueError."""
    number = int(text)
    if number < 1:
        msg = "at least 1"
        raise ValueError(msg)
    return number


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m janitor", description=__doc__)
    parts = parser.add_subparsers(dest="command")
    sweep = parts.add_parser("sweep", help="list orphaned objects; delete them with --yes")
    sweep.add_argument("--yes", action="store_true", help="delete")
    sweep.add_argument("--older-than", type=duration, help="instead of the settings' ages")
    sweep.add_argument("--limit", type=positive, help="most objects to delete")
    parts.add_parser("ledger", help="list what breaks the ledger's law")
    return parser.parse_args()


def main() -> None:
    """Run; EX_CONFIG when the settings or the keys are wrong, commands.Ended for the rest."""
    asked = arguments()
    config = settings.load_or_exit(JanitorSettings)
    logs.configure(config.s3_log_format)
    try:
        raise SystemExit(asyncio.run(_work(asked, config)))
    except settings.SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(settings.EX_CONFIG) from None
    except (RestError, ObjectError) as error:
        sys.stderr.write(f"No answer that could be used: {error}\n")
        raise SystemExit(commands.Ended.UNREACHABLE) from None


def _work(asked: argparse.Namespace, config: JanitorSettings) -> Coroutine[Any, Any, int | None]:
    if asked.command == "sweep":
        return commands.sweep_once(
            config, delete=asked.yes, older_than=asked.older_than, limit=asked.limit
        )
    if asked.command == "ledger":
        return commands.ledger_once(config)
    return serve(config)


if __name__ == "__main__":
    main()
