"""Clients that keep a server busy, and what they measure."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp

from bench import report
from bench.pipeline.contenders import Bytes, Server


@dataclass(frozen=True, slots=True, kw_only=True)
class Lap:
    """One contender's turn."""

    seconds: float
    waits: tuple[float, ...]
    """Of each request, in milliseconds, from its first byte to the answer's last."""
    refused: int = 0
    """Times that a client was told to come back later, and did."""

    @property
    def rate(self) -> float:
        """Pictures per second."""
        return len(self.waits) / self.seconds

    def figures(self) -> dict[str, float]:
        """What the JSON keeps."""
        return {
            "images_per_second": round(self.rate, 4),
            "p50_ms": round(report.percentile(self.waits, 0.50), 2),
            "p95_ms": round(report.percentile(self.waits, 0.95), 2),
        }


async def drive(server: Server, bodies: Sequence[Bytes], *, clients: int) -> Lap:
    """Send every body once, *clients* at a time; each waits for its answer before its next."""
    left = iter(bodies)
    waits: list[float] = []
    refused = 0
    connector = aiohttp.TCPConnector(limit=clients)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:

        async def client() -> None:
            nonlocal refused
            for body in left:
                begun = time.perf_counter()
                while not await _answered(http, server, body):
                    refused += 1
                waits.append(1000 * (time.perf_counter() - begun))

        begun = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(clients)))
        seconds = time.perf_counter() - begun
    return Lap(seconds=seconds, waits=tuple(waits), refused=refused)


async def _answered(http: aiohttp.ClientSession, server: Server, body: Bytes) -> bool:
    """Whether the answer came; if the server was busy, wait as long as it says first."""
    data, headers = body
    async with http.post(server.url, data=data, headers=headers) as answer:
        content = await answer.read()
        if answer.status == 503 and "Retry-After" in answer.headers:
            await asyncio.sleep(float(answer.headers["Retry-After"]))
            return False
        if answer.status != 200:
            msg = f"{server.name} answered {answer.status}: {content[:500]!r}"
            raise RuntimeError(msg)
        return True
