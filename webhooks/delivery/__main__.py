"""`python -m webhooks.delivery`: send webhooks until SIGTERM."""

import asyncio
import sys

from runtime import logs, settings
from webhooks.delivery.serve import serve
from webhooks.delivery.settings import DispatcherSettings


def main() -> None:
    """Run; EX_CONFIG when the settings or the key are wrong."""
    config = settings.load_or_exit(DispatcherSettings)
    logs.configure(config.s3_log_format)
    try:
        asyncio.run(serve(config))
    except settings.SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(settings.EX_CONFIG) from None


if __name__ == "__main__":
    main()
