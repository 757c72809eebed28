"""
The stream of committed changes, by logical replication over psycopg's own connection.

psycopg has no replication class, but its libpq wrapper carries the copy-both protocol. The slot is
temporary: it goes with the connection, so a stopped stack never makes PostgreSQL keep its log. What
commits while no stream is open is not seen.
"""

import asyncio
import contextlib
import datetime as dt
import struct
import uuid
from collections.abc import AsyncIterator

import psycopg
from psycopg import conninfo, pq

from devstack.realtime import bindings, messages, pgoutput


PUBLICATIONS = f"{bindings.PUBLICATION},{messages.PUBLICATION}"

#: The text form of values that rendering.py relies on.
OPTIONS = (
    "-c DateStyle=ISO -c TimeZone=UTC -c IntervalStyle=postgres"
    " -c extra_float_digits=1 -c bytea_output=hex"
)

#: Bytes before the message in a frame of the stream: kind, start, end and time.
WAL_HEADER_BYTES = 25


@contextlib.asynccontextmanager
async def open_stream(dsn: str) -> AsyncIterator["Stream"]:
    """
    A stream that begins now: everything that commits from here on will be in it.

    Opening waits for the transactions that are running. Raises: psycopg.Error.
    """
    info = conninfo.make_conninfo(
        dsn, replication="database", options=OPTIONS, application_name="devstack_realtime"
    )
    slot = f"devstack_realtime_{uuid.uuid4().hex[:12]}"
    async with await psycopg.AsyncConnection.connect(info, autocommit=True) as connection:
        create = f"CREATE_REPLICATION_SLOT {slot} TEMPORARY LOGICAL pgoutput (SNAPSHOT 'nothing')"
        await connection.execute(create.encode())
        await asyncio.to_thread(_start, connection.pgconn, slot)
        yield Stream(connection.pgconn)


def _start(pgconn: pq.abc.PGconn, slot: str) -> None:
    command = (
        f"START_REPLICATION SLOT {slot} LOGICAL 0/0"
        f" (proto_version '1', publication_names '{PUBLICATIONS}')"
    )
    result = pgconn.exec_(command.encode())
    if result.status != pq.ExecStatus.COPY_BOTH:
        raise psycopg.OperationalError(result.get_error_message())


class Stream:
    def __init__(self, pgconn: pq.abc.PGconn) -> None:
        self._pgconn = pgconn

    async def transactions(self) -> AsyncIterator[pgoutput.Transaction]:
        """
        Committed transactions as they come, until the connection breaks.

        PostgreSQL is told of a transaction when the next one is asked for; a reader that falls
        behind is therefore waited for, by TCP. Raises: psycopg.OperationalError.
        """
        decoder = pgoutput.Decoder()
        async for frame in self._frames():
            if frame[:1] == b"w":
                _, end = struct.unpack_from(">QQ", frame, 1)
                transaction = decoder.feed(frame[WAL_HEADER_BYTES:])
                if transaction is not None:
                    yield transaction
                    self._confirm(end)
            elif frame[:1] == b"k":
                end, _, must_reply = struct.unpack_from(">QQ?", frame, 1)
                if must_reply:
                    self._confirm(end)

    async def _frames(self) -> AsyncIterator[bytes]:
        while True:
            size, frame = self._pgconn.get_copy_data(1)
            if size > 0:
                yield bytes(frame)
            elif size == 0:
                await _readable(self._pgconn.socket)
                self._pgconn.consume_input()
            else:
                raise psycopg.OperationalError("PostgreSQL has ended the replication stream")

    def _confirm(self, position: int) -> None:
        """Say that the log is no longer needed up to *position*."""
        since_epoch = dt.datetime.now(dt.UTC) - pgoutput.EPOCH
        micros = since_epoch // dt.timedelta(microseconds=1)
        status = struct.pack(">cQQQQ?", b"r", position, position, position, micros, False)
        self._pgconn.put_copy_data(status)
        self._pgconn.flush()


async def _readable(socket: int) -> None:
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(socket, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(socket)
