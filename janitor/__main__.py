"""`python -m janitor`: runs until SIGTERM. `s3 janitor` has the commands that do one thing."""

import asyncio
import sys

from janitor.service import JanitorSettings, Schedule, serve
from janitor.sweep import SweepPlan
from runtime import logs, settings


def main(schedule: Schedule | None = None, plan: SweepPlan | None = None) -> None:
    """Run; *schedule* and *plan* are for tests."""
    config = settings.load_or_exit(JanitorSettings)
    logs.configure(config.s3_log_format)
    try:
        asyncio.run(serve(config, schedule, plan))
    except settings.SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(settings.EX_CONFIG) from None


if __name__ == "__main__":
    main()
