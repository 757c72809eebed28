"""The command line: `send`, `record` and `relay`."""

import argparse
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from webhooks.replay.lanes import Order
from webhooks.replay.messages import Standing
from webhooks.replay.selection import Mode


OUTBOX: Final = "outbox"
ROWS: Final = "rows"

_UNITS: Final[dict[str, float]] = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

EXIT_CODES: Final = (
    "exit codes: 0 every answer was 2xx; 1 some were not, or something is left; 2 usage; "
    "3 nothing was sent: a plan, or all of it was left out; "
    "4 the database did not answer; 78 configuration; 130 interrupted"
)


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    """What `python -m webhooks.replay` was asked; leaves with 2 where it cannot be understood."""
    top = argparse.ArgumentParser(prog="python -m webhooks.replay", allow_abbrev=False)
    parts = top.add_subparsers(dest="command", required=True)
    send = parts.add_parser("send", prog="s3 replay", allow_abbrev=False, epilog=EXIT_CODES)
    record = parts.add_parser("record", prog="s3 record", allow_abbrev=False)
    relay = parts.add_parser("relay", prog="python -m webhooks.replay relay", allow_abbrev=False)
    add_send(send)
    add_record(record)
    add_relay(relay)
    asked, unknown = top.parse_known_args(argv)
    if unknown:
        # Its own words: a user of `s3 replay` knows of no `send`.
        own = {"send": send, "record": record, "relay": relay}[asked.command]
        own.error(f"unrecognized arguments: {' '.join(unknown)}")
    return asked


def add_send(send: argparse.ArgumentParser) -> None:
    """`s3 replay`."""
    send.description = "Send webhooks again. Shows the plan; sends with --yes."
    _source(send.add_argument_group("source and target"))
    _selection(send.add_argument_group("selection: each that is given must hold"))
    _pace(send.add_argument_group("pace"))
    _identity(send.add_argument_group("identity and signature"))
    _faults(send.add_argument_group("faults, to test a receiver"))
    out = send.add_argument_group("output")
    out.add_argument("--diff", action="store_true", help="compare with the recorded attempts")
    out.add_argument("--json", action="store_true", help="one JSON document on standard output")
    out.add_argument("--record", type=Path, metavar="FILE", help="add the attempts to FILE")
    _redact(out)


def add_record(record: argparse.ArgumentParser) -> None:
    """`s3 record`."""
    record.description = "A proxy that writes each request down before anything else happens to it."
    record.add_argument("--listen", type=address, default=("127.0.0.1", 9000), metavar="HOST:PORT")
    record.add_argument("--forward", required=True, metavar="URL", help="where requests go on to")
    record.add_argument("--out", type=Path, default=Path("webhooks.ndjson"), metavar="FILE")
    _redact(record)


def add_relay(relay: argparse.ArgumentParser) -> None:
    """What `s3 listen` pipes into: events as lines on standard input."""
    relay.add_argument("--forward-to", required=True, metavar="URL")
    relay.add_argument("--target-allow", action="append", default=[], metavar="HOST")
    relay.add_argument("--record", type=Path, metavar="FILE")


def _redact(to: argparse._ActionsContainer) -> None:
    to.add_argument(
        "--redact",
        action="append",
        default=[],
        metavar="NAME",
        help="a header or query parameter that is not written down, beside those that look secret",
    )


def _source(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--from",
        dest="source",
        metavar="outbox|rows|FILE",
        help="customers' deliveries, Supabase's form of segmentation_results, or a recording",
    )
    group.add_argument("--target", metavar="URL", help="default: where each message went")
    group.add_argument(
        "--target-allow",
        action="append",
        default=[],
        metavar="HOST",
        help="a target that is not this machine; without --target, any host of a message",
    )
    group.add_argument("--yes", action="store_true", help="send; without it only plan")
    group.add_argument("--resume", metavar="RUN", help="send what is left of a run")


def _selection(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--mode",
        choices=[each.value for each in Mode],
        help="recover: the last attempt failed; missing: never tried; all. Default: recover "
        "for the outbox (all with --status), else all",
    )
    group.add_argument("--since", type=moment, metavar="WHEN", help="2026-11-24T09:00 or 2h ago")
    group.add_argument("--until", type=moment, metavar="WHEN")
    group.add_argument("--id", action="append", default=[], help="a message; repeatable")
    group.add_argument("--task", action="append", default=[], help="a task; repeatable")
    group.add_argument("--type", action="append", default=[], help="task.done, task.*, INSERT")
    group.add_argument(
        "--status",
        choices=[*(each.value for each in Standing), "any"],
        default="any",
        help="of the last attempt",
    )
    group.add_argument("--code", type=code, help="of the last answer: 503, 5xx, none")
    group.add_argument(
        "--include-disabled",
        action="store_true",
        help="also of endpoints that are switched off or answered 410",
    )
    group.add_argument("--limit", type=at_least(1), help="the oldest so many")


def _pace(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--rate", type=rate, default=20.0, metavar="N/s", help="default 20/s")
    group.add_argument("--concurrency", type=at_least(1), default=8)
    group.add_argument("--order", choices=[each.value for each in Order], default=Order.KEY.value)
    group.add_argument("--max", type=at_least(1), default=10_000, help="most sends of this run")
    group.add_argument(
        "--max-failures",
        type=at_least(0),
        default=20,
        help="in a row, then a host is given up; 0: never",
    )
    group.add_argument("--timeout", type=some_seconds, default=15.0, metavar="15s")


def _identity(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--secret", help="whsec_...; better in REPLAY_SECRET")
    group.add_argument("--sign", choices=["fresh", "none", "bad"], default="fresh")
    group.add_argument("--preserve", action="store_true", help="recorded bytes and headers")
    group.add_argument("--new-id", action="store_true", help="defeats deduplication")
    group.add_argument("--header", type=header, action="append", default=[], metavar="NAME:VALUE")


def _faults(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--dup", type=probability, default=0.0, metavar="P", help="send twice")
    group.add_argument("--drop", type=probability, default=0.0, metavar="P", help="do not send")
    group.add_argument(
        "--truncate", type=probability, default=0.0, nargs="?", const=1.0, metavar="P"
    )
    group.add_argument("--shuffle", action="store_true")
    group.add_argument("--delay", type=span, default=(0.0, 0.0), metavar="10ms..2s")


def kept(argv: Sequence[str]) -> list[str]:
    """The arguments of `send` that a checkpoint keeps: no secret, and nothing that starts it."""
    dropping = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("--secret", "--header", "--resume"):
        dropping.add_argument(name, action="append")
    dropping.add_argument("--yes", action="store_true")
    return dropping.parse_known_args(list(argv))[1]


def moment(text: str) -> datetime:
    """An ISO date or time (UTC unless it says), or how long ago: 90s, 30m, 2h, 7d."""
    if re.fullmatch(r"\d+(\.\d+)?[smhd]", text):
        try:
            return datetime.now(UTC) - timedelta(seconds=seconds(text))
        except OverflowError as error:
            msg = "no calendar goes back that far"
            raise argparse.ArgumentTypeError(msg) from error
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def seconds(text: str) -> float:
    """A time span in seconds: 500ms, 15s, 15, 2m."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|[smhd])?", text)
    if found is None:
        msg = "a span is a number and ms, s, m, h or d"
        raise argparse.ArgumentTypeError(msg)
    return float(found[1]) * _UNITS[found[2] or "s"]


def some_seconds(text: str) -> float:
    """A time span over 0: to aiohttp 0 would mean for ever."""
    found = seconds(text)
    if not found:
        msg = "a span over 0"
        raise argparse.ArgumentTypeError(msg)
    return found


def span(text: str) -> tuple[float, float]:
    """Two spans, `10ms..2s`, or one; in seconds."""
    low, dots, high = text.partition("..")
    found = (seconds(low), seconds(high if dots else low))
    if found[0] > found[1]:
        msg = "the shorter one comes first"
        raise argparse.ArgumentTypeError(msg)
    return found


def rate(text: str) -> float:
    """Per second: `20/s`, `20`, `600/m`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(?:/([smhd]))?", text)
    if found is None or not float(found[1]):
        msg = "a rate is a number over 0 and /s, /m or /h"
        raise argparse.ArgumentTypeError(msg)
    return float(found[1]) / _UNITS[found[2] or "s"]


def probability(text: str) -> float:
    """From 0 to 1."""
    found = float(text)
    if not 0 <= found <= 1:
        msg = "a probability is from 0 to 1"
        raise argparse.ArgumentTypeError(msg)
    return found


def at_least(least: int) -> Callable[[str], int]:
    """A whole number, not under *least*."""

    def number(text: str) -> int:
        if int(text) < least:
            msg = f"at least {least}"
            raise argparse.ArgumentTypeError(msg)
        return int(text)

    return number


def code(text: str) -> str:
    """`503`, `5xx`, or `none`."""
    if not re.fullmatch(r"[1-5][0-9xX]{2}|none", text):
        msg = "a code is such as 503, 5xx or none"
        raise argparse.ArgumentTypeError(msg)
    return text


def header(text: str) -> tuple[str, str]:
    """`Name: value`."""
    name, colon, value = text.partition(":")
    if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
        msg = "a header is NAME:VALUE"
        raise argparse.ArgumentTypeError(msg)
    return name, value.strip()


def address(text: str) -> tuple[str, int]:
    """`127.0.0.1:9000`, `[::1]:9000`, `:9000` (this machine only) or `9000`."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal():
        msg = "an address is HOST:PORT"
        raise argparse.ArgumentTypeError(msg)
    return host.strip("[]") or "127.0.0.1", int(port)
