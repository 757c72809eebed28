"""
The posting half of `s3 listen`: a line on standard input is an event, each is signed and posted.

    {"id","type","body"}      body: the exact text to sign

The other half (cli/listen.py) knows the user's session; this one knows signatures. In order, each
once: what failed is in the recording, for `s3 replay --mode recover`.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import uuid
from datetime import UTC, datetime
from typing import Final

from yarl import URL

from adapters import signatures
from webhooks.replay.errors import UsageError
from webhooks.replay.messages import Message, type_and_key
from webhooks.replay.recording import Recording
from webhooks.replay.sealing import unknown_secret
from webhooks.replay.sending import Sender
from webhooks.replay.settings import ReplaySettings
from webhooks.replay.targets import checked


_LONGEST_LINE: Final = 1024 * 1024
_SECONDS: Final = 15.0


async def serve(asked: argparse.Namespace, own: ReplaySettings) -> int:
    """Post until standard input ends; exit code 0. Raises: UsageError."""
    url = checked(asked.forward_to, asked.target_allow)
    secret = own.replay_secret.get_secret_value() if own.replay_secret else unknown_secret()
    try:
        signatures.check_secret(secret)
    except signatures.BadSecret as error:
        raise UsageError(str(error)) from error
    sys.stderr.write(f"Signing with {secret}\n")
    lines = asyncio.StreamReader(limit=_LONGEST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
    )
    with contextlib.ExitStack() as stack:
        record = stack.enter_context(Recording(asked.record)) if asked.record else None
        async with Sender(timeout_seconds=_SECONDS, guarded=False) as sender:
            async for line in lines:
                await _post(line, url, secret, sender, record)
    return 0


async def _post(
    line: bytes, url: URL, secret: str, sender: Sender, record: Recording | None
) -> None:
    document = json.loads(line)
    body = str(document["body"]).encode()
    message_id = str(document["id"])
    now = datetime.now(UTC)
    signed = signatures.signed_headers([secret], message_id, int(now.timestamp()), body)
    headers = {"content-type": "application/json", "user-agent": "s3-listen", **signed}
    answer = await sender.post(url, headers.items(), body)
    attempt = answer.attempt
    kind, key = type_and_key(body, message_id)
    message = Message(
        id=message_id,
        type=kind,
        key=key,
        body=body,
        created_at=now,
        url=str(url),
        headers=tuple(headers.items()),
        last=attempt,
    )
    if record is not None:
        record.request(uuid.uuid4().hex, message, path=url.raw_path_qs)
    sys.stdout.write(f"{attempt.told:>4} {attempt.latency_ms:>5} ms  {message_id}  {kind}  {key}\n")
    sys.stdout.flush()
