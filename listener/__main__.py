"""`python -m listener`: settings -> worker -> run, until a signal."""

import asyncio
import signal
import sys
from typing import Any

from adapters import machine_auth
from listener.settings import ListenerSettings
from listener.worker import built
from runtime import logs, settings


async def serve(config: ListenerSettings, **changed: Any) -> None:
    """Run until SIGTERM or SIGINT; a second one hurries. Raises: SettingsError, SignInRefused."""
    async with built(config, **changed) as worker:
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, worker.stop)
        await worker.run()


def main(**changed: Any) -> None:
    """
    Run, and exit with EX_CONFIG when the settings or the credentials are wrong.

    *changed* goes to `built`; tests shorten the lease by it.
    """
    config = settings.load_or_exit(ListenerSettings)
    logs.configure(config.s3_log_format)
    try:
        asyncio.run(serve(config, **changed))
    except (settings.SettingsError, machine_auth.SignInRefused) as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(settings.EX_CONFIG) from None


if __name__ == "__main__":
    main()
