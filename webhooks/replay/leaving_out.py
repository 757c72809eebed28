"""Which customers' messages are not sent, though they were selected."""

import argparse
from collections.abc import Iterable
from enum import StrEnum
from http import HTTPStatus

from adapters.addresses import is_public
from webhooks.replay.messages import Message
from webhooks.replay.targets import http_url, is_literal, is_named


class Why(StrEnum):
    """Why a message is left out."""

    DISABLED = "disabled"
    """Its endpoint was switched off, or answered 410: it wants nothing more."""
    INSIDE = "inside"
    """Its endpoint's URL leads to this machine or its network."""


def parted(
    messages: Iterable[Message], asked: argparse.Namespace
) -> tuple[list[Message], list[tuple[Message, Why]]]:
    """
    The messages that are sent, and those that are not; with --target all of them are.

    Raises: UsageError.
    """
    kept: list[Message] = []
    out: list[tuple[Message, Why]] = []
    for message in messages:
        why = None if asked.target else _why(message, asked)
        if why is None:
            kept.append(message)
        else:
            out.append((message, why))
    return kept, out


def _why(message: Message, asked: argparse.Namespace) -> Why | None:
    gone = message.last is not None and message.last.status == HTTPStatus.GONE
    if (gone or not message.enabled) and not asked.include_disabled:
        return Why.DISABLED
    # One customer with such a URL must not stand in the way of the others', as a usage error would.
    if message.endpoint_id and message.url:
        host = http_url(message.url).host or ""
        if is_literal(host) and not is_public(host) and not is_named(host, asked.target_allow):
            return Why.INSIDE
    return None
