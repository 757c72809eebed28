"""`python -m webhooks.delivery`: sends webhooks until SIGTERM."""

import asyncio
import sys

from runtime import logs, settings
from webhooks.delivery.serve import DispatcherSettings, Limits, serve


def main(limits: Limits | None = None) -> None:
    """Run; *limits* are for tests."""
    config = settings.load_or_exit(DispatcherSettings)
    logs.configure(config.s3_log_format)
    try:
        asyncio.run(serve(config, limits))
    except settings.SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(settings.EX_CONFIG) from None


if __name__ == "__main__":
    main()
