"""`python -m webhooks.replay`: `send` (s3 replay), `record` (s3 record), `relay` (s3 listen)."""

import argparse
import asyncio
import contextlib
import os
import sys
from collections.abc import Coroutine, Sequence
from typing import Any

from adapters.rest import RestError
from runtime import settings
from webhooks.replay import arguments, recorder, relay
from webhooks.replay.errors import ReplayError
from webhooks.replay.replaying import Ended, replay
from webhooks.replay.settings import ReplaySettings


def main() -> None:
    """Run one command and leave with its exit code."""
    argv = sys.argv[1:]
    asked = arguments.parsed(argv)
    try:
        own = settings.load(ReplaySettings)
        raise SystemExit(asyncio.run(_work(argv[1:], asked, own)))
    except settings.SettingsError as error:
        _leave(error, settings.EX_CONFIG)
    except ReplayError as error:
        _leave(error, Ended.USAGE)
    except RestError as error:
        _leave(f"No answer that could be used: {error}", Ended.UNREACHABLE)
    except KeyboardInterrupt:
        raise SystemExit(Ended.INTERRUPTED) from None
    except BrokenPipeError:
        # The reader (`| head`) has what it wanted.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(Ended.FAILED) from None


def _work(
    argv: Sequence[str], asked: argparse.Namespace, own: ReplaySettings
) -> Coroutine[Any, Any, int]:
    if asked.command == "record":
        return recorder.serve(asked)
    if asked.command == "relay":
        return relay.serve(asked, own)
    return replay(argv, asked, own)


def _leave(reason: object, code: int) -> None:
    with contextlib.suppress(BrokenPipeError):
        sys.stderr.write(f"{reason}\n")
    raise SystemExit(code) from None


if __name__ == "__main__":
    main()
