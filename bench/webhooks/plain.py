"""What we are compared with, a process of its own: it posts, and neither keeps nor signs."""

import asyncio
import json
import sys
import time

import aiohttp


async def main() -> None:
    """Post the messages of standard input, and print seconds and processor seconds."""
    order = json.load(sys.stdin)
    room = asyncio.Semaphore(order["concurrency"])
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:

        async def post(message: dict[str, str]) -> None:
            headers = {"content-type": "application/json", "webhook-id": message["id"]}
            async with (
                room,
                http.post(message["url"], data=message["body"].encode(), headers=headers) as answer,
            ):
                answer.raise_for_status()

        begun, busy = time.perf_counter(), time.process_time()
        await asyncio.gather(*(post(message) for message in order["messages"]))
        spent = {"seconds": time.perf_counter() - begun, "cpu": time.process_time() - busy}
    sys.stdout.write(json.dumps(spent))


if __name__ == "__main__":
    asyncio.run(main())
